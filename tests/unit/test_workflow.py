"""The mixture as a LlamaIndex Workflow."""

import asyncio

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents, QuorumNotMet
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM
from llama_index.packs.mixture_of_agents.workflow import (
    Ask,
    Delta,
    MixtureOfAgentsWorkflow,
)


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
