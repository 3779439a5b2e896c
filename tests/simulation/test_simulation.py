"""The simulated providers as a server: its process, log, gates and failures."""

import asyncio
import io
import json
import math
import signal
import statistics
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import openai
import psutil
import pytest
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI
from mistralai.client.errors import SDKError
from systems import sends_signals
from wire import CHAT, request_body

from llama_index.packs.mixture_of_agents import simulation
from llama_index.packs.mixture_of_agents.simulation import (
    BROKEN_JSON,
    CLOSE_MIDWAY,
    EMPTY_ANSWER,
    EMPTY_BODY,
    HANG,
    HANG_MIDWAY,
    OK,
    RESET,
    RESET_MIDWAY,
    Behaviour,
    Reply,
    SimulatedProviders,
    ToolCall,
    call_tools,
    failure,
)
from llama_index.packs.mixture_of_agents.simulation.answers import Model

BEARER = {"Authorization": "Bearer simulated-key"}


def test_answers_from_a_fixed_reply_with_usage_counted_in_words(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="one two three")
    answer = sdk.chat.completions.create(**request_body("four words of question"))
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 3)
    (record,) = providers.log()
    assert (record.input_tokens, record.output_tokens, record.status) == (4, 3, 200)
    assert record.body == request_body("four words of question")
    assert "authorization" in record.headers
    assert "simulated-key" not in repr(record)


def test_llama_index_classes_get_the_same_text_whole_and_streamed(
    providers: SimulatedProviders,
) -> None:
    providers.configure("*", reply="It is  forty-two.\n\nReally.")
    for llm in (providers.openai(), providers.mistral()):
        assert llm.complete("?").text == "It is  forty-two.\n\nReally."
        streamed = "".join(part.delta or "" for part in llm.stream_complete("?"))
        assert streamed == "It is  forty-two.\n\nReally."
    assert [(r.provider, r.stream) for r in providers.log()] == [
        ("openai", False),
        ("openai", True),
        ("mistral", False),
        ("mistral", True),
    ]


def test_says_several_replies_in_turn_and_then_the_last_one_again(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply=["first", "second"])
    said = [
        sdk.chat.completions.create(**request_body()).choices[0].message.content for _ in range(3)
    ]
    assert said == ["first", "second", "second"]


def test_a_rule_that_fits_the_question_wins_over_the_reply(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="no idea", rules=[("capital of (france|gaul)", "Paris")])
    assert sdk.chat.completions.create(**request_body("Capital of France?")).choices[
        0
    ].message.content == ("Paris")
    assert (
        sdk.chat.completions.create(**request_body("And Peru?")).choices[0].message.content
        == "no idea"
    )


def test_echo_says_the_last_user_message_again(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", echo=True)
    assert (
        sdk.chat.completions.create(**request_body("say me")).choices[0].message.content == "say me"
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503])
def test_a_scripted_status_reaches_both_clients(
    providers: SimulatedProviders, sdk: openai.OpenAI, status: int
) -> None:
    providers.configure("*", script=[failure(status, "told so")])
    with pytest.raises(openai.APIStatusError, match="told so") as of_openai:
        sdk.chat.completions.create(**request_body())
    assert of_openai.value.status_code == status
    with pytest.raises(SDKError, match="told so") as of_mistral:
        providers.mistral().complete("?")
    assert of_mistral.value.status_code == status
    assert [(r.status, r.outcome) for r in providers.log()] == [(status, "status")] * 2


async def test_retry_after_comes_in_seconds_or_as_a_date(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure(
        "m",
        script=[
            failure(429, retry_after=1.5),
            failure(429, retry_after=60, retry_after_as_date=True),
        ],
    )
    async with http.post(CHAT, json=request_body()) as response:
        assert response.headers["Retry-After"] == "1.5"
    async with http.post(CHAT, json=request_body()) as response:
        when = parsedate_to_datetime(response.headers["Retry-After"]).timestamp()
        assert 50 < when - time.time() <= 60


async def test_an_error_can_have_any_body(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", script=[failure(502, body="<html>Bad gateway</html>")])
    async with http.post(CHAT, json=request_body()) as response:
        assert (response.status, await response.text()) == (502, "<html>Bad gateway</html>")


async def test_a_reset_before_the_body_is_a_connection_reset(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", script=[RESET, OK])
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await http.post(CHAT, json=request_body())
    async with http.post(CHAT, json=request_body()) as response:
        assert response.status == 200
    first, second = providers.log()
    assert (first.outcome, first.first_byte, first.hung_up) == ("reset", None, False)
    assert second.outcome == "ok"


@pytest.mark.parametrize("outcome", [RESET_MIDWAY, CLOSE_MIDWAY])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_broken_off_midway_is_seen_as_such(
    providers: SimulatedProviders, http: aiohttp.ClientSession, outcome: Any, stream: bool
) -> None:
    providers.configure("m", reply="a b c d e f g h", script=[outcome])
    async with http.post(CHAT, json=request_body(stream=stream)) as response:
        assert response.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
            await response.read()
    (record,) = providers.log()
    assert record.first_byte is not None
    assert not record.hung_up
    assert record.chunks == (5 if stream else 0)


async def test_broken_json_is_a_whole_answer_that_does_not_parse(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", script=[BROKEN_JSON])
    async with http.post(CHAT, json=request_body()) as response:
        assert response.status == 200
        with pytest.raises(ValueError, match="char"):
            await response.json()


async def test_an_empty_body_and_an_empty_answer_differ(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", script=[EMPTY_BODY, EMPTY_ANSWER])
    async with http.post(CHAT, json=request_body()) as response:
        assert (response.status, await response.read()) == (200, b"")
    async with http.post(CHAT, json=request_body()) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize("outcome", [HANG, HANG_MIDWAY])
async def test_a_hanging_request_ends_when_the_caller_hangs_up(
    providers: SimulatedProviders, http: aiohttp.ClientSession, outcome: Any
) -> None:
    providers.configure("m", script=[outcome])

    async def read() -> None:
        async with http.post(CHAT, json=request_body()) as response:
            await response.read()

    call = asyncio.create_task(read())
    await providers.await_for("m", open=1, **({"started": 1} if outcome == HANG_MIDWAY else {}))
    call.cancel()
    cancelled = time.monotonic()
    await providers.await_for("m", hung_up=1, open=0)
    (record,) = providers.log()
    assert record.hung_up
    assert record.ended is not None
    assert record.ended - cancelled < 1


async def test_hanging_up_in_the_middle_of_a_stream_is_seen(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", reply="a b c d e")
    providers.hold("m", after=3)
    async with http.post(CHAT, json=request_body(stream=True)) as response:
        line = await response.content.readline()
        assert line.startswith(b"data: ")
        await providers.await_for("m", held=1)
        response.close()
    counts = await providers.await_for("m", hung_up=1)
    assert (counts.open, counts.held) == (0, 0)
    assert providers.log()[0].chunks == 3


async def test_a_gate_holds_requests_and_lets_the_oldest_go_first(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", echo=True)
    providers.hold("m")

    async def say(text: str) -> str:
        async with http.post(CHAT, json=request_body(text)) as response:
            return (await response.json())["choices"][0]["message"]["content"]

    first = asyncio.create_task(say("first"))
    await providers.await_for("m", held=1)
    second = asyncio.create_task(say("second"))
    await providers.await_for("m", held=2)
    assert providers.release("m", 1) == 1
    assert await first == "first"
    assert not second.done()
    assert providers.release("m") == 1
    assert await second == "second"
    assert await say("third") == "third"
    assert providers.high_water("m") == 2
    assert [r.in_flight for r in providers.log()] == [1, 2, 1]


async def test_a_gate_can_let_some_requests_pass_first(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.hold("m", skip=1)
    async with http.post(CHAT, json=request_body()) as response:
        assert response.status == 200
    held = asyncio.create_task(http.post(CHAT, json=request_body()))
    await providers.await_for("m", held=1)
    providers.release()
    (await held).close()


def test_waiting_in_vain_raises_with_the_counters(providers: SimulatedProviders) -> None:
    with pytest.raises(TimeoutError, match=r"m: \{'arrived': 1\} not reached"):
        providers.wait_for("m", arrived=1, timeout=0.01)
    with pytest.raises(TypeError, match="no such counters: arived"):
        providers.wait_for("m", arived=1)


async def test_a_reset_drops_open_requests_and_forgets_them(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", script=[HANG])
    call = asyncio.create_task(http.post(CHAT, json=request_body()))
    await providers.await_for("m", open=1)
    providers.reset()
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await call
    assert providers.log() == []
    assert providers.counts().open == 0


async def test_high_water_marks_are_kept_for_each_model_and_for_all(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.hold()
    calls = [
        asyncio.create_task(http.post(CHAT, json=request_body(model=m))) for m in ("a", "a", "b")
    ]
    await providers.await_for(held=3)
    providers.release()
    for call in calls:
        (await call).close()
    assert (providers.high_water(), providers.high_water("a"), providers.high_water("b")) == (
        3,
        2,
        1,
    )


def test_the_process_ends_with_its_parent_even_if_that_is_killed() -> None:
    script = (
        f"from {simulation.__name__} import SimulatedProviders\n"
        "print(SimulatedProviders().start().pid, flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        server.wait(timeout=5)


def test_the_process_is_gone_when_the_providers_are_closed() -> None:
    with SimulatedProviders() as sim:
        pid = sim.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


def test_the_server_does_not_import_llama_index_core() -> None:
    look = f"import sys, {simulation.__name__}.__main__; print('llama_index.core' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_latency_is_drawn_from_a_seeded_log_normal_distribution() -> None:
    def draws(seed: int) -> list[float]:
        model = Model("m", Behaviour(latency=0.2, latency_sigma=1.0, seed=seed))
        return [model.latency(streaming=False) for _ in range(2000)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert 0.18 < statistics.median(draws(1)) < 0.22
    assert 0.9 < statistics.stdev(math.log(seconds) for seconds in draws(1)) < 1.1


def test_chances_give_each_outcome_its_share_and_the_same_ones_again() -> None:
    chances = ((failure(500), 0.1), (HANG, 0.03))

    def draws(**more: Any) -> list[str]:
        model = Model("m", Behaviour(chances=chances, seed=4, **more))
        return [model.next_outcome().kind for _ in range(5000)]

    kinds = draws()
    assert kinds == draws(latency=1, latency_sigma=1)
    assert 400 < kinds.count("status") < 600
    assert 100 < kinds.count("hang") < 200
    assert draws(script=[RESET])[:1] == ["reset"]


TWO_CALLS = call_tools(
    ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})
)


def test_a_behaviour_survives_the_way_through_json() -> None:
    behaviour = Behaviour(
        latency=0.5,
        reply=("one", Reply("two", thinking="hm"), TWO_CALLS),
        rules=(("x", "y"), ("z", TWO_CALLS)),
        script=(OK, failure(503, retry_after=2)),
        chances=((RESET, 0.5),),
        refuses=("temperature",),
    )
    back = Behaviour.from_json(json.loads(json.dumps(behaviour.to_json())))
    assert back.replies() == behaviour.replies()
    assert (back.script, back.chances) == (behaviour.script, behaviour.chances)
    assert Behaviour.from_json(back.to_json()) == back


def test_nonsense_in_a_behaviour_is_refused_at_once(providers: SimulatedProviders) -> None:
    with pytest.raises(ValueError, match="chunk_words must be at least 1"):
        Behaviour(chunk_words=0)
    with pytest.raises(ValueError, match=r"at most 1 together, not 1\.5"):
        Behaviour(chances=((OK, 0.75), (HANG, 0.75)))
    with pytest.raises(TypeError, match="not both"):
        providers.configure("m", Behaviour(), latency=1)


async def test_the_control_interface_tells_what_it_does_not_understand(
    http: aiohttp.ClientSession,
) -> None:
    async with http.post("/_control/configure", json={"model": "m", "behaviour": {"x": 1}}) as bad:
        assert bad.status == 400
        assert "unexpected keyword argument 'x'" in (await bad.json())["error"]
    async with http.post("/_control/dance", json={}) as bad:
        assert bad.status == 404
    async with http.get("/nowhere") as bad:
        assert bad.status == 404


def test_embeddings_are_the_same_each_time_and_near_for_texts_alike(sdk: openai.OpenAI) -> None:
    texts = ["the red house", "the red houses", "quantum field theory"]
    a, b, c = (one.embedding for one in sdk.embeddings.create(model="e", input=texts).data)
    again = sdk.embeddings.create(model="e", input=texts[0], encoding_format="float").data[0]
    assert again.embedding == pytest.approx(a)

    def near(x: list[float], y: list[float]) -> float:
        return sum(i * j for i, j in zip(x, y, strict=True))

    assert near(a, a) == pytest.approx(1)
    assert near(a, b) > near(a, c)
    assert len(sdk.embeddings.create(model="e", input="x", dimensions=8).data[0].embedding) == 8


def test_legacy_completions_work_whole_and_streamed(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="one two")
    assert sdk.completions.create(model="m", prompt="?").choices[0].text == "one two"
    parts = sdk.completions.create(model="m", prompt="?", stream=True)
    assert "".join(part.choices[0].text for part in parts) == "one two"


async def test_a_prompt_of_many_megabytes_is_taken(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", reply="ok")
    prompt = io.BytesIO(json.dumps(request_body("word " * 1_000_000)).encode())
    async with http.post(CHAT, data=prompt) as response:
        assert response.status == 200
    assert providers.log()[0].input_tokens == 1_000_000


async def test_bodies_or_all_records_can_be_left_out_of_the_log() -> None:
    for keep, expected in (("keep_bodies", 1), ("keep_records", 0)):
        with SimulatedProviders(**{keep: False}) as sim:
            async with (
                aiohttp.ClientSession(sim.base, headers=BEARER) as session,
                session.post(CHAT, json=request_body()) as response,
            ):
                assert response.status == 200
            records = sim.log()
            assert len(records) == expected
            assert all((record.body, record.headers) == ({}, ()) for record in records)
            assert sim.counts().closed == 1


@pytest.mark.skipif(sys.platform != "linux", reason="pinning to a CPU is a Linux call")
def test_the_process_can_be_pinned_to_a_cpu() -> None:
    with SimulatedProviders(cpu=0) as sim:
        assert psutil.Process(sim.pid).cpu_affinity() == [0]


def test_a_server_that_is_not_started_says_so() -> None:
    sim = SimulatedProviders()
    assert repr(sim) == "<SimulatedProviders not started>"
    for use in (sim.log, lambda: sim.pid):
        with pytest.raises(RuntimeError, match="not started"):
            use()
    sim.close()


def test_a_server_that_cannot_start_says_so() -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        SimulatedProviders(cpu=100_000).start()


def test_the_environment_points_the_llama_index_classes_to_the_server(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in providers.environment.items():
        monkeypatch.setenv(name, value)
    providers.configure("*", reply="here")
    assert OpenAI(model="gpt-4.1").complete("?").text == "here"
    assert MistralAI(model="mistral-small-latest").complete("?").text == "here"


@sends_signals
def test_the_module_runs_as_a_command_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", simulation.__name__]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["port"] > 0
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 0
