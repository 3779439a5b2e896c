"""``MixtureOfAgentsPack``: the mixture under the old pack's name and signature."""

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM
from typing_extensions import Unpack

from llama_index.packs.mixture_of_agents._providers.facts import chat_parameters

from ._checks import require, shown
from .errors import RecipeError
from .llm import RESULT_KEY, MixtureOfAgents
from .recipe import Aggregator, PackSettings, Policies, Proposer, check_names, moa, respelled
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
        num_layers: the number of *proposer* layers. The pack keeps the old pack's default of 3. Everywhere else the
            default is 2: the paper's "3 layers", since the paper counts the aggregator too.
        max_tokens: the token limit of every call. None: the LLM's own setting applies.
        temperature: the temperature of every call to a model that takes one. None: the LLM's own setting applies;
            LlamaIndex's OpenAI and MistralAI classes then send 0.1.
        timeout: the number of seconds for a whole run.
        reference_llm: another name of ``reference_llms``.
        policies: further fields of ``Recipe`` and ``Layer``, as ``moa`` takes them (quorum, grace, budget, ...). The
            names ``proposers``, ``layers`` and ``deadline`` can replace the old pack's names.

    Raises:
        RecipeError: a parameter is given twice, is missing, or is not valid.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack

        pack = MixtureOfAgentsPack(OpenAI("gpt-4.1"), [OpenAI("gpt-4.1-mini"), OpenAI("gpt-4o-mini")], num_layers=1)
        print(pack.run("What is a generator?"))
        ```
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
        **policies: Unpack[PackSettings],
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
        """Return the parts of the pack by name: the LLMs, the settings, the mixture and its recipe."""
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
        """Answer a question. This works with and without a running event loop.

        Args:
            query_str: the question.
            kwargs: parameters of this run's calls, such as ``temperature``. Those other than ``temperature`` and
                ``top_p`` are the aggregator's alone.

        Returns:
            The answer's text.

        Raises:
            RecipeError: the question is not text, or the aggregator's class does not know a parameter.
            RunError: there is no answer. The error explains what happened to every call.
        """
        return self.run_detailed(query_str, **kwargs).answer

    async def arun(self, query_str: str, **kwargs: Any) -> str:
        """Like ``run``, for async code."""
        return (await self.arun_detailed(query_str, **kwargs)).answer

    def run_detailed(self, query_str: str, **kwargs: Any) -> MixtureResult:
        """Like ``run``, with every call and proposal that led to the answer. It takes the same arguments and raises
        the same errors.

        Returns:
            The result: answer, proposals, failures, times and cost.
        """
        return _result(self.llm.chat(self._messages(query_str, kwargs), **kwargs))

    async def arun_detailed(self, query_str: str, **kwargs: Any) -> MixtureResult:
        """Like ``run_detailed``, for async code."""
        return _result(await self.llm.achat(self._messages(query_str, kwargs), **kwargs))

    def stream(self, query_str: str, **kwargs: Any) -> Generator[str, None, None]:
        """Like ``run``, as a stream: it takes the same arguments and raises the same errors.

        Yields:
            The answer's text, piece by piece.
        """
        for chunk in self.llm.stream_chat(self._messages(query_str, kwargs), **kwargs):
            if chunk.delta:
                yield chunk.delta

    async def astream(self, query_str: str, **kwargs: Any) -> AsyncGenerator[str, None]:
        """Like ``stream``, for async code."""
        async for chunk in await self.llm.astream_chat(self._messages(query_str, kwargs), **kwargs):
            if chunk.delta:
                yield chunk.delta

    def _messages(self, query_str: str, kwargs: dict[str, Any]) -> list[ChatMessage]:
        """The question as messages. Raises RecipeError for no question, or for parameters that no call can have."""
        is_question = isinstance(query_str, str) and bool(query_str.strip())  # type: ignore[reportUnnecessaryIsInstance]
        require(is_question, "query_str", shown(query_str), "must be the question, as a text")
        aggregator = self.llm.recipe.aggregator
        known = chat_parameters(aggregator.llm) if aggregator else None
        if known is not None:
            for name in kwargs.keys() & (Policies.__annotations__.keys() - known):
                raise RecipeError(name, "...", "is set when the pack is made")
            check_names("a call", kwargs, known)
        return [ChatMessage(role="user", content=query_str)]

    def __repr__(self) -> str:
        return f"MixtureOfAgentsPack({self.llm!r})"


def _result(response: ChatResponse) -> MixtureResult:
    # LlamaIndex declares this a bare dict.
    return response.additional_kwargs[RESULT_KEY]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
