"""``MixtureOfAgentsPack``: the mixture under the old pack's name and signature."""

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM

from ._checks import require, shown
from .errors import RecipeError
from .llm import RESULT_KEY, MixtureOfAgents
from .recipe import Aggregator, Proposer, moa, respelled
from .result import MixtureResult

if TYPE_CHECKING:
    from abc import ABC as BaseLlamaPack
else:
    try:
        from llama_index.core.llama_pack.base import BaseLlamaPack
    # Core 0.14.21 and later have no packs; the contract of two methods stays.
    except ImportError:
        from abc import ABC as BaseLlamaPack


class MixtureOfAgentsPack(BaseLlamaPack):
    """Mixture-of-Agents (arXiv 2406.04692) as a llama pack.

    Args:
        llm: the aggregator, which writes the answer.
        reference_llms: the proposers: a list, or one LLM.
        num_layers: how many *proposer* layers. The default of 3 is the old pack's; everywhere else it is 2, which is
            what the paper calls "3 layers", since it counts the aggregator too.
        max_tokens: sent with every call; None sends nothing.
        temperature: sent with every call to a model that takes it; None sends nothing.
        timeout: seconds for a whole run.
        reference_llm: the same as ``reference_llms``.
        policies: further fields of ``Recipe`` and ``Layer``, as ``moa`` takes them (quorum, grace, budget, ...). Its
            names ``proposers``, ``layers`` and ``deadline`` may be used instead of the old pack's.

    Raises:
        RecipeError: something is given twice, is missing, or makes no sense.
    """

    def __init__(
        self,
        llm: LLM | Aggregator,
        reference_llms: Sequence[LLM | Proposer] | LLM | None = None,
        num_layers: int = 3,
        max_tokens: int | None = 2048,
        temperature: float | None = 0.7,
        timeout: float | None = 200,
        *,
        reference_llm: Sequence[LLM | Proposer] | LLM | None = None,
        **policies: Any,
    ) -> None:
        unset = (
            "give the aggregator, an LLM; a recipe without one is made with moa(proposers, None)"
        )
        require(llm is not None, "llm", None, unset)  # type: ignore[reportUnnecessaryComparison]
        old = {
            "llm": (llm, None),
            "num_layers": (num_layers, 3),
            "timeout": (timeout, 200),
            "reference_llms": (reference_llms, None),
            "reference_llm": (reference_llm, None),
        }
        changed = {name: value for name, (value, default) in old.items() if value != default}
        settings: dict[str, Any] = {
            "layers": 3,
            "deadline": 200,
            **respelled({**policies, **changed}),
        }
        if settings.get("proposers") is None:
            raise RecipeError("reference_llms", None, "give the proposers: a list of LLMs, or one")
        recipe = moa(max_tokens=max_tokens, temperature=temperature, **settings)
        self.llm = MixtureOfAgents(recipe)

    def get_modules(self) -> dict[str, Any]:
        """The parts of the pack."""
        recipe = self.llm.recipe
        return {
            "llm": recipe.aggregator and recipe.aggregator.llm,
            "reference_llms": [p.llm for p in recipe.layers[0].proposers],
            "num_layers": len(recipe.layers),
            "temperature": recipe.temperature,
            "max_tokens": recipe.max_tokens,
            "mixture": self.llm,
            "recipe": recipe,
        }

    def run(self, query_str: str, **kwargs: Any) -> str:
        """The answer to a question. Works in a script as well as where an event loop is running.

        Raises:
            RunError: there is no answer; it tells what happened to every call.
        """
        return self.run_detailed(query_str, **kwargs).answer

    async def arun(self, query_str: str, **kwargs: Any) -> str:
        """``run`` for async code."""
        return (await self.arun_detailed(query_str, **kwargs)).answer

    def run_detailed(self, query_str: str, **kwargs: Any) -> MixtureResult:
        """The answer with everything that led to it."""
        return _result(self.llm.chat(_question(query_str), **kwargs))

    async def arun_detailed(self, query_str: str, **kwargs: Any) -> MixtureResult:
        """``run_detailed`` for async code."""
        return _result(await self.llm.achat(_question(query_str), **kwargs))

    def stream(self, query_str: str, **kwargs: Any) -> Generator[str, None, None]:
        """The pieces of the final answer as they come."""
        for chunk in self.llm.stream_chat(_question(query_str), **kwargs):
            if chunk.delta:
                yield chunk.delta

    async def astream(self, query_str: str, **kwargs: Any) -> AsyncGenerator[str, None]:
        """``stream`` for async code."""
        async for chunk in await self.llm.astream_chat(_question(query_str), **kwargs):
            if chunk.delta:
                yield chunk.delta

    def __repr__(self) -> str:
        return f"MixtureOfAgentsPack({self.llm!r})"


def _question(text: str) -> list[ChatMessage]:
    asked = isinstance(text, str) and bool(text.strip())  # type: ignore[reportUnnecessaryIsInstance]
    require(asked, "query_str", shown(text), "must be the question, as a text")
    return [ChatMessage(role="user", content=text)]


def _result(response: ChatResponse) -> MixtureResult:
    # LlamaIndex declares this a bare dict.
    return response.additional_kwargs[RESULT_KEY]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
