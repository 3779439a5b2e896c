"""Data sets of Hugging Face's as the questions of a batch (make ray)."""

import json
from importlib import import_module

import pytest

from llama_index.packs.mixture_of_agents.batch import run_batch
from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SHORT = {"role": "system", "content": "Be short."}


def data_set(rows: list[dict], *, streamed: bool = False):
    made = import_module("datasets").Dataset.from_list(rows)
    return made.to_iterable_dataset() if streamed else made


@pytest.mark.parametrize("streamed", [False, True])
def test_a_data_set_of_conversations_is_asked(tmp_path, streamed):
    llm, out = ScriptedLLM("fine"), tmp_path / "answers.jsonl"
    rows = [
        {"id": "a", "messages": [SHORT, {"role": "user", "content": "Why?"}], "level": 1},
        {"id": "b", "messages": [{"role": "user", "content": "How?"}], "level": None},
    ]
    report = run_batch(llm, data_set(rows, streamed=streamed), out)
    assert (report.answered, report.failed) == (2, 0)
    assert report.total == (None if streamed else 2)
    written = {row["id"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert written["a"]["fields"] == {"level": 1}
    assert [request.messages[-1].content for request in llm.requests] == ["Why?", "How?"]


def test_tool_calls_and_the_nulls_of_a_column_are_read(tmp_path):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "So.", "tool_call_id": "1"},
    ]
    report = run_batch(
        ScriptedLLM("fine"), data_set([{"messages": history}]), tmp_path / "answers.jsonl"
    )
    assert (report.answered, report.failed) == (1, 0)


def test_a_mistake_in_a_data_set_is_told_before_anything_is_asked(tmp_path):
    llm = ScriptedLLM("fine")
    with pytest.raises(BatchError, match=r"^question 2: "):
        run_batch(llm, data_set([{"question": "Why?"}, {"question": ""}]), tmp_path / "a.jsonl")
    assert not llm.requests
