"""Takes secrets out of text: known keys in every form that may come back, and text that looks like a key."""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit

SECRET = re.compile(r"api_?key|access_?key|token(?!s|izer)|secret|password|headers", re.IGNORECASE)
"""Names of secret settings. Their values are never written, and never read literally from a file."""
_SECRET_PARAMETER = re.compile(
    r"^(?:key|sig|signature|code|auth)$|[-_]key$|api_?key|token|secret|password", re.IGNORECASE
)
"""Names of secret parameters in a URL's query."""
_SHORTEST = 4
"""Characters. A shorter "secret" would blank out ordinary words."""

# Every alternative takes linear time: no repetition can share a character with the one before it.
# It is compiled at its first use, as that takes a millisecond.
_SUSPICIOUS = (
    r"(?i)"
    r"(?P<url>(?<=://)[^/\s@?#]+(?=@))"
    r"|(?P<bearer>(?<=bearer )[^\s'\",}]+)"
    r"|(?P<named>(?<![a-z])(?:api[-_]?key|access[-_]?token|authorization|password|secret)['\"]?\s*[:=]\s*['\"]?"
    r"(?:(?:basic|bearer)\s)?)[^\s'\",}&]+"
    r"|(?P<query>[?&](?:key|token|sig)=)[^\s'\",}&]+"
    r"|(?P<key>\b(?:(?:sk|pk|xai)-[\w*-]{6,}\w|(?:gsk|hf|r8)_\w{8,}|AIza[\w-]{30,}))"
    r"|(?P<incorrect>(?<=api key provided: )[^\s,]+)"
)


MOST = 20_000
"""The number of characters of a text from outside that are searched. The text may have megabytes."""
_UNSURE = 2_000
"""The number of characters that are dropped from the end of a cut text: they may hold a part of a secret."""


def redact(text: str, secrets: Iterable[str] = (), most: int = MOST) -> str:
    """Take keys, bearer tokens and passwords in URLs out of a text.

    Args:
        text: the text.
        secrets: literal secrets. They are also found in base64 (as in ``Basic user:password``), quoted for a URL, and
            escaped as in JSON or in a Python ``repr``.
        most: the number of characters to which the text is cut before the search.

    Returns:
        The text with ``***`` in place of each secret. A text that was cut loses another 2,000 characters at its end.
    """
    searched = text[:most]
    known = _pattern(tuple(secrets))
    if known:
        searched = known.sub("***", searched)
    shown = re.sub(
        _SUSPICIOUS, lambda found: (found["named"] or found["query"] or "") + "***", searched
    )
    return shown[:-_UNSURE] if len(text) > most else shown


@lru_cache(maxsize=256)  # called for each failure with the same few keys
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    found = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
    longest_first = sorted(found, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if found else None


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    for quoted in (quote(secret, "", errors="replace"), quote_plus(secret, errors="replace")):
        yield quoted
        yield re.sub("%..", lambda escape: escape[0].lower(), quoted)
    yield from _in_base64(secret.encode(errors="replace"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """The base64 characters that depend on the secret alone, for each position at which it may begin."""
    for before in range(3):
        encoded = bytes(before) + secret
        first, last = -(-before * 4 // 3), len(encoded) * 4 // 3
        for encode in (b64encode, urlsafe_b64encode):
            form = encode(encoded).decode()[first:last]
            if len(form) >= 2 * _SHORTEST:
                yield form


def secrets_in_url(url: str) -> Iterator[str]:
    """Yield the password and the secret parameters of a URL, quoted and unquoted."""
    try:
        parts = urlsplit(url)
    except ValueError:  # not a URL after all
        return
    login = parts.netloc.rpartition("@")[0]
    yield from (login, unquote(login), unquote(login.partition(":")[2]))
    for name, value in parse_qsl(parts.query):
        if _SECRET_PARAMETER.search(name):
            yield value


def without_secrets(url: str) -> str:
    """Take the user, the password and the secret parameters out of a URL. Other text stays unchanged."""
    if "://" not in url or not any(secrets_in_url(url)):
        return url
    parts = urlsplit(url)
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _SECRET_PARAMETER.search(name)
    ]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=urlencode(query)).geturl()
