"""No secret stands in a text, in whichever form it comes back, and no text takes long to search."""

import base64
import json
import pickle
import re
import time
from collections import deque
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI, OpenAIResponses
from openai import AzureOpenAI
from openai import OpenAI as OpenAIClient

from llama_index.packs.mixture_of_agents import config, moa
from llama_index.packs.mixture_of_agents._providers import (
    characters,
    environment,
    facts,
    faults,
    models,
    redaction,
    thinking,
)
from llama_index.packs.mixture_of_agents._providers.facts import secrets
from llama_index.packs.mixture_of_agents._providers.redaction import redact, without_secrets

CANARY = "c4nary/key+with=signs"


@pytest.mark.parametrize(
    "shown",
    [
        CANARY,
        quote(CANARY, safe=""),
        quote(CANARY, safe="").lower(),
        base64.b64encode(CANARY.encode()).decode(),
        base64.b64encode(f"user:{CANARY}".encode()).decode(),
        base64.urlsafe_b64encode(f"me:{CANARY}:".encode()).decode(),
        json.dumps({"sent": CANARY}),
    ],
)
def test_a_known_secret_is_found_in_every_form(shown: str) -> None:
    said = redact(f"you sent {shown}, which is wrong", [CANARY])
    assert "***" in said
    assert "c4nary" not in said
    decodable = [word for word in said.replace(",", " ").split() if len(word) > 12]
    assert not any("c4nary" in str(base64.b64decode(word + "==", b"-_")) for word in decodable)


@pytest.mark.parametrize(
    "secret", ['with"quotes"inside', "with\\backslash", "line\nend\r", "schl\u00fcssel"]
)
def test_a_secret_is_found_as_json_and_as_python_write_it(secret: str) -> None:
    for written in (json.dumps(secret), repr(secret)):
        assert redact(written, [secret]) in ('"***"', "'***'")


def openai(**settings: Any) -> OpenAI:
    return OpenAI(api_key="an-ordinary-key", **settings)


@pytest.mark.parametrize(
    "llm",
    [
        OpenAI(api_key=CANARY),
        OpenAIResponses(api_key=CANARY),
        MistralAI(api_key=CANARY),
        openai(default_headers={"X-Portkey-Api-Key": CANARY}),
        openai(default_headers={"Authorization": f"Bearer {CANARY}"}),
        openai(default_headers={"Authorization": f"Basic {base64.b64encode(f'me:{CANARY}'.encode()).decode()}"}),
        openai(api_base=f"http://me:{quote(CANARY, safe='')}@127.0.0.1/v1"),
        openai(api_base=f"http://127.0.0.1/v1?subscription-key={quote(CANARY, safe='')}"),
    ],
)  # fmt: skip
def test_the_secrets_of_an_llm_are_known_wherever_its_class_keeps_them(llm: OpenAI) -> None:
    assert CANARY in secrets(llm)
    assert "c4nary" not in redact(f"no such key: {CANARY}", secrets(llm))


def test_what_stands_for_a_key_where_none_is_needed_is_no_secret() -> None:
    assert secrets(OpenAI(api_key="none", default_headers={"Accept": "application/json"})) == ()


def test_a_url_keeps_all_but_its_secrets() -> None:
    url = "https://me:pass@host:8080/v1?key=abc&version=2"
    assert without_secrets(url) == "https://host:8080/v1?version=2"
    for plain in ("https://host:8080/v1?version=2", "no url: me@host", "http://[broken"):
        assert without_secrets(plain) == plain


def test_neither_a_recipe_file_nor_a_pickle_holds_a_secret_of_an_address() -> None:
    llm = openai(
        api_base=f"http://me:{quote(CANARY, safe='')}@127.0.0.1:1/v1?key={quote(CANARY, safe='')}"
    )
    recipe = moa([llm], llm, layers=1)
    for written in (config.dumps(recipe), repr(recipe), repr(pickle.dumps(recipe))):
        assert "c4nary" not in written
    assert 'api_base = "http://127.0.0.1:1/v1"' in config.dumps(recipe)


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_secret_in_base64_is_found_wherever_it_begins(before: bytes, after: bytes) -> None:
    # The characters that the secret alone decides: one stands for six bits.
    first, last = -(-8 * len(before) // 6), 8 * (len(before) + len(CANARY)) // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + CANARY.encode() + after).decode()
        shown = redact(f"sent {encoded}.", [CANARY])
        assert shown == f"sent {encoded[:first]}***{encoded[last:]}."


def azure(**settings: Any) -> OpenAIResponses:
    client = AzureOpenAI(
        azure_endpoint="https://127.0.0.1", api_version="2024-10-21",
        **{"api_key": "an-ordinary-key", **settings},
    )  # fmt: skip
    return OpenAIResponses(api_key="k", openai_client=client)


@pytest.mark.parametrize(
    "llm",
    [
        azure(api_key=CANARY),
        azure(api_key=None, azure_ad_token=CANARY),
        azure(default_query={"code": CANARY}),
        azure(default_headers={"Ocp-Apim-Subscription-Key": CANARY}),
        OpenAIResponses(
            api_key="k", openai_client=OpenAIClient(api_key="k", default_query={"sig": CANARY})
        ),
    ],
    ids=["key", "token", "query", "header", "query of OpenAI's client"],
)
def test_the_secrets_of_a_client_that_the_user_made_are_known(llm: OpenAIResponses) -> None:
    assert CANARY in secrets(llm)


def test_a_long_text_is_cut_before_it_is_searched() -> None:
    shown = redact("a" * 30_000 + CANARY, [CANARY])
    assert len(shown) == 18_000
    for shift in range(len(CANARY)):  # a secret that the bound cuts in two
        assert "c4nary" not in redact("-" * shift + CANARY * 2_000, [CANARY])


def test_redacting_megabytes_takes_no_longer_than_a_text_of_the_bound() -> None:
    began = time.perf_counter()
    redact("://" + "a:" * 5_000_000)
    assert time.perf_counter() - began < 0.5


PIECES = [
    "://", "a:", "@", "sk-", "*", "bearer ", "api_key", "=", " ", "?key=", "basic ", "AIza", "'",
    "hf_", "-", "<think>", "</think>", "```", "\n", " \n", "system role", "not ", "unsupported ",
    "must be ", "cannot ", "roles ", "\\ud8", "only ", "unknown ", "a",
]  # fmt: skip


def patterns() -> dict[str, re.Pattern[str]]:
    """Every pattern of the modules that read what comes from outside."""
    found: dict[str, re.Pattern[str]] = {}
    for module in (redaction, faults, thinking, characters, facts, environment, models):
        for name, value in vars(module).items():
            several = value if isinstance(value, dict) else {name: value}
            found |= {
                f"{module.__name__.rpartition('.')[2]}.{name}.{key}": one
                for key, one in several.items()
                if isinstance(one, re.Pattern)
            }
    return found


@pytest.mark.slow
@pytest.mark.parametrize("pattern", patterns().values(), ids=patterns())
@settings(max_examples=5, deadline=None)
@given(piece=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join))
@example(piece="a:")
@example(piece="<think>")
def test_the_time_to_search_a_text_grows_with_its_length_alone(
    pattern: re.Pattern[str], piece: str
) -> None:
    def seconds(length: int) -> float:
        text, began = "://" + piece * (length // len(piece)), time.thread_time()
        deque(pattern.finditer(text), maxlen=0)
        return time.thread_time() - began

    short = max(min(seconds(10_000) for _ in range(3)), 1e-4)
    # The lengths are 1 to 10 to 100; a quadratic search would take 1 to 100 to 10,000.
    assert seconds(100_000) < 50 * short
    assert seconds(1_000_000) < 1000 * short
