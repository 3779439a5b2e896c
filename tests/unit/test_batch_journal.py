"""What was handed to a batch API, on disk."""

from contextlib import closing
from typing import Any

import pytest

from llama_index.packs.mixture_of_agents.batch.journal import Journal
from llama_index.packs.mixture_of_agents.errors import BatchError

ONE, TWO = b"digest of one", b"digest of two"


def begun(path) -> None:
    """A process that began a batch of two, wrote down another that it did not begin, and was killed."""
    with closing(Journal(path)) as journal:
        journal.intend("mark", "there", [("a", ONE), ("b", TWO)])
        journal.begun("mark", "batch-1")
        journal.intend("other", "there", [("c", ONE)])


def test_the_next_process_finds_open_batches_and_those_that_were_perhaps_begun(tmp_path):
    begun(tmp_path / "journal.db")
    with closing(Journal(tmp_path / "journal.db")) as journal:
        first, second = sorted(journal.open("there"), key=lambda noted: noted.mark)
        assert (first.mark, first.id, sorted(first.requests)) == (
            "mark",
            "batch-1",
            [("a", ONE), ("b", TWO)],
        )
        assert (second.mark, second.id) == ("other", None)
        assert journal.open("elsewhere") == []


def test_an_answer_that_was_kept_is_given_once_for_each_time_that_it_was_paid_for(tmp_path):
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        journal.intend("mark", "there", [("a", ONE), ("b", ONE), ("c", TWO)])
        journal.keep("mark", [("a", b"first"), ("b", b"second")])
        assert journal.take("there", ONE) is None  # this process has handed it out already
    with closing(Journal(path)) as journal:
        assert journal.open("there") == []
        assert journal.take("elsewhere", ONE) is None
        assert {journal.take("there", ONE), journal.take("there", ONE)} == {b"first", b"second"}
        assert journal.take("there", ONE) is None
        assert journal.take("there", TWO) is None


def test_the_seed_is_the_same_for_all_processes_of_a_run(tmp_path):
    path = tmp_path / "journal.db"
    seeds = []
    for _ in range(2):
        with closing(Journal(path)) as journal:
            seeds.append(journal.seed)
    assert seeds[0] == seeds[1]
    with closing(Journal(tmp_path / "other.db")) as journal:
        assert journal.seed != seeds[0]


@pytest.mark.parametrize("open_batches", [0, 1])
def test_it_is_deleted_when_the_run_is_over_and_no_batch_is_open(tmp_path, open_batches):
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        journal.intend("mark", "there", [("a", ONE)])
        if not open_batches:
            journal.forget("mark")
        journal.is_over = True
    assert path.exists() == bool(open_batches)


def test_a_batch_is_written_down_whole_or_not_at_all(tmp_path):
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal:
        with pytest.raises(BatchError, match="UNIQUE"):
            journal.intend("mark", "there", [("a", ONE), ("a", TWO)])
        assert journal.open("there") == []


def test_a_file_that_is_no_journal_is_named_in_the_error(tmp_path):
    path = tmp_path / "answers.batches.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(BatchError, match=r"answers\.batches\.db: file is not a database"):
        Journal(path)


def test_a_full_disk_is_said_in_words_and_what_was_recorded_stays(tmp_path):
    resource: Any = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    path = tmp_path / "answers.batches.db"
    with closing(Journal(path)) as journal:
        journal.intend("mark", "there", [("a", ONE)])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
        try:
            many = [(str(number), ONE) for number in range(10_000)]
            with pytest.raises(BatchError, match=r"answers\.batches\.db: .*disk"):
                journal.intend("other", "there", many)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [noted.mark for noted in journal.open("there")] == ["mark"]
