"""``MixtureOfAgentsPack``: the mixture under the old pack's name and signature."""

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM

from .errors import RecipeError
from .llm import RESULT_KEY, MixtureOfAgents
from .recipe import Proposer, moa
from .result import MixtureResult

if TYPE_CHECKING:
    from abc import ABC as BaseLlamaPack
else:
    try:
        from llama_index.core.llama_pack.base import BaseLlamaPack
    except (
        ImportError
    ):  # core 0.14.21 and later have no packs any more; the two-method contract stays
        from abc import ABC as BaseLlamaPack


class MixtureOfAgentsPack(BaseLlamaPack):
    """Mixture-of-Agents (arXiv 2406.04692) as a llama pack.

    Args:
        llm: the aggregator, which writes the answer.
        reference_llms: the proposers: a list, or one LLM.
        num_layers: how many *proposer* layers, as the old pack counted. The paper's l counts the aggregator too, so
            its "3 layers" are ``num_layers=2``.
        max_tokens: sent with every call; None sends nothing.
        temperature: sent with every call to a model that takes it; None sends nothing.
        timeout: seconds for a whole run.
        reference_llm: the same as ``reference_llms``.
        policies: further fields of ``Recipe`` and ``Layer``, as ``moa`` takes them (quorum, grace, budget, ...).

    Raises:
        RecipeError: the proposers are given twice or not at all, or the settings make no sense.
    """

    def __init__(
        self,
        llm: LLM,
        reference_llms: Sequence[LLM | Proposer] | LLM | None = None,
        num_layers: int = 3,
        max_tokens: int | None = 2048,
        temperature: float | None = 0.7,
        timeout: float | None = 200,
        *,
        reference_llm: Sequence[LLM | Proposer] | LLM | None = None,
        **policies: Any,
    ) -> None:
        if reference_llms is not None and reference_llm is not None:
            raise RecipeError(
                "reference_llm", "...", "is the same as reference_llms: give one of them"
            )
        given = reference_llms if reference_llms is not None else reference_llm
        if given is None:
            raise RecipeError("reference_llm", None, "give the proposers: a list of LLMs, or one")
        proposers = list(given) if isinstance(given, Sequence) else [given]
        recipe = moa(
            proposers,
            llm,
            layers=num_layers,
            max_tokens=max_tokens,
            temperature=temperature,
            deadline=timeout,
            **policies,
        )
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
    return [ChatMessage(role="user", content=text)]


def _result(response: ChatResponse) -> MixtureResult:
    # LlamaIndex declares this a bare dict.
    return response.additional_kwargs[RESULT_KEY]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
