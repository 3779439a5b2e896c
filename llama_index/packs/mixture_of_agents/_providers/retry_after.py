"""When a provider's limit ends, by its header. Pure."""

import math
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

_LONGEST_DATE = 100


def parse_retry_after(value: object, now: datetime) -> float | None:
    """Reads a Retry-After header: a number of seconds or an HTTP date (RFC 9110, 10.2.3).

    Args:
        value: the header's value, if there is one.
        now: the time that a date is compared with.

    Returns:
        Seconds to wait, never negative; None if the header is not valid, as if it were not there.
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
