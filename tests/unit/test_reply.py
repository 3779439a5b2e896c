"""How any LLM is asked from outside of a mixture."""

import pytest
from asking import QUESTION
from llama_index.core.llms.llm import ToolSelection

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents._reply import Respondent
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PRICES = {"scripted": (1.0, 2.0)}


async def ask(llm, *, streamed: bool, prices=None):
    pieces: list[str] = []

    async def hear(text, _):
        pieces.append(text)

    reply = await Respondent(llm, prices).ask(QUESTION, {}, hear if streamed else None)
    return reply, "".join(pieces)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_is_the_same_whole_and_streamed(streamed):
    llm = ScriptedLLM("<think>Hm.</think> Because.", usage=(10, 5))
    reply, heard = await ask(llm, streamed=streamed, prices=PRICES)
    assert (reply.answer.text, reply.answer.thinking.strip()) == ("Because.", "Hm.")
    assert reply.usage
    assert (reply.usage.total_tokens, str(reply.cost)) == (15, "$0.000020")
    assert heard.strip() == ("Because." if streamed else "")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_mixtures_reply_has_the_usage_and_the_cost_of_the_whole_run(streamed):
    mixture = MixtureOfAgents(
        llm=ScriptedLLM("final"), proposers=[ScriptedLLM("one")] * 2, num_layers=1, prices=PRICES
    )
    reply, _ = await ask(mixture, streamed=streamed)
    assert reply.result
    assert reply.usage
    assert reply.result.answered_by == "scripted"
    assert (reply.usage.requests, str(reply.cost)) == (3, "$0.000060")


async def test_a_reply_holds_the_tools_that_are_called():
    call = ToolSelection(tool_id="1", tool_name="search", tool_kwargs={"query": "why"})
    reply, _ = await ask(ScriptedLLM(call), streamed=False)
    assert [one.tool_name for one in reply.calls] == ["search"]


async def test_without_a_reported_usage_the_cost_is_not_made_up():
    reply, _ = await ask(ScriptedLLM("Because.", usage=None), streamed=False, prices=PRICES)
    assert (reply.usage, reply.cost.at_least) == (None, 0)


def test_a_fault_is_told_without_the_llms_key():
    llm = ScriptedLLM()
    fault = Respondent(llm).fault(RuntimeError("401: sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD"))
    assert fault.kind in set(FailureKind)
    assert "abcdefghij" not in fault.message
