"""What the library logs of a run, and what it leaves to the result."""

import logging

import pytest
from asking import QUESTION
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents import MixtureOfAgents, QuorumNotMet, moa
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

LOGGER = "llama_index.packs.mixture_of_agents"


class RefusedError(Exception):
    status_code = 401


def refused() -> ScriptedLLM:
    return ScriptedLLM(
        RefusedError("Incorrect API key provided: sk-abcdefgh12345678"), model="locked"
    )


def ask(*proposers: ScriptedLLM, layers: int = 1) -> str:
    recipe = moa(proposers, ScriptedLLM("the end"), layers=layers)
    return MixtureOfAgents(recipe).chat(QUESTION).message.content or ""


def test_a_degraded_run_logs_one_warning_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(refused(), ScriptedLLM("good")) == "the end"
    (record,) = caplog.records
    assert (record.name, record.levelno) == (LOGGER, logging.WARNING)
    assert "locked: authentication 401" in record.message
    assert "Incorrect API key" in record.message
    assert "sk-abcdefgh" not in record.message
    assert str(QUESTION[0].content) not in record.message


def test_a_cause_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    ask(refused(), ScriptedLLM("good"), layers=3)
    (record,) = caplog.records
    assert record.message.count("Incorrect API key") == 1
    assert "in 3 calls" in record.message


def test_each_degraded_run_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        ask(refused(), ScriptedLLM("good"))
    assert len(caplog.records) == 2


def test_a_degraded_run_without_a_failed_call_says_why(caplog: pytest.LogCaptureFixture) -> None:
    message = ChatMessage(role="assistant", content="It is a")
    cut = ChatResponse(message=message, raw={"choices": [{"finish_reason": "length"}]})
    recipe = moa([ScriptedLLM("good")], ScriptedLLM(lambda _: cut), layers=1)
    MixtureOfAgents(recipe).chat(QUESTION)
    (record,) = caplog.records
    assert record.message.endswith(
        "is degraded: the answer was cut off at its token limit; raise max_tokens"
    )


def test_a_whole_run_and_one_that_raises_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(ScriptedLLM("good")) == "the end"
    with pytest.raises(QuorumNotMet):
        ask(refused())
    assert not caplog.records


@pytest.mark.parametrize("way", ["level", "disable"])
def test_the_warning_can_be_turned_off(way: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(LOGGER)
    before = logger.level
    try:
        logger.setLevel(logging.ERROR) if way == "level" else logging.disable(logging.WARNING)
        ask(refused(), ScriptedLLM("good"))
    finally:
        logger.setLevel(before)
        logging.disable(logging.NOTSET)
    assert not caplog.records
