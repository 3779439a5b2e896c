"""The mixture as a LlamaIndex Workflow, over HTTP."""

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders
from llama_index.packs.mixture_of_agents.workflow import (
    Answered,
    Ask,
    Delta,
    Happened,
    MixtureOfAgentsWorkflow,
)


async def test_a_workflow_streams_what_happens_and_answers(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", reply="one two three")
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    llm = MixtureOfAgents(llm=providers.openai("gpt-4.1"), proposers=proposers, num_layers=1)
    handler = MixtureOfAgentsWorkflow(llm).run(start_event=Ask(question="What is a generator?"))
    events = [event async for event in handler.stream_events()]
    answered = await handler
    assert isinstance(answered, Answered)
    assert (
        "".join(e.text for e in events if isinstance(e, Delta))
        == answered.answer
        == "one two three"
    )
    kinds = [event.data["kind"] for event in events if isinstance(event, Happened)]
    assert kinds[:2] == ["run_started", "layer_started"]
    assert kinds[-1] == "run_finished"
    result = MixtureResult.from_json(answered.run)
    assert [event.kind for event in result.events] == kinds
    assert result.question == "What is a generator?"
