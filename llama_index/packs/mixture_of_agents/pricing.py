"""The price of tokens in US dollars. A price that is not known is "unknown", never 0.

Prices come from the user (``Recipe.prices``), or else from the package genai-prices (extra ``cost``). Its data are part
of the package: nothing is fetched.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from .events import CallFinished, RunStarted, Usage

Prices = Mapping[str, tuple[float, float]]
"""A user's own prices: model -> (input, output) in US dollars per million tokens."""

_MILLION = 1_000_000
_SHOP = {
    "anthropic": "anthropic",
    "azure_openai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "google_genai": "google",
    "groq": "groq",
    "mistralai": "mistral",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "vertex": "google",
}
"""LlamaIndex integration -> its seller's name in genai-prices. An OpenAI-like server can be anybody's: it has no price."""

BATCH_PRICES = {"mistralai": 0.5, "openai": 0.5}
"""LlamaIndex integration -> the part of the usual price that its batch API costs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money of which parts may be unknown. Sums with ``+``; ``str`` never shows an unknown price as 0.

    Attributes:
        at_least: US dollars of all parts with a known price.
        unpriced: the models without a known price, in alphabetical order.
        estimated: whether it includes tokens that no provider reported.
    """

    at_least: Decimal = Decimal(0)
    unpriced: tuple[str, ...] = ()
    estimated: bool = False

    @property
    def usd(self) -> Decimal | None:
        """US dollars, or None if a part is unknown."""
        return None if self.unpriced else self.at_least

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.at_least + other.at_least,
            tuple(sorted({*self.unpriced, *other.unpriced})),
            self.estimated or other.estimated,
        )

    def __str__(self) -> str:
        about = "about " if self.estimated else ""
        if not self.unpriced:
            return f"{about}{dollars(self.at_least)}"
        reason = f"no price for {', '.join(self.unpriced)}"
        return (
            f"at least {about}{dollars(self.at_least)} ({reason})"
            if self.at_least
            else f"unknown ({reason})"
        )


def dollars(amount: Decimal) -> str:
    """Return an amount as text, with at least two decimal places and at least two significant digits.

    Args:
        amount: US dollars.
    """
    digits = 2 if not amount else max(2, 1 - amount.adjusted())
    return f"${amount:,.{digits}f}"


def price_of(
    provider: str, model: str, usage: Usage, prices: Prices | None = None, when: float | None = None
) -> Decimal | None:
    """The price of some tokens.

    Args:
        provider: the LlamaIndex integration's short name, as in ``CallFinished.provider``.
        model: the model's name.
        usage: the tokens.
        prices: the user's own prices; they take precedence.
        when: the time of the prices, in seconds since the epoch. None: now.

    Returns:
        US dollars, or None if the price is not known.
    """
    if not usage.total_tokens:
        return Decimal(0)
    if prices and model in prices:
        sent, received = (Decimal(str(price)) for price in prices[model])
        return (sent * usage.input_tokens + received * usage.output_tokens) / _MILLION
    shop = _SHOP.get(provider)
    return _list_price(shop, model, usage, when) if shop else None


def batch_prices(
    models: Iterable[tuple[str, str]],
    prices: Prices | None,
    factors: Mapping[str, float] | None = None,
) -> Prices:
    """Return what models cost by their providers' batch APIs, beside the user's own prices of others.

    Tokens from a provider's cache count in full.

    Args:
        models: Integration and name of each model that is asked by a batch API.
        prices: The user's own prices for direct requests.
        factors: Integration -> part of the usual price, instead of those in ``BATCH_PRICES``.
    """
    found = dict(prices or {})
    for provider, model in set(models):
        factor = {**BATCH_PRICES, **(factors or {})}.get(provider, 1.0)
        both = [
            price_of(provider, model, usage, prices)
            for usage in (Usage(input_tokens=1_000), Usage(output_tokens=1_000))
        ]
        sent, received = (None if one is None else float(one) * 1_000 * factor for one in both)
        if sent is not None and received is not None:
            found[model] = sent, received
    return found


def cost_of(
    provider: str, model: str, usage: Usage, prices: Prices | None = None, when: float | None = None
) -> Cost:
    """Return what ``price_of`` returns as a ``Cost``, which can be added up. See ``price_of``."""
    price = price_of(provider, model, usage, prices, when)
    return (
        Cost(unpriced=(model,), estimated=usage.estimated)
        if price is None
        else Cost(price, (), usage.estimated)
    )


def _list_price(shop: str, model: str, usage: Usage, when: float | None) -> Decimal | None:
    try:
        from genai_prices import Usage as Tokens
        from genai_prices import calc_price
    except ImportError:
        return None
    tokens = Tokens(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
    )
    moment = None if when is None else datetime.fromtimestamp(when, timezone.utc)
    try:
        found = calc_price(tokens, model, provider_id=shop, genai_request_timestamp=moment)
    # The model is not listed, or the usage is not valid, such as more cached tokens than input tokens.
    except (LookupError, ValueError):
        return None
    # A model that is listed without a price would be free.
    price: Any = found.model_price
    return None if price.input_mtok is None or price.output_mtok is None else found.total_price


def cost_of_call(call: CallFinished, run: RunStarted) -> Cost:
    """Return what a call cost, by the prices of its run's recipe and of its run's day; a replayed call cost nothing.

    Args:
        call: the call.
        run: the start of its run, which holds the prices.
    """
    if call.replayed:
        return Cost()
    return cost_of(call.provider, call.model, call.usage, run.prices, run.time)
