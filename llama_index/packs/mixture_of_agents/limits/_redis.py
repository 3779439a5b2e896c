"""The limits of any number of machines, in a Redis server."""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from llama_index.packs.mixture_of_agents.errors import ConfigError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._limiter import NANO
from ._window import MINUTE, QUANTUM, SPAN

_PREFIX = "mixture-of-agents:"
_TIMEOUT = 5.0
"""Seconds to wait for the server."""
_UNBOUNDED = -1
_SCRIPT = """
-- `Window`, step by step, as one command. The state is a line of numbers: closed, then quantum, requests, tokens.
local what, requests, tokens, seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local most_requests, most_tokens = tonumber(ARGV[5]), tonumber(ARGV[6])
local QUANTUM, SPAN = tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = tonumber(ARGV[9]) or (time[1] + time[2] / 1000000)
local this = math.floor(now / QUANTUM)
local closed, grants, numbers = 0, {}, {}
for number in string.gmatch(redis.call('GET', KEYS[1]) or '0', '%S+') do
  numbers[#numbers + 1] = tonumber(number)
end
closed = numbers[1]
for i = 2, #numbers, 3 do
  if numbers[i] + SPAN > this then
    grants[#grants + 1] = {math.min(numbers[i], this), numbers[i + 1], numbers[i + 2]}
  end
end

local function add(more_requests, more_tokens)
  if #grants == 0 or grants[#grants][1] ~= this then grants[#grants + 1] = {this, 0, 0} end
  local last = grants[#grants]
  last[2], last[3] = last[2] + more_requests, last[3] + more_tokens
end

local function free(column, wanted, limit)
  if limit < 0 or wanted == 0 then return 0 end
  local excess = math.min(wanted, limit) - limit
  for _, grant in ipairs(grants) do excess = excess + grant[column] end
  if excess <= 0 then return 0 end
  for _, grant in ipairs(grants) do
    excess = excess - grant[column]
    if excess <= 0 then return (grant[1] + SPAN) * QUANTUM end
  end
  return 0
end

local function exceeds(wanted, limit) return limit >= 0 and requests > 1 and wanted > limit end

local wait = 0
if what == 'reserve' and (exceeds(requests, most_requests) or exceeds(tokens, most_tokens)) then
  wait = tonumber(ARGV[10])
elseif what == 'reserve' then
  wait = math.max(closed, free(2, requests, most_requests), free(3, tokens, most_tokens)) - now
  if wait <= 0 then
    wait = 0
    add(requests, tokens)
  end
elseif what == 'settle' then
  if tokens > 0 then add(0, tokens) end
  for _, grant in ipairs(grants) do
    local back = math.min(grant[3], math.max(0, -tokens))
    grant[3], tokens = grant[3] - back, tokens + back
  end
else
  closed = math.max(closed, now + seconds)
end
local state = {string.format('%.6f', closed)}
for _, grant in ipairs(grants) do
  state[#state + 1] = string.format('%.0f %.0f %.0f', grant[1], grant[2], grant[3])
end
local kept = math.max(SPAN * QUANTUM, closed - now) + 1
redis.call('SET', KEYS[1], table.concat(state, ' '), 'PX', string.format('%.0f', kept * 1000))
return string.format('%.6f', wait)
"""


class RedisLimiter:
    """A ``Limiter`` and a ``Ledger`` for all workers that reach one Redis server. Needs the extra ``redis``.

    The server's clock counts, so the workers' clocks may differ. A cluster of Redis servers works too: each endpoint is
    one key.

    Args:
        url: the server: ``redis://host:6379/0``, ``rediss://...`` or ``unix://...``.
        endpoints: the limits of each key.
        clock: returns the time in seconds, for tests. By default the server's own clock.

    Raises:
        ConfigError: redis-py is not installed, or the URL is not valid.
    """

    def __init__(
        self,
        url: str,
        endpoints: Mapping[str, EndpointLimits],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._url, self._endpoints, self._clock = url, endpoints, clock
        try:
            import redis
        except ImportError as error:
            extra = "pip install 'llama-index-packs-mixture-of-agents[redis]'"
            raise ConfigError(f"limits in Redis need the package redis: {extra}") from error
        self._error = redis.RedisError
        make: Any = redis.Redis.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self._connect = partial(make, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        self._process = 0
        try:
            self._connected()
        except ValueError as error:
            raise ConfigError(f"limits in Redis at {self._place}: {error}") from None

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``."""
        return self._do("reserve", key, requests, tokens)

    def settle(self, key: str, tokens: int) -> None:
        """See ``Limiter.settle``."""
        self._do("settle", key, tokens=tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        self._do("cool_down", key, seconds=seconds)

    def spend(self, account: str, usd: Decimal) -> Decimal:
        """See ``Ledger.spend``."""
        with self._reached():
            name = f"{_PREFIX}account:{account}"
            return int(self._connected().incrby(name, round(usd * NANO))) / NANO

    def _do(
        self, what: str, key: str, requests: int = 0, tokens: int = 0, seconds: float = 0.0
    ) -> float:
        limits = self._endpoints.get(key) or EndpointLimits()
        bounds = [limits.requests_per_minute or _UNBOUNDED, limits.tokens_per_minute or _UNBOUNDED]
        now = "" if self._clock is None else self._clock()  # the server's own
        with self._reached():
            self._connected()
            return float(
                self._script(
                    keys=[f"{_PREFIX}window:{key}"],
                    args=[what, requests, tokens, seconds, *bounds, QUANTUM, SPAN, now, MINUTE],
                )
            )

    @contextmanager
    def _reached(self) -> Generator[None, None, None]:
        try:
            yield
        except self._error as error:
            problem = (
                f"the limits in Redis at {self._place} cannot be reached: {type(error).__name__}"
            )
            raise LimiterUnavailable(
                problem
            ) from None  # its text may have the address, with a password

    @property
    def _place(self) -> str:
        """The server's address without user and password."""
        return urlsplit(self._url).netloc.rpartition("@")[2] or "a local socket"

    def _connected(self) -> Any:
        """The client, made once in each process: connections must not be carried over a fork."""
        if self._process != os.getpid():
            self._client: Any = self._connect(self._url)
            self._script: Any = self._client.register_script(_SCRIPT)
            self._process = os.getpid()
        return self._client
