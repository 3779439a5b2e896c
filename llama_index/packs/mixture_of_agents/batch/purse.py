"""The money that several batches spend together."""

import asyncio
from decimal import Decimal
from functools import partial

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents.errors import BatchError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.limits import Ledger, connect
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents


class Purse:
    """What all batches of an account have spent, those of other processes included.

    Args:
        ledger: Adds up what they spend.
        account: The name of the account.
    """

    def __init__(self, ledger: Ledger, account: str) -> None:
        self._ledger, self._account = ledger, account
        self._reported, self._owed = Decimal(0), Decimal(0)
        self._turn = asyncio.Lock()

    @property
    def spent(self) -> Decimal:
        """US dollars: what the ledger said last, and what is owed since then."""
        return self._reported + self._owed

    def owe(self, usd: Decimal) -> None:
        """Count what an answer cost. ``pay`` reports it."""
        self._owed += usd

    async def pay(self) -> None:
        """Report what is owed, and learn what all have spent.

        Raises:
            LimiterUnavailable: The ledger cannot be reached. What is owed is still owed.
        """
        async with self._turn:
            owed = self._owed
            self._reported = await in_thread(partial(self._ledger.spend, self._account, owed))
            self._owed -= owed

    async def close(self) -> None:
        """Report what is owed at the end of a batch.

        Raises:
            BatchError: The ledger cannot be reached, so others know too little of what was spent.
        """
        try:
            await self.pay()
        except LimiterUnavailable as error:
            problem = f"account {self._account!r} lacks ${self._owed:f} of this batch: {error}"
            raise BatchError(problem) from error


def purse_of(llm: LLM, account: str, ledger: Ledger | None) -> Purse | None:
    """The purse of a batch.

    Args:
        llm: The LLM that is asked.
        account: The name of the account; "" for none.
        ledger: The ledger; None for that in the store of a mixture's limits.

    Returns:
        The purse; None without an account.

    Raises:
        BatchError: Nothing is shared with others.
        ConfigError: There is no such store.
    """
    if not account:
        return None
    if ledger is None:
        store = llm.recipe.limits.store if isinstance(llm, MixtureOfAgents) else "memory"
        if store == "memory":
            problem = 'nothing is shared with other batches: say limits.store = "sqlite:PATH", or give a ledger'
            raise BatchError(f"account = {account!r}: {problem}")
        kept = connect(store, {})
        if not isinstance(kept, Ledger):
            raise BatchError(f"account = {account!r}: limits.store = {store!r} counts no money")
        ledger = kept
    return Purse(ledger, account)
