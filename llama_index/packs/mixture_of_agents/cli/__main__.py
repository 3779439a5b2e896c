from llama_index.packs.mixture_of_agents.cli import main

main()
