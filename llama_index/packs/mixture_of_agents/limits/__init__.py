"""Limits that hold for all workers that share a store: requests and tokens a minute, for each endpoint."""

from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._gate import Gate
from ._leases import Leases
from ._limiter import Ledger, Limiter
from ._memory import MemoryLimiter
from ._redis import RedisLimiter
from ._sqlite import SqliteLimiter

__all__ = [
    "EndpointLimits",
    "Gate",
    "Leases",
    "Ledger",
    "Limiter",
    "MemoryLimiter",
    "RedisLimiter",
    "SqliteLimiter",
]
