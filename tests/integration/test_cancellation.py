"""Whoever stops a run stops its requests: the provider sees them hung up at once, and nothing is left over."""

import asyncio
import contextlib
import functools
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from typing import Any

import pytest
from asking import QUESTION
from members import six_calls
from systems import sends_signals

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureOfAgentsPack, Proposer, moa
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import HANG, SimulatedProviders
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PROPOSERS = ("gpt-4.1-mini", "gpt-4o", "mistral-small-latest", "mistral-large-latest")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
AT_ONCE = 0.1
"""Seconds within which a provider sees an open request closed."""


class TooSlowError(AssertionError):
    pass


def tried_again(test: Any) -> Any:
    """A test of how fast something happens may be held up by whatever else this machine does: twice, not thrice."""

    @functools.wraps(test)
    async def of_async_code(providers: SimulatedProviders, *args: Any, **kwargs: Any) -> None:
        for _ in range(2):
            with contextlib.suppress(TooSlowError):
                return await test(providers, *args, **kwargs)
            providers.reset()
        return await test(providers, *args, **kwargs)

    @functools.wraps(test)
    def of_blocking_code(providers: SimulatedProviders, *args: Any, **kwargs: Any) -> None:
        for _ in range(2):
            with contextlib.suppress(TooSlowError):
                return test(providers, *args, **kwargs)
            providers.reset()
        return test(providers, *args, **kwargs)

    return of_async_code if inspect.iscoroutinefunction(test) else of_blocking_code


def check_hung_up_at_once(providers: SimulatedProviders, since: float, expected: int = 1) -> None:
    """The provider saw so many requests that were open at that moment hung up, and at once."""
    delays = hung_up_after(providers, since)
    assert len(delays) == expected
    if max(delays) >= AT_ONCE:
        raise TooSlowError(f"hung up after {delays} seconds")


def hung_up_after(providers: SimulatedProviders, since: float) -> list[float]:
    """For each request that was open at a moment, the seconds until it was hung up."""
    open_then = [
        record for record in providers.log() if record.ended is None or record.ended > since
    ]
    assert all(record.hung_up for record in open_then)
    return [(record.ended or float("inf")) - since for record in open_then]


@asynccontextmanager
async def nothing_left_over() -> AsyncIterator[None]:
    """Tasks and threads afterwards are those of before."""
    tasks, threads = asyncio.all_tasks(), our_threads()
    yield
    assert asyncio.all_tasks() <= tasks
    assert our_threads() <= threads


def our_threads() -> set[threading.Thread]:
    """All but those that this test itself waits in."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


@pytest.mark.parametrize("layer", [1, 2, 3])
@tried_again
async def test_cancelling_a_run_closes_its_requests_in_whichever_layer_it_is(
    providers: SimulatedProviders, layer: int
) -> None:
    mixture = six_calls(providers)
    await mixture.achat(QUESTION)  # connections are kept alive
    before = len(providers.log())
    if layer == 3:
        providers.hold("gpt-4.1")
    for name in PROPOSERS:
        providers.hold(name, skip=layer - 1) if layer < 3 else None
    held = 4 if layer < 3 else 1
    async with nothing_left_over():
        running = asyncio.ensure_future(mixture.achat(QUESTION))
        await providers.await_for(held=held)
        cancelled = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await providers.await_for(open=0, timeout=5)
    check_hung_up_at_once(providers, cancelled, held)
    assert len(providers.log()) == before + [4, 8, 9][layer - 1], "no further layer was begun"


@pytest.mark.parametrize("model", ["gpt-4.1", "mistral-small-latest"])
@pytest.mark.parametrize("how", ["closed", "left to itself"])
@tried_again
async def test_closing_a_stream_after_its_first_token_closes_its_request(
    providers: SimulatedProviders, model: str, how: str
) -> None:
    providers.configure(model, reply="one two three four five six seven eight")
    providers.hold(model, after=4)
    llm = providers.mistral(model) if "mistral" in model else providers.openai(model)
    mixture = MixtureOfAgents(moa([ScriptedLLM("proposal")], llm, layers=1))
    async with nothing_left_over():
        stream: Any = await mixture.astream_chat(QUESTION)
        while not (await anext(stream)).delta:
            pass
        await providers.await_for(model, held=1)
        closed = time.monotonic()
        if how == "closed":
            await stream.aclose()
        else:
            del stream  # nothing else holds it, so no garbage collector needs to come
        await providers.await_for(open=0, timeout=5)
        await asyncio.sleep(0.02)  # what is left to itself is closed by a task of the loop's own
    check_hung_up_at_once(providers, closed)


@tried_again
async def test_a_reader_that_is_cancelled_in_the_middle_of_a_stream_closes_its_request(
    providers: SimulatedProviders,
) -> None:
    providers.hold("gpt-4.1", after=4)
    mixture = six_calls(providers)

    async def read() -> None:
        async with aclosing(await mixture.astream_chat(QUESTION)) as chunks:  # type: ignore[type-var]
            async for _ in chunks:
                pass

    async with nothing_left_over():
        reading = asyncio.ensure_future(read())
        await providers.await_for("gpt-4.1", held=1)
        cancelled = time.monotonic()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await providers.await_for(open=0, timeout=5)
    check_hung_up_at_once(providers, cancelled)


@pytest.mark.parametrize("model", ["gpt-4.1", "mistral-small-latest"])
@tried_again
def test_closing_a_blocking_stream_closes_its_request(
    providers: SimulatedProviders, model: str
) -> None:
    providers.configure(model, reply=" ".join(["word"] * 2000), per_token=0.01)
    llm = providers.mistral(model) if "mistral" in model else providers.openai(model)
    mixture = MixtureOfAgents(moa([ScriptedLLM("proposal")], llm, layers=1, max_tokens=None))
    stream: Any = mixture.stream_chat(QUESTION)
    with closing(stream) as chunks:
        while not next(chunks).delta:
            pass
        closed = time.monotonic()
    providers.wait_for(open=0, timeout=5)
    check_hung_up_at_once(providers, closed)


@pytest.mark.parametrize("model", ["gpt-4.1", "mistral-small-latest"])
@tried_again
def test_closing_a_blocking_stream_that_hangs_closes_its_request(
    providers: SimulatedProviders, model: str
) -> None:
    providers.configure(model, reply="one two three four five six seven eight")
    providers.hold(model, after=4)
    llm = providers.mistral(model) if "mistral" in model else providers.openai(model)
    before = our_threads()
    stream: Any = MixtureOfAgents(moa([ScriptedLLM("proposal")], llm, layers=1)).stream_chat(
        QUESTION
    )
    with closing(stream) as chunks:
        while not next(chunks).delta:
            pass
        providers.wait_for(model, held=1)
        closed = time.monotonic()
    providers.wait_for(open=0, timeout=5)
    check_hung_up_at_once(providers, closed)
    wait_until(lambda: our_threads() <= before)


@pytest.mark.parametrize("model", ["gpt-4.1", "mistral-small-latest"])
@tried_again
def test_a_blocking_run_hangs_up_on_its_stragglers(
    providers: SimulatedProviders, model: str
) -> None:
    providers.configure(model, script=[HANG])
    llm = providers.mistral(model) if "mistral" in model else providers.openai(model)
    before = our_threads()

    def when_the_other_was_asked(_: Any) -> str:
        providers.wait_for(model, arrived=1)
        return "x"

    proposers = [llm, ScriptedLLM(when_the_other_was_asked)]
    mixture = MixtureOfAgents(moa(proposers, ScriptedLLM("y"), layers=1, grace=0))
    result = mixture.chat(QUESTION).additional_kwargs["mixture"]
    over = time.monotonic()
    assert [failure.kind.value for failure in result.failures] == ["straggler"]
    providers.wait_for(hung_up=1, open=0, timeout=5)
    if any(record.ended >= over + AT_ONCE for record in providers.log() if record.ended):
        raise TooSlowError
    wait_until(lambda: our_threads() <= before)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_blocking_run_that_is_over_leaves_no_thread(providers: SimulatedProviders) -> None:
    pack = MixtureOfAgentsPack(
        providers.openai("gpt-4.1"), [providers.mistral("mistral-small-latest")], num_layers=1
    )
    pack.run("Well?")
    before = our_threads()
    for _ in range(3):
        pack.run("Well?")
    wait_until(lambda: our_threads() <= before)


@pytest.mark.parametrize("held", ["a proposal", "the answer", "nothing"])
@pytest.mark.parametrize("how", ["closed", "interrupted", "dropped"])
def test_a_blocking_stream_that_ends_early_leaves_no_thread(
    providers: SimulatedProviders, held: str, how: str
) -> None:
    mixture = six_calls(providers, quorum=1)
    before = our_threads()
    if held == "a proposal":
        providers.hold("mistral-medium-latest")
        mixture = six_calls(providers, quorum=1, grace=0)
    if held == "the answer":
        providers.hold("gpt-4.1", after=4)
    for _ in range(5):
        stream: Any = mixture.stream_chat(QUESTION)
        while not next(stream).delta:
            pass
        if how == "closed":
            stream.close()
        elif how == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                stream.throw(KeyboardInterrupt)
        else:
            del stream
        assert our_threads() <= before
        providers.wait_for(open=0, timeout=5)


def test_a_thread_that_waits_for_no_socket_holds_up_nobody_who_closes_a_stream() -> None:
    release = threading.Event()

    def wait(_: Any) -> str:
        release.wait(60)
        return "late"

    recipe = moa([ScriptedLLM("a"), ScriptedLLM(wait)], ScriptedLLM("one two"), layers=1, grace=0)
    stream: Any = MixtureOfAgents(recipe).stream_chat(QUESTION)
    try:
        next(stream)
        closed = time.monotonic()
        stream.close()
        assert time.monotonic() - closed < 5
    finally:
        release.set()


async def test_a_run_that_is_cancelled_twice_still_cleans_up(providers: SimulatedProviders) -> None:
    mixture = six_calls(providers)
    for name in PROPOSERS:
        providers.hold(name)
    async with nothing_left_over():
        running = asyncio.ensure_future(mixture.achat(QUESTION))
        await providers.await_for(held=4)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    await providers.await_for(open=0, timeout=5)


async def test_a_run_that_is_cancelled_before_it_began_asks_nobody() -> None:
    llm = ScriptedLLM("x")
    running = asyncio.ensure_future(MixtureOfAgents(moa([llm], llm)).achat(QUESTION))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not llm.asked


@pytest.mark.parametrize("ticks", range(0, 100, 3))
async def test_a_run_can_be_cancelled_at_any_moment(ticks: int) -> None:
    async def reply(_: Any) -> str:
        for _ in range(30):  # so long that a call which nobody stops outlives its run
            await asyncio.sleep(0)
        return "x"

    proposers = [Proposer(ScriptedLLM(reply), name=name) for name in "abc"]
    policy = CallPolicy(hedge_after=0)
    recipe = moa(proposers, ScriptedLLM(reply), layers=2, grace=0, call=policy)
    async with nothing_left_over():
        running = asyncio.ensure_future(MixtureOfAgents(recipe).achat(QUESTION))
        for _ in range(ticks):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


# --- Ctrl-C in a script --------------------------------------------------------------------------

SCRIPTS = {
    "blocking": """
        print(mixture.chat(question).message.content)
    """,
    "blocking stream": """
        for chunk in mixture.stream_chat(question):
            print(chunk.delta, flush=True)
    """,
    "async": """
        print(asyncio.run(mixture.achat(question)).message.content)
    """,
    "async stream": """
        async def main():
            async for chunk in await mixture.astream_chat(question):
                print(chunk.delta, flush=True)
        asyncio.run(main())
    """,
}
HEAD = """
    import asyncio
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.llms.mistralai import MistralAI
    from llama_index.llms.openai import OpenAI
    from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa

    proposers = [OpenAI(model="gpt-4.1-mini"), MistralAI(model="mistral-small-latest")]
    mixture = MixtureOfAgents(moa(proposers, OpenAI(model="gpt-4.1"), layers=2))
    question = [ChatMessage(role="user", content="Well?")]
"""


@contextlib.contextmanager
def running(providers: SimulatedProviders, name: str) -> Iterator[Any]:
    """A script of a user's that runs against the simulated providers."""
    code = textwrap.dedent(HEAD) + textwrap.dedent(SCRIPTS[name])
    environment = {**os.environ, **providers.environment}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@sends_signals
@pytest.mark.parametrize("name", list(SCRIPTS))
@pytest.mark.parametrize("where", ["layer", "answer"])
@tried_again
def test_ctrl_c_in_a_script_ends_it_and_its_requests(
    providers: SimulatedProviders, name: str, where: str
) -> None:
    held = ["gpt-4.1-mini", "mistral-small-latest"] if where == "layer" else ["gpt-4.1"]
    for model in held:
        providers.hold(model, skip=1 if where == "layer" else 0)
    with running(providers, name) as script:
        providers.wait_for(held=len(held), timeout=50)
        pressed = time.monotonic()
        script.send_signal(signal.SIGINT)
        try:
            _, errors = script.communicate(timeout=20)
        except subprocess.TimeoutExpired as never:
            if b"Exception ignored in" in (never.stderr or b""):
                problem = "Python lost the interrupt, which came while it ran a finalizer"
                raise TooSlowError(problem) from never
            raise
    assert "KeyboardInterrupt" in errors
    assert "Traceback" in errors
    assert "never retrieved" not in errors
    assert "Fatal Python error" not in errors
    providers.wait_for(open=0, timeout=5)
    check_hung_up_at_once(providers, pressed, len(held))
