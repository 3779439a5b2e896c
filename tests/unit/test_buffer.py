"""What waits between a task and its reader."""

import asyncio

from members import settle

from llama_index.packs.mixture_of_agents._concurrency.buffer import Buffer


async def produce(buffer: Buffer[int], count: int, produced: list[int]) -> None:
    for number in range(count):
        produced.append(number)
        buffer.put(number)
        await buffer.room()


async def test_a_task_waits_for_its_reader_and_nothing_is_lost_or_out_of_order():
    buffer, produced = Buffer[int](), []
    task = asyncio.ensure_future(produce(buffer, 100, produced))
    await settle()
    waiting = len(produced)
    assert 1 < waiting < 20
    assert await buffer.get() == 0
    await settle()
    assert len(produced) == waiting + 1
    taken = [0]
    while len(taken) < 100:
        taken += await buffer.get_all()
    assert taken == list(range(100))
    await task


async def test_what_is_put_by_code_that_cannot_wait_is_kept_whole():
    buffer = Buffer[int]()
    for number in range(100):
        buffer.put(number)
    await buffer.filled()
    assert await buffer.get() == 0
    assert await buffer.get_all() == list(range(1, 100))


async def test_a_reader_waits_for_the_first_item():
    buffer = Buffer[int]()
    reading = asyncio.ensure_future(buffer.get())
    await asyncio.sleep(0)
    assert not reading.done()
    buffer.put(7)
    assert await reading == 7
