"""The server's counts, for Prometheus."""

import os
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.pricing import Cost

NOBODY = ""
"""The model name of a request that reached no model."""
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class Metrics:
    """The counts of one server, in their own registry. Processes that share a folder for Prometheus count together."""

    def __init__(self) -> None:
        self._folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "moa_requests", "Requests that ended.", ["model", "status"], registry=registry
        )
        self._seconds = Histogram(
            "moa_request_seconds", "From a run's start to its end.", ["model"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._in_flight = Gauge(
            "moa_in_flight", "Runs under way.", ["model"], registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._tokens = Counter(
            "moa_tokens", "Tokens of all calls.", ["model", "kind"], registry=registry
        )
        self._cost = Counter(
            "moa_cost_usd", "US dollars of all calls whose price is known.", ["model"],
            registry=registry,
        )  # fmt: skip

        self._of_keys = Counter(
            "moa_key_requests", "Runs that a key began.", ["key"], registry=registry
        )
        self._refused_keys = Counter(
            "moa_key_refused", "Requests that a limit of a key refused.", ["key", "limit"],
            registry=registry,
        )  # fmt: skip
        self._spent_by_keys = Counter(
            "moa_key_cost_usd", "US dollars of a key's calls whose price is known.", ["key"],
            registry=registry,
        )  # fmt: skip

    def refused(self, status: int) -> None:
        """Count a request that reached no model."""
        self._requests.labels(NOBODY, str(status)).inc()

    def began(self, model: str) -> float:
        """Count the start of a run. Returns the value that ``ended`` takes as ``began``."""
        self._in_flight.labels(model).inc()
        return time.perf_counter()

    def ended(self, model: str, began: float, status: int, usage: Usage | None, cost: Cost) -> None:
        """Count the end of a run, with or without an answer."""
        self._in_flight.labels(model).dec()
        self._seconds.labels(model).observe(time.perf_counter() - began)
        self._requests.labels(model, str(status)).inc()
        # A counter takes no negative numbers, and a provider may report some.
        if usage:
            self._tokens.labels(model, "input").inc(max(0, usage.input_tokens))
            self._tokens.labels(model, "output").inc(max(0, usage.output_tokens))
        self._cost.labels(model).inc(max(0.0, float(cost.at_least)))

    def key_admitted(self, key: str) -> None:
        """Count a request of a key that has a name."""
        self._of_keys.labels(key).inc()

    def key_refused(self, key: str, limit: str) -> None:
        """Count a request that a limit of its key refused."""
        self._refused_keys.labels(key, limit).inc()

    def key_spent(self, key: str, usd: float) -> None:
        """Count what a key's call has cost."""
        self._spent_by_keys.labels(key).inc(usd)

    def text(self) -> bytes:
        """All counts in Prometheus' text format, version 0.0.4."""
        if not self._folder:
            return generate_latest(self._registry)
        all_processes = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_processes, self._folder)
        return generate_latest(all_processes)

    def forget(self, process: int) -> None:
        """Count the runs under way in a process no more: it has ended."""
        if self._folder:
            multiprocess.mark_process_dead(process, self._folder)  # pyright: ignore[reportUnknownMemberType]
