"""A batch of real LLM classes, over HTTP."""

import asyncio

import pytest

from llama_index.packs.mixture_of_agents.batch import (
    arun_batch,
    run_batch,
)
from llama_index.packs.mixture_of_agents.simulation import failure


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
