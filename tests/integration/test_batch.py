"""A batch of real LLM classes, over HTTP."""

import asyncio
import gc
import threading
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llama_index.packs.mixture_of_agents.batch import (
    arun_batch,
    run_batch,
)
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


@pytest.mark.parametrize("ways", [(run_batch, run_batch), (arun_batch, arun_batch)])
def test_an_llm_can_be_asked_in_one_batch_after_the_other(providers, tmp_path, ways):
    providers.configure("*", reply="fine")
    llm = providers.openai("gpt-4.1", max_retries=0)
    for number, way in enumerate(ways):
        report = way(llm, ["one", "two"], tmp_path / f"{number}.jsonl")
        if way is arun_batch:  # each on an event loop of its own
            report = asyncio.run(report)
        assert (report.answered, report.failed) == (2, 0)


def test_the_sync_way_leaves_an_llm_to_the_event_loops_of_others(providers, tmp_path):
    providers.configure("*", reply="fine")
    llm = providers.openai("gpt-4.1", max_retries=0)
    run_batch(llm, ["one", "two"], tmp_path / "answers.jsonl")
    assert asyncio.run(llm.acomplete("Why?")).text == "fine"


def test_an_llm_that_is_no_mixture_retries_by_itself(providers, tmp_path):
    providers.configure("*", script=[failure(500)], reply="fine")
    llm = providers.openai("gpt-4.1", max_retries=1)
    assert run_batch(llm, ["one"], tmp_path / "answers.jsonl").answered == 1
    assert len(providers.log()) == 2


async def test_memory_does_not_grow_with_the_number_of_questions(tmp_path):
    def reply(_):
        llm._requests.clear()
        return "an answer"

    llm, sizes = ScriptedLLM(reply), {}

    def watch(report):
        if report.answered in (1000, 3000):  # by then SQLite's and Python's own stores are full
            gc.collect()
            sizes[report.answered] = tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        questions = (f"question {number}" for number in range(3000))
        await arun_batch(llm, questions, tmp_path / "answers.jsonl", watch=watch)
    finally:
        tracemalloc.stop()
    assert sizes[3000] - sizes[1000] < 50_000  # 25 bytes a question


def test_questions_are_read_over_http(tmp_path):
    (tmp_path / "questions.jsonl").write_text('{"question": "Why?"}\n{"question": "How?"}\n')
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/questions.jsonl?token=1"
        report = run_batch(ScriptedLLM("fine"), address, tmp_path / "answers.jsonl")
        with pytest.raises(FileNotFoundError, match="there is no such file"):
            run_batch(
                ScriptedLLM("fine"),
                address.replace("questions", "none"),
                tmp_path / "answers.jsonl",
            )
        server.shutdown()
    assert (report.total, report.answered) == (2, 2)
