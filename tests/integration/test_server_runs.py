"""``POST /v1/runs``: the events of a run, while they happen or all together."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from members import of_both_providers, of_paris
from served import metrics_with, served
from wire import BODY

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult
from llama_index.packs.mixture_of_agents.replay import replay
from llama_index.packs.mixture_of_agents.server.run_events import SavedRun
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

RUNS = "/v1/runs"
STREAM: dict[str, Any] = {**BODY, "stream": True}
KEY = "a-key-of-this-server"


def mixture(*replies: Any, **settings: Any) -> MixtureOfAgents:
    prices = {"p1": (1.0, 2.0), "writer": (10.0, 20.0)}
    return of_paris(*replies, prices=prices, **settings)


def post(at, body: Any, **more: Any) -> httpx.Response:
    return httpx.post(at + RUNS, json=body, timeout=30, **more)


def events(lines) -> Any:
    """The events of a stream, one after the other."""
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def kinds(received) -> list[str]:
    return [event["kind"] for event in received]


def test_a_run_is_streamed_event_by_event_in_the_order_in_which_it_happens():
    with served({"moa": mixture()}) as at:
        answer = post(at, STREAM)
    assert answer.headers["content-type"].startswith("text/event-stream")
    received = list(events(answer.text.splitlines()))
    first = [one for one in received if one["kind"].startswith("call_") and one["layer"] == 1]
    assert sorted(kinds(first)) == [*["call_finished"] * 2, *["call_started"] * 2]
    assert kinds(one for one in received if one not in first) == [
        "run_started", "layer_started", "layer_finished", "call_started",
        *["answer_delta"] * 3, "call_finished", "run_finished",
    ]  # fmt: skip
    assert (
        "".join(one["text"] for one in received if one["kind"] == "answer_delta") == "It is Paris."
    )
    finished = [one for one in received if one["kind"] == "call_finished"]
    assert [one["proposals"][0]["text"] for one in finished] == [
        "Paris", "Paris, France", "It is Paris.",
    ]  # fmt: skip
    assert [one["cost_usd"] for one in finished] == [2e-05, None, 0.0002]


def test_the_events_are_a_trace_file_that_can_be_replayed(tmp_path):
    llm = mixture()
    with served({"moa": llm}, recipes=True) as at:
        received = list(events(post(at, STREAM).text.splitlines()))
        whole = post(at, BODY)
    kept = [event for event in received if event["kind"] != "answer_delta"]
    file = tmp_path / "runs.jsonl"
    file.write_text(json.dumps({"format": "mixture-of-agents/1", "events": kept}) + "\n")
    streamed, asked = MixtureResult.load(file), MixtureResult.from_json(whole.text)
    assert SavedRun.model_validate_json(whole.text).answered_by == "writer"
    for run in (streamed, asked):
        assert run.answer == "It is Paris."
        assert [one.text for one in run.proposals] == ["Paris", "Paris, France"]
        assert run.run.recipe is not None
        assert run.run.recipe["aggregator"]["model"] == "writer"
    assert replay(llm, file).complete("What is the capital of France?").text == "It is Paris."


@pytest.mark.parametrize("stream", [False, True])
def test_recipes_are_sent_only_by_a_server_that_was_told_to(stream):
    llm = mixture(prompt="A secret prompt. {references}")
    with served({"moa": llm}) as at:
        answer = post(at, {**BODY, "stream": stream})
    assert answer.status_code == 200
    assert '"recipe": null' in answer.text
    assert "secret" not in answer.text


def test_a_proposal_arrives_while_another_proposer_still_works(providers):
    providers.configure("mistral-small-latest", reply="Early.")
    providers.hold("gpt-4.1-mini")
    with (
        served({"moa": of_both_providers(providers)}) as at,
        httpx.stream("POST", at + RUNS, json=STREAM, timeout=30) as answer,
    ):
        received = events(answer.iter_lines())
        early = next(one for one in received if one["kind"] == "call_finished")
        assert early["proposals"][0]["text"] == "Early."
        providers.wait_for("gpt-4.1-mini", held=1)
        providers.release()
        assert kinds(received)[-1] == "run_finished"


def test_a_client_that_leaves_ends_every_request_of_its_run(providers):
    providers.hold("*")
    with served({"moa": of_both_providers(providers)}) as at:
        with httpx.stream("POST", at + RUNS, json=STREAM, timeout=30) as answer:
            received = events(answer.iter_lines())
            assert next(received)["kind"] == "run_started"
            providers.wait_for("gpt-4.1-mini", held=1)
            providers.wait_for("mistral-small-latest", held=1)
        providers.wait_for("*", hung_up=2, open=0)
        idle = 'moa_in_flight{model="moa"} 0.0'
        assert idle in metrics_with(at, idle)


def test_a_failed_call_says_why_and_a_failed_run_ends_its_stream_with_the_error(providers):
    providers.configure("*", chances=[(failure(401, "Wrong key sk-0123456789abcdef."), 1.0)])
    with served({"moa": of_both_providers(providers)}) as at:
        answer = post(at, STREAM)
        whole = post(at, BODY)
    *_, finished, last = events(answer.text.splitlines())
    failed = [one for one in events(answer.text.splitlines()) if one.get("failure")]
    assert [one["failure"]["kind"] for one in failed] == ["authentication"] * 2
    assert all("Wrong key" in one["failure"]["message"] for one in failed)
    assert finished["kind"] == "run_finished"
    assert finished["error"]
    assert (last["kind"], last["error"]["code"]) == ("error", "upstream_error")
    assert whole.status_code == 502
    assert "sk-0123456789" not in answer.text + whole.text


def test_it_needs_a_key_and_room_as_every_other_path_does(providers):
    providers.hold("*")
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        served({"moa": of_both_providers(providers)}, keys=[KEY], in_flight=1) as at,
        ThreadPoolExecutor() as pool,
    ):
        assert post(at, STREAM).status_code == 401
        first = pool.submit(post, at, STREAM, headers=headers)
        providers.wait_for("gpt-4.1-mini", held=1)
        assert post(at, STREAM, headers=headers).status_code == 429
        providers.release()
        assert first.result().status_code == 200


def test_a_single_model_has_no_run_and_is_refused():
    with served({"moa": ScriptedLLM("ok")}) as at:
        answer = post(at, STREAM)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["message"]) == ("model", "model: the model moa is not a mixture")


def test_a_request_may_choose_as_in_a_chat_completion():
    with served({"moa": mixture()}) as at:
        body = {**BODY, "mixture": {"fan_out": False}, "temperature": 0.5, "stream": False}
        run = MixtureResult.from_json(post(at, body).text)
    assert [call.role for call in run.calls] == ["aggregator"]


def test_half_a_character_that_a_model_wrote_ends_neither_form_of_the_answer():
    half = "half \ud83d"
    with served({"moa": mixture(half, proposers=(half,))}) as at:
        streamed = post(at, STREAM)
        whole = post(at, BODY)
    assert kinds(events(streamed.text.splitlines()))[-1] == "run_finished"
    assert whole.status_code == 200
    assert MixtureResult.from_json(whole.content).answer == "half \ufffd"
