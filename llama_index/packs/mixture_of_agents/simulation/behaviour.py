"""The behaviour of a simulated model: frozen data, which is sent to the server as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

OutcomeKind = Literal[
    "ok",
    "status",
    "hang",
    "hang_midway",
    "reset",
    "reset_midway",
    "close_midway",
    "broken_json",
    "empty_body",
    "empty_answer",
    "error_in_stream",
]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ends.

    Attributes:
        kind: "ok"; "status" (an error answer with `status`, `message` and `retry_after`);
            "hang" (never a byte) and "hang_midway" (half the body or half the chunks, then nothing);
            "reset" (the connection is reset before the first byte) and "reset_midway" (after half
            of the body or of the chunks); "close_midway" (the same, with an orderly close);
            "broken_json" (a body cut off, or a chunk that is not JSON); "empty_body" (200, no body);
            "empty_answer" (a whole answer without content); "error_in_stream" (an error event after
            half of the chunks; without streaming the same as status 500).
        status: the HTTP status of the kind "status".
        message: the error's message; "" for the provider's usual one.
        retry_after: seconds, sent as the Retry-After header.
        retry_after_as_date: whether that header holds an HTTP date, in whole seconds.
        body: a text to send instead of the provider's own error JSON.
    """

    kind: OutcomeKind = "ok"
    status: int = 500
    message: str = ""
    retry_after: float | None = None
    retry_after_as_date: bool = False
    body: str | None = None


OK = Outcome()
HANG = Outcome("hang")
HANG_MIDWAY = Outcome("hang_midway")
RESET = Outcome("reset")
RESET_MIDWAY = Outcome("reset_midway")
CLOSE_MIDWAY = Outcome("close_midway")
BROKEN_JSON = Outcome("broken_json")
EMPTY_BODY = Outcome("empty_body")
EMPTY_ANSWER = Outcome("empty_answer")
ERROR_IN_STREAM = Outcome("error_in_stream")


def failure(
    status: int,
    message: str = "",
    *,
    retry_after: float | None = None,
    retry_after_as_date: bool = False,
    body: str | None = None,
) -> Outcome:
    """Return an error answer with this HTTP status.

    Args:
        status: the HTTP status.
        message: the error's text.
        retry_after: seconds for the header Retry-After; None for no header.
        retry_after_as_date: whether the header holds a date instead of seconds.
        body: the whole body instead of one in the provider's format.
    """
    return Outcome("status", status, message, retry_after, retry_after_as_date, body)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool.

    Attributes:
        name: the tool's name.
        arguments: an object, or a string that is sent unchanged.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a simulated model.

    Attributes:
        text: the content; None sends null. "<think>...</think>" is sent as a part of it.
        thinking: OpenAI's `reasoning_content`, or a thinking block in Mistral's content list.
        tool_calls: the tools that it calls.
        finish_reason: the reported finish reason; by default it follows from the rest.
    """

    text: str | None = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None


def call_tools(*calls: ToolCall, text: str | None = None) -> Reply:
    """Return a reply that calls one tool, or several in parallel.

    Args:
        calls: the calls.
        text: the text beside them.
    """
    return Reply(text=text, tool_calls=calls)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a simulated model behaves. By default it answers at once from its own knowledge.

    Attributes:
        latency: seconds before an answer. With `latency_sigma` they are the median of a log-normal distribution.
        latency_sigma: the spread of the latency; 0 makes it constant.
        first_token: seconds before the first chunk of a stream; None for `latency`.
        per_token: seconds between two chunks of a stream. The first chunk has no text, and the second follows at once.
        chunk_words: the number of words in a chunk of a stream.
        seed: the seed of this model's random draws (latency and chances).
        reply: a text or a `Reply`; or several for successive requests, of which the last one repeats. None: the model
            answers from its knowledge, or composes an answer from the references in its prompt.
        rules: (regular expression, reply) pairs. The first match in the last user message, in any case, decides and
            takes precedence over `reply`.
        echo: repeat the last user message.
        calls_tools: call the first tool that a request offers, unless there is a `reply`, or a tool's result already.
            Otherwise the model calls a tool only if `tool_choice` requires it.
        script: outcomes of its first requests, in turn. Later ones are drawn from `chances`.
        chances: (outcome, probability) pairs. The remaining probability is "ok".
        refuses: request parameters that get 400 "Unsupported parameter".
        only_default: request parameters that get 400 "Unsupported value" unless they are 1.
        context_window: the tokens (here: words) for the prompt and `max_tokens` together; None for no limit.
        missing: the provider does not know this model. For the model "*": it knows only models configured by name.
        input_tokens, output_tokens: numbers to report; by default words are counted.
        reasoning_tokens: reported as a part of the output.
        cached_tokens: reported as a part of the input.
        reports_usage: whether it reports any usage.
        batch_seconds: the duration of a batch, on the clock that `SimulatedProviders.advance` moves.
        batch_rows: the largest number of requests in a batch. A larger batch is refused as a whole.
        batch_enqueued: the largest number of requests in all open batches together; None for any number.
    """

    latency: float = 0.0
    latency_sigma: float = 0.0
    first_token: float | None = None
    per_token: float = 0.0
    chunk_words: int = 1
    seed: int = 0
    reply: str | Reply | Sequence[str | Reply] | None = None
    rules: Sequence[tuple[str, str | Reply]] = ()
    echo: bool = False
    calls_tools: bool = False
    script: Sequence[Outcome] = ()
    chances: Sequence[tuple[Outcome, float]] = ()
    refuses: Sequence[str] = ()
    only_default: Sequence[str] = ()
    context_window: int | None = None
    missing: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    reports_usage: bool = True
    batch_seconds: float = 0.0
    batch_rows: int = 50_000
    batch_enqueued: int | None = None

    def __post_init__(self) -> None:
        if self.chunk_words < 1:
            raise ValueError(f"chunk_words must be at least 1, not {self.chunk_words}")
        total = sum(chance for _, chance in self.chances)
        if total > 1 or any(chance < 0 for _, chance in self.chances):
            raise ValueError(f"chances must be at least 0 and at most 1 together, not {total:g}")

    def replies(self) -> list[Reply]:
        """Return `reply` as a list; empty if the model answers from its own knowledge."""
        if self.reply is None:
            return []
        if isinstance(self.reply, (str, Reply)):
            return [_reply(self.reply)]
        return [_reply(reply) for reply in self.reply]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Behaviour:
        """Return the behaviour of data from `to_json`. Unknown fields raise TypeError.

        Args:
            data: the data.
        """
        fields = dict(data)
        reply = fields.get("reply")
        if isinstance(reply, (list, tuple)):
            several = cast("Sequence[str | Mapping[str, Any]]", reply)
            fields["reply"] = tuple(_reply(one) for one in several)
        elif reply is not None:
            fields["reply"] = _reply(reply)
        fields["rules"] = tuple(
            (pattern, _reply(reply)) for pattern, reply in fields.get("rules", ())
        )
        fields["script"] = tuple(Outcome(**outcome) for outcome in fields.get("script", ()))
        fields["chances"] = tuple(
            (Outcome(**outcome), chance) for outcome, chance in fields.get("chances", ())
        )
        return cls(**fields)


def _reply(value: str | Reply | Mapping[str, Any]) -> Reply:
    if isinstance(value, Reply):
        return value
    if isinstance(value, str):
        return Reply(value)
    calls = tuple(ToolCall(**call) for call in value.get("tool_calls", ()))
    values: dict[str, Any] = {**value, "tool_calls": calls}
    return Reply(**values)
