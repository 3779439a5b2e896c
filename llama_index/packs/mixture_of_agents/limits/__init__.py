"""Limits that hold for all workers that share a store: requests and tokens a minute, for each endpoint."""

from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._adaptive import Adaptive
from ._gate import Gate
from ._leases import Leases
from ._limiter import Ledger, Limiter
from ._memory import MemoryLimiter
from ._quota import STORES, Quota, Ticket, connect, quota_of
from ._ray import RayLimiter
from ._redis import RedisLimiter
from ._sqlite import SqliteLimiter

__all__ = [
    "STORES",
    "Adaptive",
    "EndpointLimits",
    "Gate",
    "Leases",
    "Ledger",
    "Limiter",
    "MemoryLimiter",
    "Quota",
    "RayLimiter",
    "RedisLimiter",
    "SqliteLimiter",
    "Ticket",
    "connect",
    "quota_of",
]
