"""A mixture in an agent: the aggregator calls the tools, the proposers read what they returned and advise.

python examples/agent_with_tools.py          with simulated models
python examples/agent_with_tools.py --real   with OPENAI_API_KEY and MISTRAL_API_KEY
"""

import asyncio

from _models import providers
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCall, ToolCallResult
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.events import CallFinished, Event, RunStarted
from llama_index.packs.mixture_of_agents.simulation import ToolCall as Call
from llama_index.packs.mixture_of_agents.simulation import call_tools

QUESTION = "How warm is it in Paris, in degrees Fahrenheit?"

# What the simulated models say, turn by turn.
SCRIPT = {
    "gpt-4.1": {
        "reply": [
            call_tools(Call("temperature", {"city": "Paris"})),
            call_tools(Call("to_fahrenheit", {"celsius": 18})),
            "It is 64.4 degrees Fahrenheit in Paris.",
        ]
    },
    "gpt-4.1-mini": {"reply": "Call temperature first, then to_fahrenheit with what it returns."},
    "mistral-small-latest": {"reply": "Look the temperature up; do not guess it."},
}


def temperature(city: str) -> int:
    """Tell how warm it is in a city, in degrees Celsius."""
    return {"Paris": 18, "Rome": 25}.get(city, 20)


def to_fahrenheit(celsius: float) -> float:
    """Turn degrees Celsius into degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


def show_advice(_: RunStarted, event: Event) -> None:
    """Show what each proposer said."""
    if isinstance(event, CallFinished) and event.role == "proposer":
        print(f"{event.agent} advises: {event.proposals[0].text if event.proposals else '-'}")


async def main() -> None:
    """Let the agent answer, and show what it does."""
    llm = MixtureOfAgents(
        llm=OpenAI(model="gpt-4.1"),
        proposers=[OpenAI(model="gpt-4.1-mini"), MistralAI(model="mistral-small-latest")],
        num_layers=1,
        fan_out="user_turns",  # ask the proposers once for each question, not again after each tool
    )
    llm.listen(show_advice)
    agent = FunctionAgent(tools=[temperature, to_fahrenheit], llm=llm)  # type: ignore[list-item]
    print(f"Question: {QUESTION}")
    handler = agent.run(QUESTION)
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"  returned {event.tool_output.content}")
        elif isinstance(event, ToolCall):
            print(f"Tool: {event.tool_name}({event.tool_kwargs})")
        elif isinstance(event, AgentStream) and event.delta:
            print(event.delta, end="", flush=True)
    await handler
    print()


if __name__ == "__main__":
    with providers(SCRIPT):
        asyncio.run(main())
