"""The mixture as a LlamaIndex Workflow."""

import asyncio

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult, QuorumNotMet
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM
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


async def test_runs_of_one_workflow_do_not_see_each_others_events() -> None:
    def echo(messages):
        return messages[-1].content

    workflow = MixtureOfAgentsWorkflow(
        MixtureOfAgents(llm=ScriptedLLM(echo), proposers=[ScriptedLLM(echo)])
    )

    async def texts(question: str) -> str:
        handler = workflow.run(start_event=Ask(messages=[ChatMessage(question)]))
        return "".join([e.text async for e in handler.stream_events() if isinstance(e, Delta)])

    questions = [f"question {number}" for number in range(4)]
    assert await asyncio.gather(*map(texts, questions)) == questions


async def test_a_run_without_an_answer_fails_with_its_error() -> None:
    llm = MixtureOfAgents(llm=ScriptedLLM(), proposers=[ScriptedLLM(ValueError("down"))])
    with pytest.raises(QuorumNotMet, match="down"):
        await MixtureOfAgentsWorkflow(llm).run(question="?")


async def test_a_cancelled_workflow_cancels_its_calls() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_: object) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    llm = MixtureOfAgents(llm=ScriptedLLM(), proposers=[ScriptedLLM(hang)])
    handler = MixtureOfAgentsWorkflow(llm).run(question="?")
    await started.wait()
    await handler.cancel_run()
    await asyncio.wait_for(cancelled.wait(), 5)
    (ended,) = await asyncio.gather(handler, return_exceptions=True)
    assert isinstance(ended, BaseException)
