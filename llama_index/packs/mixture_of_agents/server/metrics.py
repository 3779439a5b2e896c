"""What the server counts, for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .served_model import Answer

NOBODY = ""
"""The model of a request that reached none."""
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class Metrics:
    """The counts of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "moa_requests", "Requests that ended.", ["model", "status"], registry=registry
        )
        self._seconds = Histogram(
            "moa_request_seconds", "From a run's start to its end.", ["model"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._in_flight = Gauge("moa_in_flight", "Runs under way.", ["model"], registry=registry)
        self._tokens = Counter(
            "moa_tokens", "Tokens of all calls.", ["model", "kind"], registry=registry
        )
        self._cost = Counter(
            "moa_cost_usd", "US dollars of all calls whose price is known.", ["model"],
            registry=registry,
        )  # fmt: skip

    def refused(self, status: int) -> None:
        """A request was not answered by any model."""
        self._requests.labels(NOBODY, str(status)).inc()

    def began(self, model: str) -> float:
        """A run began; what to tell ``ended``."""
        self._in_flight.labels(model).inc()
        return time.perf_counter()

    def ended(self, model: str, began: float, status: int, answer: Answer | None) -> None:
        """A run ended, with an answer or without."""
        self._in_flight.labels(model).dec()
        self._seconds.labels(model).observe(time.perf_counter() - began)
        self._requests.labels(model, str(status)).inc()
        # A counter takes no negative numbers, which somebody else's server may tell.
        if answer and answer.usage:
            self._tokens.labels(model, "input").inc(max(0, answer.usage.input_tokens))
            self._tokens.labels(model, "output").inc(max(0, answer.usage.output_tokens))
        if answer:
            self._cost.labels(model).inc(max(0.0, float(answer.cost.at_least)))

    def text(self) -> bytes:
        """All of it in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)
