"""Who hears of runs as they happen: traces, live views, whatever a user attaches."""

import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias

from .events import Event, RunStarted

Listener: TypeAlias = Callable[[RunStarted, Event], None]
"""Called with every event of every run, from the run's own loop and, of one run, in order.

Its first argument is the run's first event, which tells the runs apart that happen at the same time; the last event
of a run is its ``RunFinished``, also where it failed or was cancelled.
"""

_log = logging.getLogger(__name__)


class Listeners:
    """The listeners of one run. One that raises hears no more of it: who watches a run never breaks it."""

    def __init__(self, listeners: Iterable[Listener], run: RunStarted) -> None:
        self._listeners, self._run = tuple(listeners), run

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        for listener in self._listeners:
            try:
                listener(self._run, event)
            except Exception:  # noqa: BLE001, PERF203 - a user's code may raise anything
                self._listeners = tuple(one for one in self._listeners if one is not listener)
                _log.exception("%r failed; it hears no more of run %s", listener, self._run.run_id)
