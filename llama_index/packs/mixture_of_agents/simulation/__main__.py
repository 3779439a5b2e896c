"""The server's process: `python -m llama_index.packs.mixture_of_agents.simulation`."""

from .serve import main

main()
