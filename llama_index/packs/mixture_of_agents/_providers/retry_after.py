"""When a provider's limit ends, by a header or by the words of an error. Pure."""

import math
import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

_LONGEST_DATE = 100
_WAIT = re.compile(
    r"(?:(?:retry|try again) (?:in|after)|retrydelay['\"]?:) ?['\"]?"
    r"(?:(\d{1,4})m)?(\d{1,6}(?:\.\d{1,12})?) ?(ms|s)",
    re.IGNORECASE,
)
"""OpenAI's "try again in 1m6.5s", Google's "retry in 29.5s" and ``"retryDelay": "29s"``, "retry after 7 seconds"."""


def wait_in_words(text: str) -> float | None:
    """Reads when to come back from the text of an error.

    Args:
        text: the text; its caller has bounded its length.

    Returns:
        Seconds to wait; None if the text does not say.
    """
    found = _WAIT.search(text)
    if found is None:
        return None
    minutes, number, unit = found.groups(default="0")
    return 60 * int(minutes) + float(number) / (1000 if unit.lower() == "ms" else 1)


def parse_retry_after(value: object, now: datetime) -> float | None:
    """Reads a Retry-After header: a number of seconds or an HTTP date (RFC 9110, 10.2.3).

    Args:
        value: the header's value, if there is one.
        now: the time that a date is compared with.

    Returns:
        Seconds to wait, never negative; None if the header makes no sense, as if it were not there.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_DATE:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now)
    return max(0.0, seconds) if seconds is not None and math.isfinite(seconds) else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        utc = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return (utc - now).total_seconds()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
