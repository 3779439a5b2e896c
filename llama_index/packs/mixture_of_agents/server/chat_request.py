"""A chat request as a ``Question``: messages, keyword arguments of a chat, tools and schemas."""

from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._messages.openai_format import message_of

from .answer_forms import OfferedTools, wanted_schema
from .chat_schema import ChatRequest, JsonSchemaFormat, Message, NamedTool
from .error_bodies import Refused, invalid
from .narration import narrated
from .served_model import SHOWN, Question

_PARAMETERS = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
)


def question_of(request: ChatRequest) -> Question:
    """What a request asks.

    Raises:
        Refused: An image or a sound in it cannot be read.
    """
    kwargs = {**_parameters_of(request), **_forms_of(request)}
    options = request.mixture
    shown = request.model.endswith(SHOWN) or bool(options and options.show)
    return Question(messages_of(request), kwargs, narrated if shown else None)


def _parameters_of(request: ChatRequest) -> dict[str, Any]:
    """What the caller has set, by LlamaIndex's names."""
    given = {name: getattr(request, name) for name in _PARAMETERS}
    given["max_tokens"] = request.max_completion_tokens or request.max_tokens
    return {name: value for name, value in given.items() if value is not None}


def messages_of(request: ChatRequest) -> list[ChatMessage]:
    """The conversation.

    Raises:
        Refused: An image or a sound in it cannot be read.
    """
    return [_read(number, message) for number, message in enumerate(request.messages)]


def _read(number: int, message: Message) -> ChatMessage:
    try:
        return message_of({"content": "", **message.model_dump(exclude_none=True)})
    except ValueError:
        place = f"messages[{number}].content"
        raise Refused(invalid("an image or a sound in it cannot be read", place)) from None


def _forms_of(request: ChatRequest) -> dict[str, Any]:
    """``tools`` and ``response_format`` as keyword arguments of a chat, if the client has set them."""
    forms: dict[str, Any] = {}
    wanted, choice = request.response_format, request.tool_choice
    with_schema = isinstance(wanted, JsonSchemaFormat)
    written = wanted.model_dump(exclude_unset=True, by_alias=True) if with_schema else None
    if request.tools:
        named = isinstance(choice, NamedTool)
        forms["tools"] = OfferedTools(
            [tool.model_dump(exclude_unset=True) for tool in request.tools],
            choice.model_dump() if named else choice,
            parallel=request.parallel_tool_calls,
            response_format=written,
        )
        if named or choice == "none":
            forms["tool_choice"] = choice.function.name if named else choice
    elif written:
        forms["response_format"] = wanted_schema(written)
    if wanted and wanted.type == "json_object":
        forms["response_format"] = {"type": "json_object"}
    return forms
