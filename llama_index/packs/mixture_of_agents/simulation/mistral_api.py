"""Mistral's wire format: refusals, answers and chunks.

Sources: Mistral's API reference, and the error texts that its users report. It is stricter
than OpenAI: no unknown fields (422), an order of roles, tool call ids of nine characters.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .answers import Tokens, arguments_text, pieces
from .behaviour import Behaviour, Reply
from .conversation import Json
from .refusals import Problem, refused_parameter, tokens_over_window

NAME = "mistral"
_PARAMETERS = frozenset(
    (
        *("model", "messages", "stream", "temperature", "top_p", "top_k", "max_tokens"),
        *("min_tokens", "stop", "n", "random_seed", "metadata", "response_format", "prediction"),
        *("tools", "tool_choice", "parallel_tool_calls", "presence_penalty", "frequency_penalty"),
        *("repetition_penalty", "reasoning_effort", "prompt_mode", "guardrails", "safe_prompt"),
        *("prompt_cache_key", "service_tier", "logprobs", "top_logprobs", "prompt_logprobs"),
        "top_prompt_logprobs",
    )
)
_FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}
_MAY_FOLLOW = {
    "system": ("system", "user", "assistant"),
    "user": ("system", "user", "assistant"),
    "assistant": ("user", "assistant", "tool"),
    "tool": ("assistant", "tool"),
}


def unauthorized(*, has_key: bool) -> Problem:  # noqa: ARG001
    """The answer to no key, or to a wrong one."""
    return Problem(401, "Unauthorized")


def not_json() -> Problem:
    """The answer to a body that is not JSON object."""
    return _unprocessable("json_invalid", ["body", 0], "JSON decode error", None)


def unknown_model(model: str) -> Problem:
    """The answer for an unknown model. Mistral sends status 400."""
    return Problem(400, f"Invalid model: {model}", type="invalid_model", code="1500")


def failed(status: int, message: str) -> Problem:
    """The answer of an injected failure."""
    if status == 429:
        return Problem(429, message or "Rate limit exceeded", type="rate_limited", code="1300")
    kind = "invalid_request_error" if 400 <= status < 500 else "internal_server_error"
    return Problem(status, message or "Service unavailable.", type=kind, code=f"{status // 100}000")


def error_json(problem: Problem) -> Json:
    """A problem in Mistral's format."""
    if problem.status == 401:
        return {"detail": problem.message}
    if problem.detail:
        message: Any = {"detail": list(problem.detail)}
    else:
        message = problem.message
    return {
        "object": "error",
        "message": message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
        "raw_status_code": problem.status,
    }


def problem_in(body: Json, behaviour: Behaviour) -> Problem | None:
    """Find the first problem for which Mistral refuses a chat request; None without one."""
    refused = refused_parameter(body, behaviour)
    unknown = [name for name in body if name not in _PARAMETERS]
    if refused or unknown:
        name = refused[0] if refused else unknown[0]
        text = "Extra inputs are not permitted"
        return _unprocessable("extra_forbidden", ["body", name], text, body[name])
    if not body.get("messages"):
        text = "List should have at least 1 item after validation, not 0"
        return _unprocessable("too_short", ["body", "messages"], text, [])
    temperature = body.get("temperature") or 0
    if not 0 <= temperature <= 1.5:
        text = "Input should be less than or equal to 1.5"
        return _unprocessable("less_than_equal", ["body", "temperature"], text, temperature)
    problem = _problem_in_fields(body["messages"]) or _problem_in_order(body["messages"])
    if problem:
        return problem
    over = tokens_over_window(body, behaviour)
    if over:
        text = (
            f"Prompt contains {over[0]} tokens and 0 draft tokens, too large for model with "
            f"{over[1]} maximum context length"
        )
        return Problem(400, text, type="invalid_request_prompt", code="3051")
    return None


def _problem_in_fields(messages: list[Json]) -> Problem | None:
    for index, message in enumerate(messages):
        role = str(message.get("role"))
        place: list[str | int] = ["body", "messages", index]
        if role not in _FIELDS:
            text = "Input tag does not match any of the expected tags: " + ", ".join(_FIELDS)
            return _unprocessable("union_tag_invalid", place, text, role)
        for name in message:
            if name not in _FIELDS[role]:
                text = "Extra inputs are not permitted"
                return _unprocessable("extra_forbidden", [*place, role, name], text, message[name])
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            text = "Assistant message must have either content or tool_calls, but not none."
            return Problem(400, text, type="invalid_request_assistant_message", code="3240")
        ids = [call.get("id") for call in message.get("tool_calls") or ()]
        for call_id in [*ids, message.get("tool_call_id")] if role == "tool" else ids:
            if not re.fullmatch(r"[a-zA-Z0-9]{9}", str(call_id)):
                text = f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
                return Problem(400, text, type="invalid_function_call", code="3280")
    return None


def _problem_in_order(messages: list[Json]) -> Problem | None:
    text = ""
    calls = results = 0
    for index, message in enumerate(messages):
        role = message["role"]
        before = messages[index - 1]["role"] if index else None
        if (before and role not in _MAY_FOLLOW[before]) or (not before and role == "tool"):
            text = f"Unexpected role '{role}' after role '{before}'"
            break
        calls += len(message.get("tool_calls") or ())
        results += role == "tool"
        if role != "tool" and not message.get("tool_calls") and calls != results:
            text = "Not the same number of function calls and responses"
            break
    last = messages[-1]
    if not text and calls != results:
        text = "Not the same number of function calls and responses"
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        text = (
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
            f"{last['role']}"
        )
    return Problem(400, text, type="invalid_request_message_order", code="3230") if text else None


def _unprocessable(kind: str, place: list[str | int], text: str, value: Any) -> Problem:
    finding: Json = {"type": kind, "loc": place, "msg": text, "input": value}
    return Problem(422, text, detail=(finding,))


def usage_json(tokens: Tokens) -> Json:
    """Token counts in Mistral's format."""
    counts: Json = {
        "prompt_tokens": tokens.input,
        "total_tokens": tokens.input + tokens.output,
        "completion_tokens": tokens.output,
    }
    if tokens.cached:
        counts["prompt_tokens_details"] = {"cached_tokens": tokens.cached}
    return counts


def answer_json(number: int, body: Json, replies: Sequence[Reply], tokens: Tokens) -> Json:
    """A whole answer."""
    choices = [
        {
            "index": index,
            "finish_reason": _reason(reply),
            "message": {
                "role": "assistant",
                "tool_calls": _tool_calls(number, reply) or None,
                "content": _content(reply),
            },
        }
        for index, reply in enumerate(replies)
    ]
    # Mistral's SDK wants a usage; a provider that reports none reports zeros.
    usage = usage_json(tokens if tokens.reported else Tokens(0, 0))
    return {**_frame(number, body, "chat.completion"), "usage": usage, "choices": choices}


def chunks(
    number: int, body: Json, replies: Sequence[Reply], tokens: Tokens, words: int
) -> Iterator[Json]:
    """A streamed answer; the usage is in its last chunk."""
    frame = _frame(number, body, "chat.completion.chunk")
    for index, reply in enumerate(replies):
        for delta in _deltas(reply, words):
            yield {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        delta: Json = {"content": ""}
        if reply.tool_calls:
            delta["tool_calls"] = _tool_calls(number, reply)
        choice: Json = {"index": index, "delta": delta, "finish_reason": _reason(reply)}
        is_last = index == len(replies) - 1 and tokens.reported
        yield {**frame, "choices": [choice], **({"usage": usage_json(tokens)} if is_last else {})}


def tool_call_id(number: int, index: int) -> str:
    """The id of a tool call: nine letters and digits, unique per request."""
    return f"{number:07d}{index:02d}"


def _tool_calls(number: int, reply: Reply) -> list[Json]:
    return [
        {
            "id": tool_call_id(number, index),
            "type": "function",
            "function": {"name": call.name, "arguments": arguments_text(call)},
            "index": index,
        }
        for index, call in enumerate(reply.tool_calls)
    ]


def _content(reply: Reply) -> str | list[Json] | None:
    if not reply.thinking:
        # Together with tool calls Mistral sends an empty string where OpenAI sends null.
        return "" if reply.tool_calls and reply.text is None else reply.text
    return [_thinking(reply.thinking), {"type": "text", "text": reply.text or ""}]


def _thinking(text: str) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _deltas(reply: Reply, words: int) -> Iterator[Json]:
    yield {"role": "assistant", "content": ""}
    for piece in pieces(reply.thinking, words):
        yield {"content": [_thinking(piece)]}
    for piece in pieces(reply.text or "", words):
        yield {"content": piece}


def _reason(reply: Reply) -> str | None:
    return "error" if reply.finish_reason == "content_filter" else reply.finish_reason


def _frame(number: int, body: Json, kind: str) -> Json:
    return {
        "id": f"simulated{number}",
        "object": kind,
        "created": int(time.time()),
        "model": body["model"],
    }
