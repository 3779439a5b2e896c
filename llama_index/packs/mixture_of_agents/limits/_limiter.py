"""What every store of limits offers."""

from decimal import Decimal
from typing import Protocol, runtime_checkable

NANO = Decimal(10**9)
"""Stores count money in whole billionths of a US dollar, which they add up exactly."""


@runtime_checkable
class Limiter(Protocol):
    """Counts what workers send to endpoints, and says when they may send more.

    A limiter is made with the limits of each key (``EndpointLimits``). For each call, check and count are one atomic
    step. The methods are synchronous, may be called from any thread, and may wait for a disk or a network: the engine
    calls those of a shared store in a thread. A key without limits is counted nowhere, but can be cooled down.

    All methods raise ``LimiterUnavailable`` if the store cannot be reached. Nothing may then be sent.
    """

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        """Count requests that are about to be sent, if the limits allow all of them now.

        What is reserved may be sent within the next second (``SLACK``). One request with more tokens than a minute's
        limit counts as the limit. Several requests that exceed it together are refused.

        Args:
            key: the name of the endpoint.
            requests: the number of requests; 0 counts tokens alone.
            tokens: the tokens that they may use together, sent and received.

        Returns:
            0.0 if they are counted and may be sent. Otherwise nothing is counted, and this is the number of seconds
            after which to ask again; other workers may be faster then.
        """
        ...

    def settle(self, key: str, tokens: int) -> None:
        """Correct what was reserved by what was used.

        Args:
            key: the name of the endpoint.
            tokens: the tokens used beyond those reserved; below 0, those that were reserved and not used. Give tokens
                back only within a minute of their reservation: later they no longer count.
        """
        ...

    def cool_down(self, key: str, seconds: float) -> None:
        """Let nobody send anything to an endpoint for a while, because it said so (Retry-After).

        Args:
            key: the name of the endpoint.
            seconds: how long from now. A shorter time than what is left of an earlier one changes nothing.
        """
        ...


@runtime_checkable
class Ledger(Protocol):
    """Adds up the money that workers spend. The method may be called from any thread."""

    def spend(self, account: str, usd: Decimal) -> Decimal:
        """Add to what an account has spent, in one atomic step.

        Args:
            account: the name of the account, such as that of a batch.
            usd: US dollars; 0 asks for the total alone.

        Returns:
            US dollars that all workers together have spent so far.

        Raises:
            LimiterUnavailable: the store cannot be reached.
        """
        ...
