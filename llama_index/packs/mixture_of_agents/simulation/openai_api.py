"""OpenAI's wire format: refusals, answers and chunks.

Sources: OpenAI's API reference (chat completions, streaming, embeddings) and the error texts
that its users report.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from .answers import Tokens, arguments_text, pieces
from .behaviour import Behaviour, Reply
from .conversation import Json
from .refusals import Problem, refused_parameter, tokens_over_window

NAME = "openai"
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_UNAUTHORIZED = {
    False: "You didn't provide an API key. You need to provide your API key in an Authorization "
    "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    True: "Incorrect API key provided. You can find your API key in your account's settings.",
}


def unauthorized(*, has_key: bool) -> Problem:
    """The answer to no key, or to a wrong one."""
    code = "invalid_api_key" if has_key else None
    return Problem(401, _UNAUTHORIZED[has_key], code=code)


def not_json() -> Problem:
    """The answer to a body that is not JSON object."""
    return Problem(400, "We could not parse the JSON body of your request.")


def unknown_model(model: str) -> Problem:
    """The answer for an unknown model."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return Problem(404, message, code="model_not_found")


def failed(status: int, message: str) -> Problem:
    """The answer of an injected failure."""
    types = {429: ("Rate limit reached", "requests", "rate_limit_exceeded")}
    text, kind, code = types.get(
        status, ("The server had an error processing your request", "server_error", None)
    )
    if 400 <= status < 429:
        kind = "invalid_request_error"
    return Problem(status, message or text, type=kind, code=code)


def error_json(problem: Problem) -> Json:
    """A problem in OpenAI's format."""
    return {
        "error": {
            "message": problem.message,
            "type": problem.type,
            "param": problem.param,
            "code": problem.code,
        }
    }


def problem_in(body: Json, behaviour: Behaviour) -> Problem | None:
    """Find the first problem for which OpenAI refuses a chat or completion request; None without one."""
    refused = refused_parameter(body, behaviour)
    if refused:
        return _unsupported(body, *refused)
    if "prompt" not in body:
        problem = _problem_in_messages(body.get("messages")) or _problem_in_tools(body)
        if problem:
            return problem
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        return Problem(400, message, param="stream_options")
    temperature = body.get("temperature") or 0
    if not 0 <= temperature <= 2:
        message = (
            f"Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got "
            f"{temperature} instead."
        )
        return Problem(400, message, param="temperature", code="decimal_above_max_value")
    over = tokens_over_window(body, behaviour)
    if over:
        message = (
            f"This model's maximum context length is {over[1]} tokens. However, your messages "
            f"resulted in {over[0]} tokens. Please reduce the length of the messages."
        )
        return Problem(400, message, param="messages", code="context_length_exceeded")
    return None


def _unsupported(body: Json, name: str, value_only: bool) -> Problem:
    if value_only:
        message = (
            f"Unsupported value: '{name}' does not support {body[name]} with this model. Only the "
            "default (1) value is supported."
        )
        return Problem(400, message, param=name, code="unsupported_value")
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    if name == "max_tokens":
        message += " Use 'max_completion_tokens' instead."
    return Problem(400, message, param=name, code="unsupported_parameter")


def _problem_in_messages(messages: Any) -> Problem | None:
    if messages is None:
        message = "Missing required parameter: 'messages'."
        return Problem(400, message, param="messages", code="missing_required_parameter")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        return Problem(400, message, param="messages", code="empty_array")
    waiting: dict[str, int] = {}
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in _ROLES:
            supported = ", ".join(f"'{one}'" for one in _ROLES)
            text = f"Invalid value: '{role}'. Supported values are: {supported}."
            return Problem(400, text, param=f"messages[{index}].role", code="invalid_value")
        if role == "tool":
            if waiting.pop(str(message.get("tool_call_id")), None) is None:
                text = (
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'."
                )
                return Problem(400, text, param=f"messages.[{index}].role")
            continue
        if waiting:
            break
        if message.get("content") is None and not (
            role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
        ):
            text = "Invalid value for 'content': expected a string, got null."
            return Problem(400, text, param=f"messages.[{index}].content")
        waiting = {call["id"]: index for call in message.get("tool_calls") or ()}
    if waiting:
        text = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(waiting)
        )
        where = next(iter(waiting.values()))
        return Problem(400, text, param=f"messages.[{where}].role")
    return None


def _problem_in_tools(body: Json) -> Problem | None:
    tools = body.get("tools")
    if tools is not None and not tools:
        message = "Invalid 'tools': empty array. Expected an array with minimum length 1."
        return Problem(400, message, param="tools", code="empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not tools:
            message = (
                f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
            )
            return Problem(400, message, param=name)
    wanted: Json = body.get("response_format") or {}
    if wanted.get("type") == "json_object" and "json" not in str(body.get("messages")).lower():
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'."
        )
        return Problem(400, message, param="messages")
    return None


def usage_json(tokens: Tokens) -> Json:
    """Token counts in OpenAI's format."""
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def answer_json(number: int, body: Json, replies: Sequence[Reply], tokens: Tokens) -> Json:
    """A whole answer, of a chat or of a legacy completion."""
    legacy = "prompt" in body
    choices = [
        {
            "index": index,
            **({"text": reply.text or ""} if legacy else {"message": _message(number, reply)}),
            "logprobs": None,
            "finish_reason": reply.finish_reason,
        }
        for index, reply in enumerate(replies)
    ]
    frame = _frame(number, body, "text_completion" if legacy else "chat.completion")
    return {
        **frame,
        "choices": choices,
        **({"usage": usage_json(tokens)} if tokens.reported else {}),
    }


def chunks(
    number: int, body: Json, replies: Sequence[Reply], tokens: Tokens, words: int
) -> Iterator[Json]:
    """A streamed answer. Its usage comes last, and only if the request wants it."""
    legacy = "prompt" in body
    options: Json = body.get("stream_options") or {}
    wants_usage = bool(options.get("include_usage"))
    frame = _frame(number, body, "text_completion" if legacy else "chat.completion.chunk")
    extra: Json = {"usage": None} if wants_usage else {}
    for index, reply in enumerate(replies):
        parts: Iterator[Json]
        if legacy:
            parts = ({"text": piece} for piece in pieces(reply.text or "", words))
            last: Json = {"text": ""}
        else:
            parts = ({"delta": delta} for delta in _deltas(number, reply, words))
            last = {"delta": {}}
        for part in parts:
            choice = {"index": index, **part, "logprobs": None, "finish_reason": None}
            yield {**frame, "choices": [choice], **extra}
        choice = {"index": index, **last, "logprobs": None, "finish_reason": reply.finish_reason}
        yield {**frame, "choices": [choice], **extra}
    if wants_usage and tokens.reported:
        yield {**frame, "choices": [], "usage": usage_json(tokens)}


def tool_call_id(number: int, index: int) -> str:
    """The id of a tool call; unique per request."""
    return f"call_{number:012d}{index:012d}"


def _message(number: int, reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.thinking:
        message["reasoning_content"] = reply.thinking
    if reply.tool_calls:
        message["tool_calls"] = [
            {
                "id": tool_call_id(number, index),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_text(call)},
            }
            for index, call in enumerate(reply.tool_calls)
        ]
    return message


def _deltas(number: int, reply: Reply, words: int) -> Iterator[Json]:
    first = None if reply.text is None else ""
    yield {"role": "assistant", "content": first, "refusal": None}
    for piece in pieces(reply.thinking, words):
        yield {"reasoning_content": piece}
    for piece in pieces(reply.text or "", words):
        yield {"content": piece}
    for index, call in enumerate(reply.tool_calls):
        head = {
            "index": index,
            "id": tool_call_id(number, index),
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield {"tool_calls": [head]}
        for piece in pieces(arguments_text(call), words):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _frame(number: int, body: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-simulated-{number}",
        "object": kind,
        "created": int(time.time()),
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "simulated",
    }
