"""Fields of requests that the server does not know. They are ignored, and named in a response header and in the log."""

import logging
from collections.abc import Iterable

_log = logging.getLogger(__name__)
HEADER = "x-ignored-fields"
_PAUSE = 60.0
"""Seconds before a field is logged again."""
_REMEMBERED = 1000
"""Clients choose the names, so only so many are remembered."""
_LONGEST, _MOST = 64, 20
"""Characters of a name and names in a header."""


class IgnoredFields:
    """Remembers when each field was logged."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._logged)

    def log(self, names: Iterable[str], now: float) -> list[str]:
        """Log the fields that have not been logged for a minute.

        Args:
            names: The fields of one request.
            now: The time in seconds.

        Returns:
            The fields that were logged.
        """
        due = [name for name in names if now - self._logged.get(name, -_PAUSE) >= _PAUSE]
        for name in due:
            _log.warning("ignored the unknown field '%s' of a request", name)
            if len(self._logged) >= _REMEMBERED:
                self._logged.clear()
            self._logged[name] = now
        return due


def printable(names: Iterable[str]) -> list[str]:
    """The names as a header can carry them: a few, each cut to a bound and with unusual characters escaped."""
    first = [name for name, _ in zip(names, range(_MOST), strict=False)]
    return [ascii(name[:_LONGEST])[1:-1].replace(",", "\\x2c") for name in first]
