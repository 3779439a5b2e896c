"""What a simulated model does: frozen data that goes to the server as JSON."""

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

    kind: "ok"; "status" (an error answer with `status`, `message` and `retry_after`);
        "hang" (never a byte) and "hang_midway" (half the body or half the chunks, then nothing);
        "reset" (the connection is reset before the first byte) and "reset_midway" (after half
        of the body or of the chunks); "close_midway" (the same, with an orderly close);
        "broken_json" (a body cut off, or a chunk that is no JSON); "empty_body" (200, no body);
        "empty_answer" (a whole answer without content); "error_in_stream" (an error event after
        half of the chunks; without streaming the same as status 500).
    retry_after: seconds, sent as the Retry-After header; with `retry_after_as_date` as an
        HTTP date that many seconds ahead, which has whole seconds only.
    body: sent as it is in the place of the provider's own error JSON.
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
    """An error answer with that HTTP status; see `Outcome` for the rest."""
    return Outcome("status", status, message, retry_after, retry_after_as_date, body)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; arguments as an object, or as a string that is sent as it is."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model says.

    text: None is a null content. "<think>...</think>" is sent as part of it.
    thinking: OpenAI's `reasoning_content`, or a thinking block in Mistral's content list.
    finish_reason: what the provider reports; by default what follows from the rest.
    """

    text: str | None = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None


def call_tools(*calls: ToolCall, text: str | None = None) -> Reply:
    """A reply that calls tools, several of them in parallel."""
    return Reply(text=text, tool_calls=calls)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a simulated model behaves. The default answers at once from its knowledge.

    latency: seconds before an answer (its median, if `latency_sigma` makes it log-normal).
    first_token: seconds before the first chunk of a stream; by default the same as `latency`.
    per_token: seconds between two chunks of a stream (its first chunk has no text yet, and the
        second one follows at once).
    chunk_words: words in a chunk of a stream.
    seed: of the random draws (latency, chances) of this model.
    reply: what it says: a text, a `Reply`, or several to be said in turn, the last one again
        and again. None: from its knowledge, or composed from the references in its prompt.
    rules: (regular expression, reply) pairs; the first one found in the last user message
        (upper and lower case alike) wins over `reply`.
    echo: say the last user message again.
    calls_tools: without a reply of its own it calls the first tool that a request offers, until
        it has a result. Otherwise only where `tool_choice` demands it.
    script: outcomes of its first requests, in turn; later ones are drawn from `chances`.
    chances: (outcome, probability) pairs; what is left of 1 is "ok".
    refuses: request parameters answered with 400 "Unsupported parameter".
    only_default: request parameters answered with 400 "Unsupported value" unless they are 1.
    context_window: tokens (here: words) that prompt and `max_tokens` may have together.
    missing: the provider does not know this model. Configured for "*", it knows only the
        models that are configured by name.
    input_tokens, output_tokens: reported as they are; by default words are counted.
    reasoning_tokens: reported as part of the output. cached_tokens: as part of the input.
    reports_usage: whether it reports any usage.
    batch_seconds: how long a batch takes, on the clock that `SimulatedProviders.advance` moves.
    batch_rows: requests that a batch may have; a larger one is refused whole.
    batch_enqueued: requests that all open batches may have together (None: any number).
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
        """`reply` as a list, empty where the model answers for itself."""
        if self.reply is None:
            return []
        if isinstance(self.reply, (str, Reply)):
            return [_reply(self.reply)]
        return [_reply(reply) for reply in self.reply]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Behaviour:
        """The behaviour that `to_json` wrote; unknown fields raise TypeError."""
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
