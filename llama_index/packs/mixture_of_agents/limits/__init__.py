"""Limits that hold for all workers that share a store: requests and tokens a minute, for each endpoint."""

from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._limiter import Limiter
from ._memory import MemoryLimiter

__all__ = ["EndpointLimits", "Limiter", "MemoryLimiter"]
