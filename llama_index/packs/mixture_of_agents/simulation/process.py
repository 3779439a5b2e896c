"""Starts the server in its own process, and controls it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .behaviour import Behaviour
from .log import EVERY_MODEL, Counts, Record

if TYPE_CHECKING:
    from llama_index.llms.mistralai import MistralAI  # pyright: ignore[reportMissingTypeStubs]
    from llama_index.llms.openai import OpenAI
    from typing_extensions import Self

KEY = "simulated-key"


class SimulatedProviders:
    """Simulated OpenAI and Mistral servers on 127.0.0.1, in a process of their own.

    Use it as a context manager, or call `start` and `close`. The process also ends when this
    one does, however that happens. All methods may be called from any thread.

    Args:
        cpu: run the server on this CPU only (Linux), for benchmarks.
        keep_records: whether to keep a record of each request for `log()`. Without records the server is faster.
        keep_bodies: whether the records hold the requests' bodies and header names.
    """

    def __init__(
        self, *, cpu: int | None = None, keep_records: bool = True, keep_bodies: bool = True
    ) -> None:
        self.port = 0
        self._cpu = cpu
        self._keep = {"keep_records": keep_records, "keep_bodies": keep_bodies}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = f"at {self.openai_base}" if self._process else "not started"
        return f"<SimulatedProviders {where}>"

    def start(self) -> Self:
        """Start the server, and wait until it is ready. Raises RuntimeError if it does not start.

        Returns:
            Itself.
        """
        if self._process is not None:
            return self
        command = [sys.executable, "-m", str(__package__), "--until-eof"]
        if self._cpu is not None:
            command += ["--cpu", str(self._cpu)]
        # The server imports this package from the same place as this process.
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONIOENCODING": "utf-8",  # it writes its port, which is read here
        }
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **own}
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError("the simulated providers did not start; see the error above")
        self.port = json.loads(line)["port"]
        self.reset()
        return self

    def close(self) -> None:
        """End the server. Calling this more than once is safe."""
        process, self._process = self._process, None
        if process is None:
            return
        # Closing its standard input ends it.
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise RuntimeError("the simulated providers are not started")
        return self._process.pid

    @property
    def base(self) -> str:
        """The server's address: http://127.0.0.1 and its port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_base(self) -> str:
        """The `api_base` for LlamaIndex's OpenAI class."""
        return f"{self.base}/v1"

    @property
    def mistral_base(self) -> str:
        """The `endpoint` for LlamaIndex's MistralAI class."""
        return f"{self.base}/mistral"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point LlamaIndex's OpenAI and MistralAI classes here."""
        return {
            "OPENAI_API_KEY": KEY,
            "OPENAI_API_BASE": self.openai_base,
            "OPENAI_BASE_URL": self.openai_base,
            "MISTRAL_API_KEY": KEY,
            "MISTRAL_ENDPOINT": self.mistral_base,
        }

    def openai(self, model: str = "gpt-4.1", **settings: Any) -> OpenAI:
        """Return an LLM of LlamaIndex's OpenAI class that uses this server.

        Args:
            model: the model's name.
            settings: further arguments of the class.
        """
        from llama_index.llms.openai import OpenAI

        settings = {"api_key": KEY, "api_base": self.openai_base, **settings}
        return OpenAI(model=model, **settings)

    def mistral(self, model: str = "mistral-small-latest", **settings: Any) -> MistralAI:
        """Return an LLM of LlamaIndex's MistralAI class that uses this server.

        Args:
            model: the model's name.
            settings: further arguments of the class.
        """
        from llama_index.llms.mistralai import MistralAI  # pyright: ignore[reportMissingTypeStubs]

        settings = {"api_key": KEY, "endpoint": self.mistral_base, **settings}
        return MistralAI(model=model, **settings)

    def configure(self, model: str, behaviour: Behaviour | None = None, **fields: Any) -> None:
        """Set a model's behaviour. Scripts start again.

        Args:
            model: the model; "*" for every model without its own behaviour.
            behaviour: the behaviour.
            fields: the behaviour's fields, instead of `behaviour`.
        """
        if behaviour is not None and fields:
            raise TypeError("give a Behaviour or its fields, not both")
        data = (behaviour or Behaviour(**fields)).to_json()
        self._post("configure", {"model": model, "behaviour": data})

    def reset(self) -> None:
        """Restore the initial state: default behaviour, no gates, an empty log, no open requests."""
        self._post("reset", self._keep)

    def hold(self, model: str = EVERY_MODEL, *, after: int = 0, skip: int = 0) -> None:
        """Hold the requests of a model until `release`.

        Args:
            model: the model; "*" for every model.
            after: 0 holds a request before its outcome is decided. n holds a stream after its n-th chunk; the first
                chunk has no text yet. For the model "batches", 1 holds the answer to an executed request.
            skip: the number of requests that pass first.
        """
        self._post("hold", {"model": model, "after": after, "skip": skip})

    def release(self, model: str = EVERY_MODEL, number: int | None = None) -> int:
        """Release the oldest held requests, or all of them and open the gate.

        Args:
            model: the model; by default all models together.
            number: how many requests; None for all.

        Returns:
            How many were released.
        """
        return self._post("release", {"model": model, "number": number})["released"]

    def wait_for(self, model: str = EVERY_MODEL, *, timeout: float = 10.0, **wanted: int) -> Counts:
        """Wait until a model's counters are at least as `wanted`: `sim.wait_for("m", open=2)`.

        The counters are those of `Counts`: arrived, open, held, started, closed, hung_up and
        high_water. `open=0` and `held=0` wait until there is none. `await_for` is the same for
        async code.

        Args:
            model: the model; "*" for all models together.
            timeout: seconds to wait.
            wanted: the counters.

        Returns:
            All counters of the model.

        Raises:
            TimeoutError: the counters were not reached in time.
        """
        unknown = set(wanted) - set(Counts.__slots__)
        if unknown:
            raise TypeError(f"no such counters: {', '.join(sorted(unknown))}")
        body = {"model": model, "wanted": wanted, "seconds": timeout}
        answer = self._post("wait", body, timeout=timeout + 10)
        if not answer["reached"]:
            raise TimeoutError(f"{model}: {wanted} not reached in {timeout} s: {answer['counts']}")
        return Counts(**answer["counts"])

    async def await_for(
        self, model: str = EVERY_MODEL, *, timeout: float = 10.0, **wanted: int
    ) -> Counts:
        """Like ``wait_for``, in a thread, so that the event loop keeps running."""
        return await asyncio.to_thread(self.wait_for, model, timeout=timeout, **wanted)

    def counts(self, model: str = EVERY_MODEL) -> Counts:
        """Return the counters of a model.

        Args:
            model: the model; by default all models together.
        """
        return Counts(**self._post("counts", {"model": model}))

    def high_water(self, model: str = EVERY_MODEL) -> int:
        """Return the most requests that were open at the same time.

        Args:
            model: the model; by default all models together.
        """
        return self.counts(model).high_water

    def log(self, model: str = EVERY_MODEL) -> list[Record]:
        """Return the requests that the server received since the last reset, in order of arrival.

        Args:
            model: the model; by default all models.
        """
        records = [Record.from_json(one) for one in self._post("log", {})["records"]]
        return [record for record in records if model in (EVERY_MODEL, record.model)]

    def advance(self, seconds: float) -> None:
        """Move the clock of the batches. It does not move by itself.

        Args:
            seconds: how far.
        """
        self._post("advance", {"seconds": seconds}, timeout=120)

    def batches(self) -> list[dict[str, Any]]:
        """Return the batches since the last reset, oldest first: id, model, state, rows, done."""
        return self._post("batches", {})["batches"]

    def forget_batch(self, batch: str) -> None:
        """Lose a batch, as a provider may: later requests do not find it.

        Args:
            batch: the batch's id.
        """
        self._post("forget", {"batch": batch})

    def _post(self, action: str, body: Mapping[str, Any], timeout: float = 10.0) -> Any:
        if self._process is None:
            raise RuntimeError("the simulated providers are not started")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(
                "POST", f"/_control/{action}", json.dumps(body), {"Connection": "close"}
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer
