"""``moa serve --workers``: several processes behind one address."""

import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

import httpx
import psutil
import pytest
from serving import ALICE, FAST, serving, wait_until_closed
from systems import forks
from wire import BODY

pytestmark = [pytest.mark.slow, forks]


def workers_of(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def test_workers_share_conversations_limits_and_metrics(providers, tmp_path):
    file = tmp_path / "moa.toml"
    file.write_text(f"{FAST}{ALICE}9")
    arguments, keyed = ["-c", str(file), "--workers", "2"], {"x-api-key": "one"}
    with serving(providers, *arguments, models=(), ALICE_KEY="one") as (process, _, curl):
        assert len(workers_of(process)) == 2
        address = urljoin(curl[1], "/v1/responses")
        first = httpx.post(
            address, json={"model": "fast", "input": "Why?"}, headers=keyed, timeout=20
        )
        body = {"model": "fast", "input": "And?", "previous_response_id": first.json()["id"]}

        def go_on(_) -> int:
            return httpx.post(address, json=body, headers=keyed, timeout=30).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(go_on, range(8))) == {200}
        assert go_on(None) == 429
        texts = [httpx.get(urljoin(curl[1], "/metrics"), headers=keyed).text for _ in range(4)]
        for text in texts:
            assert 'moa_requests_total{model="fast",status="200"} 9.0' in text
            assert 'moa_key_requests_total{key="alice"} 9.0' in text
            assert 'moa_in_flight{model="fast"} 0.0' in text
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


def test_a_killed_worker_is_replaced_and_a_signal_lets_a_stream_finish(providers):
    providers.configure("gpt-4.1", reply="one two three four five six")
    with serving(providers, "--workers", "2") as (process, _, curl):
        before = {worker.pid for worker in workers_of(process)}
        killed = workers_of(process)[0]
        killed.kill()
        while {worker.pid for worker in workers_of(process)} in (before, before - {killed.pid}):
            pass
        assert "a worker ended (-9) and is replaced" in process.stderr.readline()
        workers = workers_of(process)
        assert len(workers) == 2
        providers.hold("gpt-4.1", after=3)
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(httpx.post, curl[1], json={**BODY, "stream": True}, timeout=30)
            providers.wait_for("gpt-4.1", held=1)
            for one in (process, *workers):  # as a service manager ends a service
                one.send_signal(signal.SIGTERM)
            wait_until_closed(curl)
            providers.release("gpt-4.1")
            assert asked.result().text.endswith("data: [DONE]\n\n")
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
        assert not any(worker.is_running() for worker in workers)


def test_a_second_signal_cancels_the_runs_of_all_workers(providers):
    providers.hold()
    with serving(providers, "--workers", "2") as (process, _, curl), ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.post, curl[1], json=BODY, timeout=30)
        providers.wait_for("gpt-4.1-mini", held=1)
        process.send_signal(signal.SIGINT)
        wait_until_closed(curl)
        process.send_signal(signal.SIGINT)
        assert asked.result().json()["error"]["code"] == "server_ending"
        assert process.wait(timeout=8) == 0
        assert process.stderr.read() == ""


def test_workers_end_when_their_parent_is_killed(providers):
    with serving(providers, "--workers", "2") as (process, _, _curl):
        workers = workers_of(process)
        process.kill()
        _, left = psutil.wait_procs(workers, timeout=20)
        assert left == []
