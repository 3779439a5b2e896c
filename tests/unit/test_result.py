"""A result: what it says of a run, and that it says the same after a round trip through JSON."""

import json
from pathlib import Path

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llama_index.packs.mixture_of_agents import MixtureResult
from llama_index.packs.mixture_of_agents.errors import Failure, FailureKind
from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    Degraded,
    LayerFinished,
    NoteTaken,
    Proposal,
    RunFinished,
    RunStarted,
    Usage,
)


def call(number: int, layer: int, started: float, ended: float, **more) -> CallFinished:
    role = more.pop("role", "proposer")
    agent = more.pop("agent", f"agent{number}")
    return CallFinished(number, layer, agent, role, agent, "openai", started, ended, **more)


def straggler(number: int) -> Failure:
    return Failure(f"agent{number}", "m", 1, FailureKind.STRAGGLER, "late", None, 1, 1.0)


ANSWER = ChatMessage(
    role="assistant",
    blocks=[
        ThinkingBlock(content="hm"),
        TextBlock(text='forty\u2028two \x85 "quoted"\n'),
        ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1, "b": [2.5, None]}),
        ImageBlock(image=b"aGVsbG8=", image_mimetype="image/png"),
    ],
)
EVENTFUL = MixtureResult(
    (
        RunStarted("r1", 1_750_000_000.5, "What?", (("agent1", "agent2"),), "boss", {"agent1": (1.0, 2.0)}, "c"),
        call(1, 1, 0.0, 1.0, proposals=(Proposal("agent1", "agent1", "a", "thought", "stop"),),
             usage=Usage(1_000_000, 500_000, 7, 8, 2, True, 9), attempts=2),
        call(2, 1, 0.0, 2.0, failure=straggler(2)),
        NoteTaken(1, "ranking", {"order": [1, 2], "why": {"a": None}}, 2.0),
        LayerFinished(1, (Proposal("agent1", "agent1", "a"),), "quorum", 2.0),
        Degraded("layer 1 has 1 of 2 proposals", 2.0),
        call(3, 2, 2.0, 3.0, role="aggregator", agent="boss", first_token=2.5, cached=True),
        RunFinished(3.0, ANSWER, "boss"),
    )
)  # fmt: skip


def test_json_loses_nothing():
    again = MixtureResult.from_json(EVENTFUL.to_json())
    assert again == EVENTFUL
    assert again.message == ANSWER
    assert again.to_json() == EVENTFUL.to_json()
    assert MixtureResult.from_json(EVENTFUL.to_json(indent=2)) == EVENTFUL


def test_json_tells_a_reader_without_this_library_what_matters():
    known = json.loads(EVENTFUL.to_json())
    assert known["answer"] == 'forty\u2028two \x85 "quoted"\n'
    assert known["answered_by"] == "boss"
    assert known["degraded"] == ["layer 1 has 1 of 2 proposals"]
    assert known["usage"]["input_tokens"] == 1_000_000
    assert known["cost"] == {"usd": "2.0", "unpriced": []}


@pytest.mark.parametrize(
    "text", ["[]", '{"events": []}', '{"format": "mixture-of-agents/9"}', "nonsense"]
)
def test_what_is_no_result_is_refused(text: str):
    with pytest.raises(ValueError, match="this is not a saved result"):
        MixtureResult.from_json(text)


def test_a_damaged_result_is_refused():
    with pytest.raises(ValueError, match="run_started"):
        MixtureResult.from_json(
            '{"format": "mixture-of-agents/1", "events": [{"kind": "nothing"}]}'
        )


def test_a_file_of_several_runs_gives_each_by_its_place_or_its_name(tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    other = MixtureResult((RunStarted("r2", 0.0, "And?", (), ""), RunFinished(1.0, error="no")))
    file.write_text(f"{EVENTFUL.to_json()}\n\n{other.to_json()}\n", "utf-8")
    assert MixtureResult.load(file) == other
    assert MixtureResult.load(file, 0) == EVENTFUL
    assert MixtureResult.load(str(file), "r1") == EVENTFUL
    for missing in (2, "r3"):
        with pytest.raises(ValueError, match="holds 2 runs, but no run"):
            MixtureResult.load(file, missing)


def test_a_file_of_one_indented_result_is_read_too(tmp_path: Path):
    file = tmp_path / "run.json"
    file.write_text(EVENTFUL.to_json(indent=2), "utf-8")
    assert MixtureResult.load(file) == EVENTFUL


def test_a_broken_line_is_named(tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    file.write_text(f"{EVENTFUL.to_json()}\n{EVENTFUL.to_json()[:99]}", "utf-8")
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 2: "):
        MixtureResult.load(file)


def test_print_is_the_answer_and_repr_is_short():
    assert str(EVENTFUL) == EVENTFUL.answer
    assert len(repr(EVENTFUL)) < 300
    assert "degraded=" in repr(EVENTFUL)


def test_the_critical_path_is_the_call_that_held_each_layer_up():
    assert [c.call for c in EVENTFUL.critical_path] == [1, 3]
    at_once = MixtureResult(
        (call(1, 1, 0.0, 1.0), call(2, 1, 0.0, 1.001, failure=straggler(2)), call(3, 1, 0.0, 0.4))
    )
    assert [c.call for c in at_once.critical_path] == [1], "the straggler did not hold it up"


def test_what_ended_before_its_end_is_a_result_all_the_same():
    for length in range(len(EVENTFUL.events)):
        part = MixtureResult.fold(EVENTFUL.events[:length])
        assert part.error == "unfinished"
        assert MixtureResult.from_json(part.to_json()) == part
        assert part.summary()
