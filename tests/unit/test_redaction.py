"""No secret stands in a text, in whichever form it comes back, and no text takes long to search."""

import base64
import json
import pickle
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI, OpenAIResponses

from llama_index.packs.mixture_of_agents import config, moa
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


PIECES = [
    "://",
    "a:",
    "@",
    "sk-",
    "*",
    "bearer ",
    "api_key",
    "=",
    " ",
    "?key=",
    "basic ",
    "AIza",
    "'",
    "hf_",
    "-",
]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join),
    st.sampled_from(["", "://"]),
)
def test_the_time_to_search_a_text_grows_with_its_length_alone(piece: str, start: str) -> None:
    def seconds(length: int) -> float:
        text, began = start + piece * (length // len(piece)), time.perf_counter()
        redact(text, [CANARY])
        return time.perf_counter() - began

    short = max(min(seconds(10_000) for _ in range(3)), 1e-4)
    assert (
        seconds(200_000) < 20 * short * 8
    )  # eight times the ratio of the lengths; quadratic would be twenty times
