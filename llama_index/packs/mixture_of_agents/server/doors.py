"""The paths that answer requests to models. Each translates its API's request into a chat request."""

# FastAPI keeps the functions that it decorates.
# pyright: reportUnusedFunction=false

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from anthropic.types import Message, MessageTokensCount
from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from openai.types.chat import ChatCompletion
from openai.types.responses import Response as ResponsesResponse
from pydantic import BaseModel, ValidationError

from llama_index.packs.mixture_of_agents._messages.tokens import count_tokens, tokens_of

from .api_keys import Allowance
from .chat_request import question_of
from .chat_response import ChatWriter
from .chat_schema import ChatRequest, is_sayable
from .error_bodies import ERRORS, Refused, invalid
from .event_stream import AnswerWriter, Keep, respond
from .ignored_fields import HEADER, IgnoredFields, printable
from .in_flight import Runs
from .messages_request import MessagesRequest, TokensRequest
from .messages_request import chat_of as chat_of_messages
from .messages_response import MessagesWriter
from .request_mixture import Pool
from .response_store import ResponseStore
from .responses_request import ResponsesRequest, conversation_of
from .responses_request import chat_of as chat_of_responses
from .responses_response import ResponsesWriter
from .run_events import RunWriter, SavedRun
from .served_model import Answer, Model, Question, Show, find

_UNSAYABLE = (
    'It holds half a character ("\\ud800") or a number that is none (NaN, Infinity, 1e999), which no provider '
    "can be sent."
)

_EVENTS: dict[str, Any] = {"text/event-stream": {}}
"""OpenAPI 3.1 cannot describe the schema of an event."""


class Doors:
    """What the paths of an app share.

    Args:
        models: The models by the names that they are served by.
        pool: The models that a request may choose.
        runs: Begins runs.
        heartbeat: Seconds between comments in a stream.
        store: Keeps conversations for ``previous_response_id``; None keeps none.
        allowance: Says whether a key may ask now.
        recipes: Whether clients may read the recipes.
    """

    def __init__(
        self, models: Mapping[str, Model], pool: Pool, runs: Runs, heartbeat: float, store: ResponseStore | None,
        allowance: Allowance, recipes: bool = False,
    ) -> None:  # fmt: skip
        self.models, self._pool, self._runs, self.store = models, pool, runs, store
        self._heartbeat, self._allowance, self.recipes = heartbeat, allowance, recipes
        self._ignored = IgnoredFields()

    def question(self, chat: ChatRequest) -> tuple[Model, Question]:
        """The model of a request, and the question for it.

        Raises:
            Refused: There is no such model, or it cannot answer such a question.
        """
        model = self._pool.model(find(self.models, chat.model), chat.mixture)
        question = question_of(chat)
        model.check(question)
        return model, question

    async def answer(
        self,
        request: Request,
        body: BaseModel,
        chat: ChatRequest,
        writer: AnswerWriter,
        keep: Keep | None = None,
        watch: Callable[[Model], Show] | None = None,
    ) -> Response:
        """Ask, and write the answer.

        Args:
            request: The HTTP request.
            body: Its body.
            chat: The body as a chat request.
            writer: Writes the answer in the format of the body's API.
            keep: Awaited with the answer.
            watch: Called with the model; returns what writes the events of its run.
        """
        ignored = printable(body.model_extra or ())
        self._ignored.log(ignored, time.monotonic())
        named = {HEADER: ", ".join(ignored)} if ignored else {}
        request.state.headers = named  # of an error, too
        model, question = self.question(chat)
        if watch:
            question = replace(question, show=watch(model))
        self._runs.check_room()
        charge = await self._allowance.admit(request.scope["state"])
        stream = bool(chat.stream)
        return await respond(
            request,
            self._runs.begin(model, question, stream=stream, charge=charge),
            writer,
            stream=stream,
            heartbeat=self._heartbeat,
            headers=named,
            keep=keep,
        )


def add_chat(app: FastAPI, doors: Doors) -> None:
    """OpenAI's chat completions."""
    answered: dict[str, Any] = {
        "description": "The answer, or a stream of its chunks.",
        "model": ChatCompletion,
        "content": _EVENTS,
    }

    @app.post("/v1/chat/completions", response_model=None, responses={200: answered, **ERRORS})
    async def chat_completions(request: Request, body: Annotated[ChatRequest, Body()]) -> Response:
        """Ask a model, whole or streamed: https://platform.openai.com/docs/api-reference/chat/create."""
        await _check_sayable(request)
        options = body.stream_options
        usage = bool(options and options.include_usage)
        writer = ChatWriter(body.model, _proposals(body), usage)
        return await doors.answer(request, body, body, writer)


class MessagesProblem(BaseModel):
    """What is in an error of the Messages API."""

    type: str
    message: str


class MessagesError(BaseModel):
    """The body of an error of the Messages API."""

    type: Literal["error"]
    error: MessagesProblem


def add_messages(app: FastAPI, doors: Doors) -> None:
    """Anthropic's Messages API."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": MessagesError} for status in ERRORS
    }
    answered: dict[str, Any] = {"model": Message, "content": _EVENTS}

    @app.post("/v1/messages", response_model=None, responses={200: answered, **errors})
    async def messages(request: Request, body: Annotated[MessagesRequest, Body()]) -> Response:
        """Ask a model, whole or streamed: https://docs.anthropic.com/en/api/messages."""
        chat = await _chat(request, body)
        writer = MessagesWriter(body.model, _proposals(chat))
        return await doors.answer(request, body, chat, writer)

    @app.post("/v1/messages/count_tokens", responses=errors)
    async def count(request: Request, body: Annotated[TokensRequest, Body()]) -> MessageTokensCount:
        """Count the tokens of a conversation, by LlamaIndex's tokenizer; references are not among them."""
        chat = await _chat(request, body)
        _, question = doors.question(chat)
        tools = json.dumps([tool.model_dump(exclude_none=True) for tool in chat.tools or ()])
        counted = await asyncio.to_thread(tokens_of, question.messages)
        counted += await asyncio.to_thread(count_tokens, tools) if chat.tools else 0
        return MessageTokensCount(input_tokens=counted)

    async def _chat(request: Request, body: TokensRequest) -> ChatRequest:
        await _check_sayable(request)
        return _valid(lambda: chat_of_messages(body))


def add_responses(app: FastAPI, doors: Doors) -> None:
    """OpenAI's Responses API."""
    answered: dict[str, Any] = {"model": ResponsesResponse, "content": _EVENTS}

    @app.post("/v1/responses", response_model=None, responses={200: answered, **ERRORS})
    async def responses(request: Request, body: Annotated[ResponsesRequest, Body()]) -> Response:
        """Ask a model, whole or streamed: https://platform.openai.com/docs/api-reference/responses."""
        await _check_sayable(request)
        conversation = [*await _before(doors.store, body), *conversation_of(body)]
        chat = _valid(lambda: chat_of_responses(body, conversation))
        stored = doors.store is not None and body.store is not False
        writer = ResponsesWriter(body, _proposals(chat), stored)

        async def keep(_: Answer) -> None:
            if doors.store and stored:
                await doors.store.put(writer.id, [*conversation, writer.as_turn()])

        return await doors.answer(request, body, chat, writer, keep)


def add_runs(app: FastAPI, doors: Doors) -> None:
    """The events of a run, for clients that show what the layers do."""
    answered: dict[str, Any] = {
        "description": "The run as a line of a trace file, or a stream of its events.",
        "model": SavedRun,
        "content": _EVENTS,
    }

    @app.post("/v1/runs", response_model=None, responses={200: answered, **ERRORS})
    async def runs(request: Request, body: Annotated[ChatRequest, Body()]) -> Response:
        """Ask a mixture as in a chat completion, and get its run: whole, or streamed event by event."""
        await _check_sayable(request)
        writer = RunWriter(doors.recipes)
        return await doors.answer(request, body, body, writer, watch=writer.watch)


async def _before(store: ResponseStore | None, body: ResponsesRequest) -> list[dict[str, Any]]:
    if body.previous_response_id is None:
        return []
    if store is None:
        problem = "this server keeps no responses; send the whole conversation as input"
        raise Refused(invalid(problem, "previous_response_id"))
    return await store.get(body.previous_response_id)


def _proposals(chat: ChatRequest) -> bool:
    return bool(chat.mixture and chat.mixture.proposals)


async def _check_sayable(request: Request) -> None:
    if not is_sayable(await request.body()):
        raise Refused(invalid(_UNSAYABLE))


def _valid(make: Any) -> ChatRequest:
    """The chat request that an API's own request becomes."""
    try:
        return make()
    except ValidationError as error:
        raise RequestValidationError(error.errors(), body={}) from error
