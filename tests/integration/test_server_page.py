"""The page's files over HTTP. What a browser makes of them is tested in tests/project/test_web_page.py."""

import re

import httpx
import pytest
from served import served

import llama_index.packs.mixture_of_agents.server.web_page as module
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

FILES = sorted(module._FOLDER.iterdir())
LONGEST = 400


@pytest.fixture(scope="module")
def at():
    with served({"one": ScriptedLLM("ok")}, keys=["a-key"]) as address:
        yield address


def test_the_page_and_its_files_need_no_key_and_everything_else_does(at):
    assert httpx.get(f"{at}/").headers["content-type"] == "text/html; charset=utf-8"
    for file in FILES:
        answer = httpx.get(f"{at}/page/{file.name}")
        assert answer.status_code == 200
        assert answer.content == file.read_bytes()
    for path in ("/page/main.py", "/page/..%2fapp.py", "/page", "/v1/models"):
        assert httpx.get(f"{at}{path}").status_code == 401


def test_an_unknown_file_of_the_page_is_404():
    with served({"one": ScriptedLLM("ok")}) as at:
        for path in ("/page/app.py", "/page/..%2fapp.py"):
            assert httpx.get(f"{at}{path}").status_code == 404


def test_the_policy_lets_the_browser_run_and_load_what_this_server_serves_and_nothing_else(at):
    for path in ("/", "/page/main.js", "/page/icon.svg"):
        headers = httpx.get(f"{at}{path}").headers
        policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
        assert policy.pop("default-src") == "'none'"
        assert policy.pop("require-trusted-types-for") == "'script'"
        assert set(policy.values()) == {"'self'", "'none'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_openapi_description_has_the_page_and_the_runs(at):
    paths = httpx.get(f"{at}/openapi.json", headers={"x-api-key": "a-key"}, timeout=30).json()[
        "paths"
    ]
    assert "text/html" in paths["/"]["get"]["responses"]["200"]["content"]
    described = paths["/v1/runs"]["post"]["responses"]["200"]["content"]
    assert set(described) == {"application/json", "text/event-stream"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_of_the_page_is_short_and_asks_nobody_else(file):
    text = file.read_text("ascii")
    assert text.count("\n") <= LONGEST
    names = re.sub(r'xmlns="[^"]*"', "", text)
    assert re.findall(r"https?://[a-z]", names) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
