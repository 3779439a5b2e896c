"""Tokens into money: the user's prices, the bundled ones, and "unknown"."""

from decimal import Decimal

import pytest

from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of, dollars, price_of

SOME = Usage(input_tokens=1000, output_tokens=100)
SUMMER_2025 = 1_750_000_000.0


def test_a_known_model_has_its_list_price():
    # $2 and $8 a million tokens
    assert price_of("openai", "gpt-4.1", SOME, when=SUMMER_2025) == Decimal("0.0028")


def test_cached_input_is_cheaper_and_writing_to_anthropics_cache_dearer():
    model = "claude-sonnet-4-5"
    plain = price_of("anthropic", model, SOME)
    read = price_of("anthropic", model, Usage(1000, 100, cached_tokens=500))
    written = price_of("anthropic", model, Usage(1000, 100, cache_write_tokens=500))
    assert plain is not None
    assert read is not None
    assert written is not None
    assert read < plain < written


def test_the_users_own_price_goes_before_the_list():
    assert price_of("openai", "gpt-4.1", SOME, {"gpt-4.1": (1, 10)}) == Decimal("0.002")
    assert price_of("ollama", "llama3.2", SOME, {"llama3.2": (0, 0)}) == 0


def test_prices_are_exact_decimals():
    assert price_of("x", "m", Usage(input_tokens=1), {"m": (0.1, 0.2)}) == Decimal("0.0000001")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "a-model-of-tomorrow"),
        ("openai_like", "gpt-4.1"),
        ("ollama", "llama3.2"),
        ("scriptedllm", "scripted"),
        ("google_genai", "gemma-3"),  # listed, without a price
    ],
)
def test_an_unknown_price_is_none_and_never_0(provider, model):
    assert price_of(provider, model, SOME) is None


def test_a_usage_that_makes_no_sense_has_no_price():
    assert price_of("openai", "gpt-4.1", Usage(10, 5, cached_tokens=100)) is None


def test_no_tokens_cost_nothing_whatever_the_model():
    assert price_of("ollama", "llama3.2", Usage(requests=3)) == 0


def test_a_sum_with_an_unknown_part_has_no_total_and_says_which_model():
    known = cost_of("openai", "gpt-4.1", SOME, when=SUMMER_2025)
    total = known + cost_of("ollama", "b", SOME) + cost_of("ollama", "a", SOME) + known
    assert known.usd == Decimal("0.0028")
    assert total.usd is None
    assert total.at_least == Decimal("0.0056")
    assert str(total) == "at least $0.0056 (no price for a, b)"
    assert str(cost_of("ollama", "a", SOME)) == "unknown (no price for a)"


def test_the_cost_of_estimated_tokens_is_marked():
    cost = cost_of("x", "m", Usage(1000, 0, estimated=True), {"m": (5, 5)})
    assert str(cost + Cost()) == "about $0.0050"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.00001234", "$0.000012"),
        ("0.0528", "$0.053"),
        ("0.5", "$0.50"),
        ("1234.567", "$1,234.57"),
    ],
)
def test_dollars_are_shown_with_their_leading_digits(amount, shown):
    assert dollars(Decimal(amount)) == shown
