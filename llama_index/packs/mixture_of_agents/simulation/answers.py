"""Makes a simulated model's answers and token counts, from its behaviour and a request."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, cast

from .behaviour import OK, Behaviour, Outcome, Reply, ToolCall
from .conversation import Json, count_tokens, last_user_text, messages_of, references_in, text_of
from .knowledge import composition, proposal
from .log import Record
from .schema import example


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts of one request. `reasoning` is a part of `output`, and `cached` a part of `input`."""

    input: int
    output: int
    reasoning: int = 0
    cached: int = 0
    reported: bool = True


class Model:
    """A simulated model: its behaviour, and its position in its scripts."""

    def __init__(self, name: str, behaviour: Behaviour) -> None:
        self.name = name
        self.behaviour = behaviour
        self._replies = behaviour.replies()
        self._rules = [
            (re.compile(pattern, re.IGNORECASE | re.DOTALL), Behaviour(reply=reply).replies()[0])
            for pattern, reply in behaviour.rules
        ]
        self._replied = 0
        self._ended = 0
        # There are two sources, so that outcomes do not depend on whether latency is random.
        self._chance = random.Random(f"{behaviour.seed}:{name}:chance")
        self._pace = random.Random(f"{behaviour.seed}:{name}:pace")

    def next_outcome(self) -> Outcome:
        """Decide how the next request ends: by the script, then by chance."""
        turn, self._ended = self._ended, self._ended + 1
        if turn < len(self.behaviour.script):
            return self.behaviour.script[turn]
        if self.behaviour.chances:
            drawn = self._chance.random()
            for outcome, chance in self.behaviour.chances:
                drawn -= chance
                if drawn < 0:
                    return outcome
        return OK

    def latency(self, *, streaming: bool) -> float:
        """Draw the seconds until the first byte of the next answer."""
        seconds = self.behaviour.latency
        if streaming and self.behaviour.first_token is not None:
            seconds = self.behaviour.first_token
        if self.behaviour.latency_sigma:
            seconds *= exp(self._pace.gauss(0.0, self.behaviour.latency_sigma))
        return seconds

    def answer(self, body: Json) -> list[Reply]:
        """Answer a request.

        Args:
            body: the request's body.

        Returns:
            `n` replies, as the request wants, each with its `finish_reason`.
        """
        messages = messages_of(body)
        return [
            self._limited(self._reply_to(messages, body), body) for _ in range(body.get("n") or 1)
        ]

    def _reply_to(self, messages: list[Json], body: Json) -> Reply:
        question = last_user_text(messages)
        for pattern, reply in self._rules:
            if pattern.search(question):
                return reply
        if self._replies:
            turn, self._replied = self._replied, self._replied + 1
            return self._replies[min(turn, len(self._replies) - 1)]
        tool = self._tool_to_call(messages, body)
        if tool is not None:
            return Reply(None, tool_calls=(ToolCall(tool["name"], _arguments(tool)),))
        structured = _structured(body)
        if structured is not None:
            return Reply(structured)
        if self.behaviour.echo:
            return Reply(question)
        references = references_in(messages)
        if references is not None:
            return Reply(composition(self.name, references))
        return Reply(proposal(self.name, question))

    def _tool_to_call(self, messages: list[Json], body: Json) -> Json | None:
        tools: list[Json] = [tool["function"] for tool in body.get("tools") or ()]
        choice: Any = body.get("tool_choice")
        if isinstance(choice, dict):
            wanted = cast("Json", choice)["function"]["name"]
            return next((tool for tool in tools if tool["name"] == wanted), None)
        willing = self.behaviour.calls_tools and messages[-1]["role"] != "tool"
        if choice in ("required", "any") or (willing and choice != "none"):
            return tools[0] if tools else None
        return None

    def _limited(self, reply: Reply, body: Json) -> Reply:
        """Cut the reply at stop words and at the request's token limit."""
        reason = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
        text = reply.text
        for stop in filter(None, _as_list(body.get("stop"))):
            text = text.partition(stop)[0] if text else text
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        if text and most and count_tokens(text) > most:
            text = "".join(re.findall(r"\s*\S+", text)[:most])
            reason = reply.finish_reason or "length"
        return replace(reply, text=text, finish_reason=reason)

    def answered(
        self, body: Json, outcome: Outcome, record: Record
    ) -> tuple[Sequence[Reply], Tokens]:
        """Answer a request as its outcome says, and note the answer in the request's record."""
        replies: Sequence[Reply] = self.answer(body)
        if outcome.kind == "empty_answer":
            replies = [Reply("", finish_reason="stop") for _ in replies]
        tokens = self.tokens(body, replies)
        record.answer = "\n".join(one.text or "" for one in replies)
        record.input_tokens, record.output_tokens = tokens.input, tokens.output
        record.reasoning_tokens, record.cached_tokens = tokens.reasoning, tokens.cached
        return replies, tokens

    def tokens(self, body: Json, replies: Sequence[Reply]) -> Tokens:
        """Count the tokens of a request and its replies, as the provider reports them."""
        of = self.behaviour
        counted = sum(_output_tokens(reply) for reply in replies) + of.reasoning_tokens
        return Tokens(
            input=input_tokens(body) if of.input_tokens is None else of.input_tokens,
            output=counted if of.output_tokens is None else of.output_tokens,
            reasoning=of.reasoning_tokens,
            cached=of.cached_tokens,
            reported=of.reports_usage,
        )


def input_tokens(body: Json) -> int:
    """Count the tokens of a request's messages and tools."""
    tools = body.get("tools")
    counted = sum(count_tokens(text_of(message)) for message in messages_of(body))
    return counted + (count_tokens(json.dumps(tools)) if tools else 0)


def pieces(text: str, words: int) -> list[str]:
    """Cut a text into chunks of this number of words. Joined, they are the text again."""
    if not text:
        return []
    return re.findall(rf"(?:\s*\S+){{1,{words}}}\s*?(?=\s|$)|\s+$", text)


def arguments_text(call: ToolCall) -> str:
    """The arguments of a tool call as JSON text."""
    return call.arguments if isinstance(call.arguments, str) else json.dumps(dict(call.arguments))


def _output_tokens(reply: Reply) -> int:
    calls = sum(1 + count_tokens(arguments_text(call)) for call in reply.tool_calls)
    return count_tokens(reply.text or "") + count_tokens(reply.thinking) + calls


def _arguments(tool: Json) -> Json:
    return example({"type": "object", **(tool.get("parameters") or {})}, tool["name"])


def _structured(body: Json) -> str | None:
    """Make the JSON text that `response_format` wants; None if it wants none."""
    wanted: Json = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        definition: Json = wanted.get("json_schema") or {}
        return json.dumps(example(definition.get("schema") or {}))
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": "simulated answer"})
    return None


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
