"""``MixtureOfAgents``: the mixture as a LlamaIndex LLM, so that whatever takes an LLM takes a mixture."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import ExitStack, aclosing, closing
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.bridge.pydantic import (
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts.base import PromptTemplate
from llama_index.core.prompts.mixin import PromptDictType, PromptMixin, PromptMixinType
from typing_extensions import Unpack

from llama_index.packs.mixture_of_agents._concurrency.threads import iterate_blocking
from llama_index.packs.mixture_of_agents._engine.calls import Caller
from llama_index.packs.mixture_of_agents._engine.job import Finished, Job
from llama_index.packs.mixture_of_agents._engine.spans import SpanTracer, anybody_listens
from llama_index.packs.mixture_of_agents._providers.function_calling import FormingLLM

from ._checks import is_a, require, shown
from .errors import RecipeError
from .events import AnswerDelta, Listener
from .recipe import (
    Aggregator,
    MixtureSettings,
    Proposers,
    Recipe,
    moa,
    patient,
    prompts_of,
    recipe_metadata,
    respelled,
    with_prompts,
)
from .result import RESULT_KEY

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents._engine.run import Happening

    from .recipe import Estimate

__all__ = ["RESULT_KEY", "MixtureOfAgents", "as_mixture"]

_TRACER = SpanTracer()
_NOT_PICKLED = ("callback_manager", "rate_limiter")  # they hold threads and locks of this process


class MixtureOfAgents(FormingLLM, PromptMixin):
    """A mixture of LLMs that is itself an LLM.

    Its prompts are plain texts, read with ``get_prompts`` and replaced with ``update_prompts``. Braces in them have no
    meaning. Copies share the recipe. A pickle holds the recipe without any key or header. Where it is loaded, the
    members take their keys from the environment (OPENAI_API_KEY and the like), as they do when they are made.

    Args:
        recipe: what the mixture is made of; or else give ``llm`` and ``proposers``.
        llm: the aggregator.
        proposers: the proposers of every layer.
        settings: fields of LlamaIndex's ``LLM`` (system_prompt, callback_manager, rate_limiter, ...). If the mixture is
            made of parts, also what ``moa`` takes: ``layers``, the number of proposer layers (2), and further fields of
            ``Recipe`` and ``Layer``.

    Raises:
        RecipeError: the parts are not valid, or do not fit together.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents import MixtureOfAgents

        llm = MixtureOfAgents(llm=OpenAI("gpt-4.1"), proposers=[OpenAI("gpt-4.1-mini"), OpenAI("gpt-4o-mini")])
        print(llm.complete("What is a generator?"))
        ```
    """

    model: str = "mixture-of-agents"
    _recipe: Recipe = PrivateAttr()
    _caller: Caller = PrivateAttr()
    _listeners: tuple[Listener, ...] = PrivateAttr(default=())

    def __init__(
        self,
        recipe: Recipe | None = None,
        proposers: Proposers | Iterable[LLM] | LLM | None = None,
        *,
        llm: LLM | Aggregator | None = None,
        **settings: Unpack[MixtureSettings],
    ) -> None:
        further: dict[str, Any] = dict(settings)
        of_llm = {name: further.pop(name) for name in LLM.model_fields if name in further}
        named = {"llm": llm, "proposers": proposers}
        given = {name: one for name, one in named.items() if one is not None}
        parts = respelled({**further, **given})
        if recipe is None:
            if not parts.get("proposers") or "aggregator" not in parts:
                problem = "give a recipe, or both llm (the aggregator) and proposers"
                raise RecipeError("recipe", None, problem)
            recipe = moa(**parts)
        elif not is_a(Recipe, recipe):
            problem = "is not a Recipe: say MixtureOfAgents(llm=..., proposers=[...])"
            raise RecipeError("recipe", shown(recipe), problem)
        elif parts:
            raise RecipeError("recipe", recipe.name, "give either a recipe or its parts, not both")
        of_llm["model"] = recipe.name
        super().__init__(**of_llm)
        self._recipe = recipe
        self._caller = Caller(recipe)

    @classmethod
    def class_name(cls) -> str:
        return "MixtureOfAgents"

    @property
    def recipe(self) -> Recipe:
        """What the mixture is made of."""
        return self._recipe

    @property
    def metadata(self) -> LLMMetadata:
        """The members' smallest context window, less the room that references can take; the aggregator's abilities."""
        return recipe_metadata(self._recipe, self._caller.window)

    def estimate(self, messages: str | Sequence[ChatMessage] = "") -> "Estimate":
        """Like ``Recipe.estimate``, with the mixture's own system prompt and what its runs have shown of the servers.

        Args:
            messages: the conversation, or the question alone.
        """
        given = [ChatMessage(content=messages)] if isinstance(messages, str) else list(messages)
        known = {id(a.llm): self._caller.transport(a).gives_samples for a in self._recipe.agents}
        return self._recipe.estimate(self._extend_messages(given), lambda llm: known[id(llm)])

    def listen(self, listener: Listener) -> ExitStack:
        """Call a listener with every event of every run from now on.

        Args:
            listener: the listener.

        Returns:
            A context manager. When it is closed, the listener is not called any more.
        """
        self._listeners = (*self._listeners, listener)
        stack = ExitStack()
        stack.callback(self._unlisten, listener)
        return stack

    def with_caller(self, caller: Caller) -> "MixtureOfAgents":
        """Return the same mixture with another caller, such as a cache's or a replay's.

        Args:
            caller: makes the calls.
        """
        copy = self.model_copy()
        copy._caller = caller
        return copy

    def patient(self, prices: Mapping[str, tuple[float, float]], seed: int) -> "MixtureOfAgents":
        """Return the same mixture without limits of time and of calls in flight, for answers that may take a day.

        Args:
            prices: US dollars per million tokens in and out, by model.
            seed: The recipe's seed, if it has none.
        """

        def member(llm: LLM) -> LLM:
            return llm.patient(prices, seed) if isinstance(llm, MixtureOfAgents) else llm

        return self.with_recipe(patient(self._recipe, prices, seed, member))

    def with_recipe(self, recipe: Recipe) -> "MixtureOfAgents":
        """Return a copy of the mixture with another recipe; the same listeners hear of its runs.

        Args:
            recipe: the other recipe.
        """
        copy = self.model_copy()
        copy._recipe, copy._caller = recipe, self._caller.of(recipe)
        return copy

    def _unlisten(self, listener: Listener) -> None:
        self._listeners = tuple(one for one in self._listeners if one is not listener)

    def _get_prompts(self) -> PromptDictType:
        texts = prompts_of(self._recipe)
        return {name: PromptTemplate(text) for name, text in texts.items()}

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        texts = {name: prompt.get_template() for name, prompt in prompts_dict.items()}
        self._recipe = with_prompts(self._recipe, texts)

    def happening(self, messages: Sequence[ChatMessage], **kwargs: Any) -> "Happening":
        """The events of one run as they occur, with the pieces of the answer, then its outcome. For async code.

        Args:
            messages: the conversation.
            kwargs: parameters of this run.

        Returns:
            An async iterator; see ``Happening``.
        """
        return _happening(self._job(messages, kwargs, stream=True, threaded=False))

    def _job(
        self,
        messages: Sequence[ChatMessage],
        kwargs: dict[str, Any],
        *,
        stream: bool,
        threaded: bool,
    ) -> Job:
        require(len(messages) > 0, "messages", "[]", "give at least one message")
        listeners = (_TRACER, *self._listeners) if anybody_listens() else self._listeners
        return Job(self._recipe, self._caller, messages, kwargs, stream, threaded, listeners)

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        job = self._job(messages, kwargs, stream=False, threaded=True)
        (finished,) = iterate_blocking(lambda: _finished(job))
        return finished.chat_response()

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        finished = await _run(self._job(messages, kwargs, stream=False, threaded=False))
        return finished.chat_response()

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        job = self._job(messages, kwargs, stream=True, threaded=True)
        happening = iterate_blocking(lambda: _happening(job))

        def gen() -> ChatResponseGen:
            text = ""
            with closing(happening):
                for event in happening:
                    if isinstance(event, AnswerDelta):
                        text += event.text
                        yield _chunk(text, event)
                    elif isinstance(event, Finished):
                        yield event.chat_response(delta="")

        return gen()

    async def _astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        happening = self.happening(messages, **kwargs)

        async def gen() -> ChatResponseAsyncGen:
            text = ""
            async with aclosing(happening):
                async for event in happening:
                    if isinstance(event, AnswerDelta):
                        text += event.text
                        yield _chunk(text, event)
                    elif isinstance(event, Finished):
                        yield event.chat_response(delta="")

        return gen()

    # The engine's floor is below config's, which makes mixtures: these two methods alone look up.

    @model_serializer(mode="wrap")
    def custom_model_dump(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Add the recipe as data, without keys, so that caches keep mixtures apart."""
        del info
        from llama_index.packs.mixture_of_agents.config import identity

        return {**handler(self), "class_name": self.class_name(), "recipe": identity(self._recipe)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> "MixtureOfAgents":
        """Return the mixture that ``to_dict`` wrote; its members take their keys from the environment.

        Args:
            data: What ``to_dict`` returned.
            kwargs: Fields to replace.

        Raises:
            ConfigError: A key is missing, or a member's class is not one of LlamaIndex's.
        """
        from llama_index.packs.mixture_of_agents.config import from_data

        given = {**data, **kwargs}
        if isinstance(given.get("recipe"), dict):
            given["recipe"] = from_data(given["recipe"])
        return cls(**{name: given[name] for name in given if name not in ("class_name", "model")})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> "MixtureOfAgents":
        return self.model_copy()

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in LLM.model_fields if name not in _NOT_PICKLED}
        return {"recipe": self._recipe, **kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def __repr__(self) -> str:
        return repr(self._recipe).replace("Recipe", "MixtureOfAgents", 1)

    __str__ = __repr__


def as_mixture(given: Any) -> MixtureOfAgents:
    """Return the mixture of a mixture, a pack or a recipe, as ``MixtureOfAgents`` makes it."""
    known = MixtureOfAgents(given) if isinstance(given, Recipe) else given
    return getattr(known, "llm", known)


async def _finished(job: Job) -> AsyncGenerator[Finished, None]:
    """The outcome of a run as the only item: no reader wants its events."""
    yield await _run(job)


# The engine is imported with the first run, since not all code that imports the package makes one.


async def _run(job: Job) -> Finished:
    from llama_index.packs.mixture_of_agents._engine.run import run

    return await run(job)


def _happening(job: Job) -> "Happening":
    from llama_index.packs.mixture_of_agents._engine.run import Happening

    return Happening(job)


def _chunk(text: str, event: AnswerDelta) -> ChatResponse:
    theirs = event.response.message
    thinking = [block for block in theirs.blocks if block.block_type == "thinking"][-1:]
    calls = [block for block in theirs.blocks if block.block_type == "tool_call"]
    texts = [TextBlock(text=text)] if text or not calls else []
    message = ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=[*thinking, *texts, *calls],
        additional_kwargs=theirs.additional_kwargs,
    )
    chunk: Any = event.response
    news = chunk.additional_kwargs.get("thinking_delta")
    more = {"thinking_delta": news} if news else {}
    return ChatResponse(message=message, delta=event.text, additional_kwargs=more)
