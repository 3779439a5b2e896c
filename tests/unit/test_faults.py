"""Foreign errors become kinds, records and texts without secrets."""

import inspect
import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import ModuleType
from typing import Any

import httpx
import mistralai.client.errors
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index.packs.mixture_of_agents._providers.faults import (
    causes,
    diagnose,
)
from llama_index.packs.mixture_of_agents._providers.redaction import redact
from llama_index.packs.mixture_of_agents._providers.retry_after import parse_retry_after
from llama_index.packs.mixture_of_agents.errors import RETRYABLE, Failure, FailureKind

NOT_OF_A_CALL = {"InvalidWebhookSignatureError"}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    names = [name for name in dir(module) if name not in NOT_OF_A_CALL]
    found = [getattr(module, name) for name in names]
    return [one for one in found if inspect.isclass(one) and issubclass(one, Exception)]


FOREIGN = [
    *exceptions_of(openai),
    *exceptions_of(mistralai.client.errors),
    *exceptions_of(httpx),
]


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_clients_has_a_kind(kind: type[Exception]) -> None:
    error = kind.__new__(kind)  # no two take the same arguments; what they are is in their class
    assert diagnose(error).kind != FailureKind.ERROR


CLIENT = openai.OpenAI(api_key="k")


def status_error(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Exception:
    """What the OpenAI SDK raises for a response."""
    response = httpx.Response(status, json=body, headers=headers, request=REQUEST)
    return CLIENT._make_status_error_from_response(response)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.AUTHENTICATION),
        (402, FailureKind.PAYMENT),
        (403, FailureKind.AUTHENTICATION),
        (404, FailureKind.NOT_FOUND),
        (408, FailureKind.CONNECTION),
        (409, FailureKind.SERVER_ERROR),
        (422, FailureKind.BAD_REQUEST),
        (429, FailureKind.RATE_LIMITED),
        (500, FailureKind.SERVER_ERROR),
        (503, FailureKind.SERVER_ERROR),
        (529, FailureKind.SERVER_ERROR),
    ],
)
def test_a_status_says_what_it_was(status: int, kind: FailureKind) -> None:
    fault = diagnose(status_error(status, {"error": {"message": "no"}}))
    assert (fault.kind, fault.status) == (kind, status)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum context length is 8192 tokens", FailureKind.CONTEXT_WINDOW),
        (400, "the request exceeds the available context size", FailureKind.CONTEXT_WINDOW),
        (
            400,
            "The input token count exceeds the maximum number of tokens allowed",
            FailureKind.CONTEXT_WINDOW,
        ),
        (
            400,
            "input length and `max_tokens` exceed context limit: 190000 + 20000",
            FailureKind.CONTEXT_WINDOW,
        ),
        (400, "The response was filtered: content_filter", FailureKind.CONTENT_FILTER),
        (429, "You exceeded your current quota: insufficient_quota", FailureKind.PAYMENT),
        (429, "You exceeded your current quota, check your plan and billing", FailureKind.PAYMENT),
        (429, "You have no credits remaining: credit_balance_exhausted", FailureKind.PAYMENT),
        (429, "insufficient_quota. Please try again in 20s.", FailureKind.PAYMENT),
    ],
)
def test_some_statuses_need_a_second_look(status: int, message: str, kind: FailureKind) -> None:
    fault = diagnose(status_error(status, {"error": {"message": message}}))
    assert fault.kind == kind
    assert kind not in RETRYABLE


def test_an_unpaid_bill_is_not_tried_again_while_too_many_requests_are() -> None:
    assert FailureKind.RATE_LIMITED in RETRYABLE
    assert FailureKind.PAYMENT not in RETRYABLE


FREE_TIER = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"message": f"{FREE_TIER}\nPlease retry in 29.5s.", "status": "RESOURCE_EXHAUSTED"}, 29.5),
        ({"message": FREE_TIER, "details": [{"retryDelay": "26s"}]}, 26),
        ({"message": "Rate limit reached. Please try again in 1.2s."}, 1.2),
        ({"message": "Rate limit reached. Please try again in 20ms."}, 0.02),
        ({"message": "Rate limit reached. Please try again in 1m6.5s."}, 66.5),
        ({"message": "Too many requests, retry after 7 seconds"}, 7),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_limit_that_says_in_words_when_it_ends_is_waited_for(
    error: dict[str, Any], seconds: float, listed: bool
) -> None:
    body: Any = [{"error": error}] if listed else {"error": error}  # Google's is in a list
    fault = diagnose(status_error(429, body))
    assert (fault.kind, fault.retry_after) == (FailureKind.RATE_LIMITED, pytest.approx(seconds))


def test_a_header_that_says_when_a_limit_ends_goes_before_the_words() -> None:
    body = {"error": {"message": f"{FREE_TIER} Please retry in 29s."}}
    assert diagnose(status_error(429, body, {"Retry-After": "3"})).retry_after == 3


def raised_from(error: Exception, cause: Exception, *, hidden: bool = False) -> Exception:
    """The error as it arrives where it was raised while the cause was handled, from it or from None."""
    error.__context__, error.__cause__ = cause, None if hidden else cause
    error.__suppress_context__ = True
    return error


def test_what_an_integration_wrapped_is_still_seen() -> None:
    slow = httpx.ReadTimeout("too slow", request=REQUEST)
    fault = diagnose(raised_from(ValueError("the model did not answer"), slow))
    assert fault.kind == FailureKind.CONNECTION
    assert fault.message == "ValueError: the model did not answer"


def test_a_wrapped_status_and_its_retry_after_are_still_seen() -> None:
    limited = status_error(429, {}, {"retry-after": "7"})
    fault = diagnose(raised_from(RuntimeError("failed"), limited))
    assert (fault.kind, fault.status, fault.retry_after) == (FailureKind.RATE_LIMITED, 429, 7)


def test_a_chain_of_causes_that_runs_in_a_circle_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert len(list(causes(first))) == 8


def test_what_was_suppressed_is_no_cause() -> None:
    own = raised_from(ValueError("something of its own"), ConnectionError(), hidden=True)
    assert diagnose(own).kind == FailureKind.ERROR


def test_an_exception_that_cannot_say_what_it_is_is_diagnosed_all_the_same() -> None:
    class Mute(ConnectionError):
        def __str__(self) -> str:
            raise AttributeError("message")

    fault = diagnose(Mute())
    assert (fault.kind, fault.message) == (FailureKind.CONNECTION, "Mute")


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "Unrecognized request argument supplied: max_tokens",
    ],
)
def test_a_refused_parameter_is_named_only_if_it_was_sent(message: str) -> None:
    error = status_error(400, {"error": {"message": message}})
    assert diagnose(error, ["max_tokens", "temperature"]).refused == ("max_tokens",)
    assert diagnose(error, ["temperature"]).refused == ()


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("invalid temperature: only 1 is allowed for this model", ("temperature",)),
        ("`temperature` and `top_p` cannot both be specified for this model", ("top_p",)),
        ("`temperature` may only be set to 1 when thinking is enabled", ("temperature",)),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', ("seed",)),
        ('Unknown name "maxOutputTokens": Cannot find field.', ("max_tokens",)),
        ("Unsupported parameter: topP", ("top_p",)),
        # of other providers
        ("Argument not supported on this model: temperature", ("temperature",)),
        ("property 'seed' is unsupported", ("seed",)),
        ("Additional properties are not allowed ('seed' was unexpected)", ("seed",)),
        ("thinking mode only supports temperature=1", ("temperature",)),
        ("top_p and temperature are mutually exclusive", ("temperature",)),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_parameter_is_refused_in_many_words(
    status: int, message: str, refused: tuple[str, ...]
) -> None:
    error = status_error(status, {"error": {"message": message}})
    sent = ["temperature", "top_p", "seed", "max_tokens"]
    assert diagnose(error, sent).refused == refused


@pytest.mark.parametrize(
    "message",
    [
        "temperature must be at most 2",
        "max_tokens is too large: 99999. This model supports at most 16384 completion tokens",
        "messages: text content blocks must be non-empty",
    ],
)
def test_a_value_out_of_bounds_is_no_refused_parameter(message: str) -> None:
    error = status_error(400, {"error": {"message": message}})
    assert diagnose(error, ["temperature", "max_tokens", "seed"]).refused == ()


def test_a_server_error_that_names_a_parameter_refuses_nothing() -> None:
    error = status_error(500, {"error": {"message": "temperature is not supported"}})
    assert diagnose(error, ["temperature"]).refused == ()


def test_a_method_that_does_not_take_a_parameter_refuses_it() -> None:
    error = TypeError("chat() got an unexpected keyword argument 'n'")
    assert diagnose(error, ["n"]).refused == ("n",)
    assert diagnose(TypeError("'NoneType' object is not iterable"), ["n"]).refused == ()


@given(st.floats(min_value=0, max_value=1e6))
def test_a_retry_after_in_seconds_is_read(seconds: float) -> None:
    assert parse_retry_after(str(seconds), NOW) == seconds


@given(st.integers(min_value=-10_000, max_value=10_000_000))
def test_a_retry_after_as_a_date_is_read_and_never_negative(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(date, NOW) == max(0, seconds)


@given(st.one_of(st.text(), st.none(), st.integers(), st.just("nan"), st.just("inf")))
def test_any_other_retry_after_is_as_if_there_were_none(value: object) -> None:
    parsed = parse_retry_after(value, NOW)
    assert parsed is None or parsed >= 0
    assert parse_retry_after("nan", NOW) is parse_retry_after("soon", NOW) is None


@pytest.mark.parametrize(
    "value",
    [
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -9999",
        "Fri, 01 Jan 0001 00:00:00 +2359",
        "Mon, 00 Jan 2026 00:00:00 GMT",
        "1e999",
        "9" * 5_000,
        "Fri, 31 Dec 2026 23:59:59 +999999999999999999",
    ],
)
def test_a_retry_after_that_makes_no_sense_is_as_if_there_were_none(value: str) -> None:
    fault = diagnose(status_error(429, {}, {"Retry-After": value}))
    assert fault.kind == FailureKind.RATE_LIMITED
    assert fault.retry_after is None or fault.retry_after >= 0


NUMBERS = st.integers(-(10**7), 10**7).map(str)
DATES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(
    lambda part: f"Fri, {part[0]} Jan {part[1]} {part[2]}:00:00 {part[3]}"
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126))
BODIES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code", "param"]), inner),
    max_leaves=10,
)  # fmt: skip


@given(st.integers(300, 599), st.one_of(TEXTS, NUMBERS, DATES), BODIES)
def test_no_header_and_no_body_makes_a_diagnosis_raise(
    status: int, retry_after: str, body: Any
) -> None:
    fault = diagnose(status_error(status, body, {"Retry-After": retry_after}), ["temperature", "n"])
    assert fault.status == status
    assert fault.retry_after is None or fault.retry_after >= 0


def test_an_exception_whose_attributes_raise_is_diagnosed_all_the_same() -> None:
    class Hollow(ConnectionError):
        @property
        def response(self) -> Any:
            raise RuntimeError("it was closed")

        headers = status_code = code = body = param = response

    assert diagnose(Hollow("gone"), ["n"]).kind == FailureKind.CONNECTION


def test_a_secret_that_the_bound_of_an_error_text_cuts_is_not_shown() -> None:
    secret = "k3y-of-forty-characters-and-not-one-less"
    for shift in range(len(secret)):
        error = status_error(400, {"error": {"message": "-" * shift + secret * 1_000}})
        assert "k3y" not in diagnose(error, secrets=[secret]).message


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: {secret}. You can find it at",
        "headers: {{'Authorization': 'Bearer {secret}'}}",
        "Authorization: Bearer {secret}",
        'x-api-key: "{secret}"',
        "api_key={secret}&model=x",
        "GET https://x.example/v1/models?key={secret} failed",
        "cannot connect to http://me:{secret}@127.0.0.1:8080/v1",
        '{{"password": "{secret}"}}',
        "the key sk-{secret} is not valid",
    ],
)
def test_secrets_are_taken_out_of_texts(text: str) -> None:
    shown = redact(text.format(secret="Zx81abcdef77"))
    assert "Zx81abcdef77" not in shown
    assert "***" in shown


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_secret_is_taken_out_wherever_it_stands(secret: str, one: str, two: str) -> None:
    shown = redact(f"{one}{secret}{two}", [secret])
    assert secret not in shown.replace("***", "")


@pytest.mark.parametrize("text", ["a key-value store", "a task-oriented one", "http://a:80/b@c"])
def test_other_texts_keep_their_words(text: str) -> None:
    assert redact(text) == text


def test_the_keys_of_an_llm_never_reach_its_faults() -> None:
    error = status_error(401, {"error": {"message": "bad key 8f1e2d3c"}})
    assert "8f1e2d3c" not in diagnose(error, secrets=["8f1e2d3c"]).message


def test_a_failure_reads_as_one_line_and_is_plain_data() -> None:
    failure = Failure("critic", "gpt-4o", 1, FailureKind.RATE_LIMITED, "slow down", 429, 3, 2.34)
    assert str(failure) == "critic (gpt-4o): rate_limited 429 after 3 attempts, 2.3 s: slow down"
    assert json.dumps(failure.kind) == '"rate_limited"'


@pytest.mark.parametrize(
    ("words", "window"),
    [
        ("This model's maximum context length is 512 tokens, however you requested 2000 tokens (1500 in your prompt; 500 for the completion)", 512),
        ("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", 8192),
        ("the request exceeds the available context size (4096 tokens), try increasing it", 4096),
        ("Requested tokens (560) exceed context window of 512", 512),
        ("prompt is too long: 210000 tokens > 200000 maximum", 200_000),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576),
        ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 32_768),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease one of them", 200_000),
        ("the prompt (5001 tokens) is longer than the model's context size (4096)", 4096),
        ("This model's maximum prompt length is 131072 but the request contains 150000 tokens.", 131_072),
        ("the conversation exceeds the context window", None),
        ("your 9000 tokens exceed the context limit", None),
    ],
)  # fmt: skip
def test_the_context_window_is_read_in_the_words_of_an_error(words: str, window: int | None):
    fault = diagnose(status_error(400, {"message": words}))
    assert (fault.kind, fault.window) == (FailureKind.CONTEXT_WINDOW, window)


def test_only_a_refused_conversation_names_a_window():
    assert diagnose(status_error(500, {"message": "a context length of 512 tokens"})).window is None
