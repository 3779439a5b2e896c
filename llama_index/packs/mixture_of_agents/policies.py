"""The policies of a recipe: how calls are made, and how many may be in flight."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ._checks import MOST_RETRIES, bound, not_negative, of_kind, one_of, positive, require, whole


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How one LLM call is made.

    Attributes:
        timeout: seconds one attempt may take (None: as long as the LLM class itself allows). A streamed answer may take
            longer: this bounds the wait for each of its pieces.
        deadline: seconds that the call may take with all its attempts and waits (None: until the layer's or run's
            deadline).
        retries: the number of further attempts after a failure that another attempt may cure; at most 100.
        backoff: seconds before the first retry; doubles each time, with jitter. A provider's Retry-After takes
            precedence.
        max_wait: the longest wait before a retry, in seconds. If a provider's Retry-After is longer, the call ends.
        hedge_after: seconds after which a proposer that has not answered is asked a second time. The first answer wins,
            and the other request is cancelled. "usual": the time within which 95 % of its endpoint's last 100 answers
            came, once ten are known. None: never.
        truncated: what happens to a proposal that was cut off at ``max_tokens``. "keep" makes it a reference that is
            marked as cut off, and the result notes it; "reject" makes it a failure.
        shared_clients: ask LLMs of LlamaIndex's OpenAI class over the connections that all mixtures of the process
            share, where an LLM has no HTTP client of its own yet. The environment variable ``MOA_SHARED_CLIENTS=0``
            turns it off for all mixtures.
    """

    timeout: float | None = 120.0
    deadline: float | None = None
    retries: int = 2
    backoff: float = 0.5
    max_wait: float = 30.0
    hedge_after: float | Literal["usual"] | None = None
    truncated: Literal["reject", "keep"] = "keep"
    shared_clients: bool = True

    def __post_init__(self) -> None:
        positive("CallPolicy", timeout=self.timeout, deadline=self.deadline)
        not_negative("CallPolicy", backoff=self.backoff, max_wait=self.max_wait)
        if self.hedge_after != "usual":
            not_negative("CallPolicy", hedge_after=self.hedge_after)
        whole("CallPolicy", 0, MOST_RETRIES, retries=self.retries)
        one_of("CallPolicy.truncated", self.truncated, "reject", "keep")


@dataclass(frozen=True, slots=True)
class Budget:
    """What one run may use. None is no bound.

    A layer starts only if all of its calls and then the aggregator's fit, each with the longest answer that it may
    give. Otherwise the run goes straight to the aggregator with the proposals that it has.

    Attributes:
        usd: US dollars; the price of every model must be known.
        tokens: tokens sent and received.
    """

    usd: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        positive("Budget", usd=self.usd)
        bound("Budget", tokens=self.tokens)


@dataclass(frozen=True, slots=True)
class Breaker:
    """When calls to a model endpoint are stopped for a while.

    Attributes:
        failures: the number of failures in a row that open the circuit (0: never).
        cooldown: seconds until one call may probe it again.
    """

    failures: int = 5
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        whole("Breaker", 0, failures=self.failures)
        not_negative("Breaker", cooldown=self.cooldown)


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """How much one endpoint may be sent. None is no bound.

    Attributes:
        requests_per_minute: requests in any minute.
        tokens_per_minute: tokens in any minute, sent and received.
        in_flight: calls of this process to the endpoint at the same time. "auto": as many as it takes well.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    in_flight: int | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        bound(
            "EndpointLimits",
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
        if self.in_flight != "auto":
            bound("EndpointLimits", in_flight=self.in_flight)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls may be in flight, shared by all runs of a mixture. None is no bound.

    Attributes:
        in_flight: calls of the whole mixture.
        per_endpoint: calls to one model endpoint.
        one_model_at_a_time: a layer asks one model after the other, for a machine that holds one in memory.
        breaker: when calls to an endpoint are stopped for a while.
        endpoints: the limits of model endpoints by name: "openai:gpt-4.1-mini", the model alone, or the provider alone
            for all of its models together. The first of these that is there applies.
        store: where ``endpoints`` are counted. "memory" is this process; "sqlite:PATH" a file for the processes of one
            machine; "ray" an actor for a Ray cluster; "redis://HOST:PORT/NUMBER" a server for any number of machines;
            "$NAME" an environment variable that says one of these, for an address with a password.
    """

    in_flight: int | None = None
    per_endpoint: int | None = None
    one_model_at_a_time: bool = False
    breaker: Breaker = Breaker()
    endpoints: Mapping[str, EndpointLimits] = field(default_factory=dict[str, EndpointLimits])
    store: str = "memory"

    def __post_init__(self) -> None:
        bound("Limits", in_flight=self.in_flight, per_endpoint=self.per_endpoint)
        example = '{"openai:gpt-4.1-mini": EndpointLimits(requests_per_minute=500)}'
        of_kind("Limits.endpoints", self.endpoints, Mapping, example)
        for limits in self.endpoints.values():
            of_kind("Limits.endpoints", limits, EndpointLimits, "EndpointLimits(in_flight=8)")
        of_kind("Limits.store", self.store, str, '"sqlite:limits.db"')
        secret = "@" in self.store
        hidden = 'a password does not belong here: say "$NAME", the variable that has the address'
        require(not secret, "Limits.store", "...", hidden)

    def name_of(self, provider: str, model: str) -> str | None:
        """Return the name under which an endpoint has limits; None if it has none.

        Args:
            provider: the provider, as LlamaIndex names the integration.
            model: the model's name.
        """
        providers = (provider, _SHORT.get(provider, provider.replace("_", "-")))
        names = (*(f"{one}:{model}" for one in providers), model, *providers)
        return next((name for name in names if name in self.endpoints), None)

    def covering(self, models: Iterable[tuple[str, str]], *others: "Limits") -> "Limits":
        """These limits, with the endpoints of these models and no others.

        Args:
            models: the models, as provider and name.
            others: further limits, for models that these say nothing of. Those of another store are left out.

        Returns:
            The limits.
        """
        known = (self, *(one for one in others if one.store == self.store))
        endpoints: dict[str, EndpointLimits] = {}
        for model in models:
            named = ((limits, limits.name_of(*model)) for limits in known)
            limits, name = next(((one, name) for one, name in named if name), (self, None))
            if name:
                endpoints[name] = limits.endpoints[name]
        return replace(self, endpoints=endpoints)


_SHORT = {"mistralai": "mistral"}
"""The names of providers in configuration files, where LlamaIndex's integration has another one."""
