"""``moa serve`` as people run it: a process of its own, told to end by signals."""

import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from programs import run_python
from serving import ALICE, DEEP, FAST, MODELS, MODULE, serving, wait_until_closed
from systems import sends_signals
from wire import BODY

from llama_index.packs.mixture_of_agents import MixtureResult

pytestmark = pytest.mark.slow

# A browser that shows nothing and says which address it was given.
BROWSER = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as told:
    told.sendall(sys.argv[2].encode())
"""


def recipe_at(address: str, model: str, headers: Any = None) -> Any:
    """The recipe that a run's first event brings."""
    body = {**BODY, "model": model}
    run = httpx.post(
        address.replace("/chat/completions", "/runs"), json=body, headers=headers, timeout=20
    )
    return run.json()["events"][0]["recipe"]


@sends_signals
def test_moa_serve_says_how_to_ask_and_ends_in_good_order(providers, tmp_path):
    trace = tmp_path / "runs.jsonl"
    providers.configure("gpt-4.1", reply="42")
    arguments = ["--name", "house", "--grace", "0", "--trace", str(trace)]
    with serving(providers, *arguments, MOA_SERVER_KEYS="one, two") as (process, said, curl):
        address, keyed = curl[1], {"Authorization": "Bearer two"}
        assert f"Listening at {address.removesuffix('/chat/completions')}, model house" in said
        assert "Authorization: Bearer KEY" in curl
        assert "one" not in said.replace("none", "")
        assert httpx.post(address, json=BODY).status_code == 401
        answer = httpx.post(address, json={**BODY, "model": "house"}, headers=keyed)
        assert answer.json()["choices"][0]["message"]["content"] == "42"
        assert recipe_at(address, "house", keyed) is None
        providers.reset()
        providers.hold()
        with ThreadPoolExecutor() as pool:
            body = {**BODY, "model": "house", "stream": True}
            asked = pool.submit(httpx.post, address, json=body, headers=keyed, timeout=20)
            providers.wait_for("gpt-4.1-mini", held=1)
            providers.wait_for("mistral-small-latest", held=1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
            assert asked.result().json()["error"]["code"] == "server_ending"
        assert providers.wait_for("*", hung_up=2, open=0).arrived == 2
        assert process.stderr.read() == ""
    run = MixtureResult.load(trace, 0)
    assert run.run_id == answer.json()["mixture"]["run_id"]


def test_an_idle_connection_stays_open_longer_than_clients_keep_theirs(providers):
    with serving(providers) as (_, _, curl):
        at = urlsplit(curl[1])
        with closing(HTTPConnection(at.hostname, at.port)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().read()
            connection.sock.settimeout(16)  # aiohttp keeps a connection for 15 s, httpx for 5
            with pytest.raises(TimeoutError):
                connection.sock.recv(1)


def test_open_shows_the_page_in_the_users_browser(providers, tmp_path):
    browser = tmp_path / "browser.py"
    browser.write_text(BROWSER)
    with socket.create_server(("127.0.0.1", 0)) as told:
        command = (
            f"{Path(sys.executable).as_posix()} {browser.as_posix()} {told.getsockname()[1]} %s"
        )
        with serving(providers, "--open", BROWSER=command) as (_, said, curl):
            connected, _ = told.accept()
            with connected, connected.makefile() as line:
                opened = line.readline()
            assert opened == curl[1].removesuffix("v1/chat/completions")
            assert f"Ask it at {opened} or with:" in said
            assert "<title>Mixture of Agents</title>" in httpx.get(opened).text


def test_all_mixtures_of_a_file_are_served_by_their_names(providers, tmp_path):
    file, trace = tmp_path / "moa.toml", tmp_path / "runs.jsonl"
    file.write_text(FAST + DEEP)
    providers.configure("gpt-4.1", reply="42")
    providers.configure("gpt-4.1-mini", reply="41")
    arguments = ["-c", str(file), "--members", "--trace", str(trace)]
    with serving(providers, *arguments, models=()) as (_, said, curl):
        address = curl[1].removesuffix("/chat/completions")
        listed = [one["id"] for one in httpx.get(f"{address}/models").json()["data"]]
        assert listed == ["fast", "deep", "small", "openai:gpt-4.1", "mistral:mistral-small-latest"]
        assert f"models {', '.join(listed)}" in said
        answers = [httpx.post(curl[1], json={**BODY, "model": name}) for name in listed[:3]]
        assert recipe_at(curl[1], "fast")["aggregator"] == "openai:gpt-4.1"
    told = [one.json()["choices"][0]["message"]["content"] for one in answers]
    assert told == ["42", "42", "41"]
    assert [len(MixtureResult.load(trace, place).calls) for place in (0, 1)] == [2, 5]


def test_a_key_that_the_file_names_has_its_limit(providers, tmp_path):
    file = tmp_path / "moa.toml"
    file.write_text(f"{FAST}{ALICE}1")
    arguments = ["-c", str(file)]
    with serving(providers, *arguments, models=(), ALICE_KEY="one") as (_, said, curl):
        assert "one" not in said.replace("none", "")
        body, keyed = {**BODY, "model": "fast"}, {"Authorization": "Bearer one"}
        assert httpx.post(curl[1], json=body).status_code == 401
        asked = [httpx.post(curl[1], json=body, headers=keyed, timeout=20) for _ in range(2)]
        assert [answer.status_code for answer in asked] == [200, 429]


@sends_signals
def test_ctrl_c_lets_a_run_in_flight_finish(providers):
    providers.configure("gpt-4.1", reply="42")
    providers.hold("gpt-4.1")
    with serving(providers) as (process, _, curl), ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.post, curl[1], json=BODY, timeout=20)
        providers.wait_for("gpt-4.1", held=1)
        process.send_signal(signal.SIGINT)
        wait_until_closed(curl)
        providers.release("gpt-4.1")
        assert asked.result().json()["choices"][0]["message"]["content"] == "42"
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


@sends_signals
@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,) * 2, (signal.SIGTERM, signal.SIGINT)], ids=str
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_second_signal_ends_what_is_under_way_at_once_and_in_good_order(
    providers, stream, signals
):
    first, second = signals
    providers.configure("gpt-4.1", reply="one two three four five six")
    providers.hold("gpt-4.1", after=3 if stream else 0)
    with serving(providers) as (process, _, curl), ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.post, curl[1], json={**BODY, "stream": stream}, timeout=20)
        providers.wait_for("gpt-4.1", held=1)
        process.send_signal(first)
        wait_until_closed(curl)
        process.send_signal(second)
        told = asked.result().text.strip().split("data: ")[-1]
        assert json.loads(told)["error"]["code"] == "server_ending"
        assert process.wait(timeout=8) == 0  # without a second signal it waits for ten seconds
        assert process.stderr.read() == ""
    assert providers.wait_for("*", open=0).hung_up == 1


@sends_signals
def test_a_second_signal_ends_requests_that_are_not_sent_to_their_end(providers):
    with serving(providers) as (process, _, curl):
        address = urlsplit(curl[1])
        with socket.create_connection((address.hostname, address.port), timeout=20) as unfinished:
            head = f"POST {address.path} HTTP/1.1\r\nHost: here\r\nContent-Length: 99\r\n"
            unfinished.sendall(f"{head}Expect: 100-continue\r\n\r\n{{".encode())
            assert unfinished.recv(100).startswith(b"HTTP/1.1 100")  # it reads the body
            process.send_signal(signal.SIGINT)
            wait_until_closed(curl)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=8) == 0
            assert b"server_ending" in unfinished.recv(10_000)
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "keys", "code", "said"),
    [
        (["--host", "0.0.0.0"], None, 2, "export MOA_SERVER_KEYS=KEY,ANOTHER"),
        ([], " , ", 2, "MOA_SERVER_KEYS is set and holds no key"),
        (["--no-keys"], "", 2, "MOA_SERVER_KEYS is set and holds no key"),
        ([], "one,schl\xfcssel", 2, "MOA_SERVER_KEYS: keys are of printable ASCII"),
        ([], "one\ttwo", 2, "MOA_SERVER_KEYS: keys are of printable ASCII"),
        (["--host", "192.0.2.1"], "a-key", 1, "cannot listen at 192.0.2.1, port"),
        (["--in-flight", "0"], None, 2, "--in-flight"),
        (["--store", os.devnull], None, 2, f"--store {os.devnull}: "),
        (
            ["--store", "/no/such/folder/file"],
            None,
            2,
            "--store /no/such/folder/file: unable to open",
        ),
        (["--max-cost", "-1"], None, 2, "--max-cost -1: say a positive number"),
        ([], None, 1, "in use"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_told_in_a_line(providers, arguments, keys, code, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = ["--port", str(taken.getsockname()[1])]
        env = {**os.environ, **providers.environment}
        env |= {} if keys is None else {"MOA_SERVER_KEYS": keys}
        done = run_python("-m", MODULE, "serve", *MODELS, *port, *arguments, env=env)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "a-key" not in done.stderr


@sends_signals
def test_a_conversation_is_continued_after_a_restart(providers, tmp_path):
    providers.configure("gpt-4.1", reply=["Paris.", "Two million."])
    store = ["--store", str(tmp_path / "kept.sqlite3")]
    asked, first = {"model": "moa", "input": "What is the capital of France?"}, ""
    for question in (asked, {"model": "moa", "input": "How many live there?"}):
        with serving(providers, *store) as (process, _, curl):
            address = curl[1].replace("chat/completions", "responses")
            more = {"previous_response_id": first} if first else {}
            answer = httpx.post(address, json={**question, **more}, timeout=20).json()
            first = answer["id"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
            assert process.stderr.read() == ""
    *_, last = providers.log("gpt-4.1")
    told = [message["content"] for message in last.body["messages"]]
    assert "What is the capital of France?" in str(told)
    assert "Paris." in str(told)


def test_without_its_extra_moa_serve_says_in_one_line_what_to_install():
    look = f"import sys; sys.modules['uvicorn'] = None; from {MODULE} import main; main()"
    done = run_python("-c", f"import sys; sys.argv = ['moa', 'serve']; {look}")
    assert done.returncode != 0
    assert 'pip install "llama-index-packs-mixture-of-agents[server]"' in done.stderr
