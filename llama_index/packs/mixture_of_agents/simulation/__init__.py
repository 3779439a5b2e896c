"""Simulated LLM providers: a real HTTP server with OpenAI's and Mistral's chat interfaces.

For tests, benchmarks and demonstrations without a network or a key:

    with SimulatedProviders() as sim:
        sim.configure("gpt-4.1-mini", Behaviour(reply="42", latency=0.1))
        print(sim.openai("gpt-4.1-mini").complete("What is 6 times 7?"))
        print(sim.log()[0].body)

Only the two constructors `sim.openai` and `sim.mistral` import LlamaIndex.
"""

from .behaviour import (
    BROKEN_JSON,
    CLOSE_MIDWAY,
    EMPTY_ANSWER,
    EMPTY_BODY,
    ERROR_IN_STREAM,
    HANG,
    HANG_MIDWAY,
    OK,
    RESET,
    RESET_MIDWAY,
    Behaviour,
    Outcome,
    Reply,
    ToolCall,
    call_tools,
    failure,
)
from .log import Counts, Record
from .process import SimulatedProviders

__all__ = [
    "BROKEN_JSON",
    "CLOSE_MIDWAY",
    "EMPTY_ANSWER",
    "EMPTY_BODY",
    "ERROR_IN_STREAM",
    "HANG",
    "HANG_MIDWAY",
    "OK",
    "RESET",
    "RESET_MIDWAY",
    "Behaviour",
    "Counts",
    "Outcome",
    "Record",
    "Reply",
    "SimulatedProviders",
    "ToolCall",
    "call_tools",
    "failure",
]
