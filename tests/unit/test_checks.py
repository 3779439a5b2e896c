"""Numbers that are too large for their purpose are refused, with their bound."""

from collections.abc import Callable
from typing import Any

import pytest

from llama_index.packs.mixture_of_agents import (
    Layer,
    MixtureOfAgents,
    MixtureOfAgentsPack,
    Proposer,
    Recipe,
    RecipeError,
    moa,
)
from llama_index.packs.mixture_of_agents.policies import Breaker, Budget, CallPolicy, Limits
from llama_index.packs.mixture_of_agents.presets import self_moa
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

LLM = ScriptedLLM()
HUGE = 99_999_999_999
ENDLESS = 10**400

REFUSED: dict[str, Callable[[], Any]] = {
    "moa's layers": lambda: moa([LLM], LLM, layers=HUGE),
    "the pack's layers": lambda: MixtureOfAgentsPack(LLM, [LLM], HUGE),
    "a mixture's layers": lambda: MixtureOfAgents(llm=LLM, proposers=[LLM], num_layers=HUGE),
    "a recipe's layers": lambda: Recipe([[LLM]] * 101, LLM),
    "a proposer's samples": lambda: Proposer(LLM, samples=HUGE),
    "self_moa's samples": lambda: self_moa(LLM, samples=HUGE),
    "retries": lambda: CallPolicy(retries=HUGE),
    "an attempt's seconds": lambda: CallPolicy(timeout=ENDLESS),
    "a call's seconds": lambda: CallPolicy(deadline=1e10),
    "seconds before a retry": lambda: CallPolicy(backoff=ENDLESS),
    "seconds before a second request": lambda: CallPolicy(hedge_after=ENDLESS),
    "a layer's seconds": lambda: Layer([LLM], deadline=ENDLESS),
    "seconds of grace": lambda: Layer([LLM], grace=ENDLESS),
    "a run's seconds": lambda: moa([LLM], LLM, deadline=ENDLESS),
    "the pack's seconds": lambda: MixtureOfAgentsPack(LLM, [LLM], timeout=ENDLESS),
    "failures in a row": lambda: Breaker(failures=ENDLESS),
    "seconds of a circuit": lambda: Breaker(cooldown=ENDLESS),
    "calls in flight": lambda: Limits(in_flight=ENDLESS),
    "tokens of a budget": lambda: Budget(tokens=ENDLESS),
    "tokens of an answer": lambda: moa([LLM], LLM, max_tokens=ENDLESS),
    "an agent's tokens": lambda: Proposer(LLM, max_tokens=ENDLESS),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_number_too_large_for_its_purpose_is_refused_with_its_bound(what: str) -> None:
    with pytest.raises(RecipeError, match=r"at most [\d,]+") as raised:
        REFUSED[what]()
    assert len(str(raised.value)) < 300, "a number of 400 digits is not repeated"


def test_what_is_large_and_has_a_purpose_is_taken() -> None:
    moa([Proposer(LLM, samples=1000)], LLM, layers=100, deadline=1e9)
    CallPolicy(retries=100, timeout=float("inf"))
    Budget(tokens=10**12)


TRUTH: dict[str, Callable[[], Any]] = {
    "layers": lambda: moa([LLM], LLM, layers=True),
    "samples": lambda: Proposer(LLM, samples=True),
    "retries": lambda: CallPolicy(retries=False),
    "a quorum": lambda: Layer([LLM], quorum=True),
    "a temperature": lambda: moa([LLM], LLM, temperature=True),
    "seconds": lambda: moa([LLM], LLM, deadline=True),
    "tokens": lambda: Budget(tokens=True),
    "dollars": lambda: Budget(usd=True),
}


@pytest.mark.parametrize("what", list(TRUTH))
def test_true_and_false_are_no_numbers(what: str) -> None:
    with pytest.raises(RecipeError, match="number"):
        TRUTH[what]()
