"""Loops for blocking callers: kept for the next one, with nothing of the last one left on them."""

import asyncio

import pytest

from llama_index.packs.mixture_of_agents._concurrency.private_loops import run_on_private_loop


async def this_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def failing() -> None:
    raise ValueError(id(asyncio.get_running_loop()))


def test_a_loop_serves_one_caller_after_the_other_also_after_an_error() -> None:
    first = run_on_private_loop(this_loop())
    with pytest.raises(ValueError, match=str(id(first))):
        run_on_private_loop(failing())
    assert run_on_private_loop(this_loop()) is first
    assert not first.is_closed()


def test_tasks_that_are_left_behind_are_cancelled() -> None:
    async def leave() -> "asyncio.Task[None]":
        task = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        return task

    assert run_on_private_loop(leave()).cancelled()


def test_work_that_is_cancelled_ends_as_with_asyncio_run_and_the_next_finds_its_threads() -> None:
    async def cancel() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        run_on_private_loop(cancel())

    async def threaded() -> int:
        return await asyncio.to_thread(lambda: 1)

    assert [run_on_private_loop(threaded()) for _ in range(2)] == [1, 1]
