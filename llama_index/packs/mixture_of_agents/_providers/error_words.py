"""Numbers in the words of an error: when to come back, how many tokens a model takes. Pure."""

import re

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


_WINDOW = re.compile(
    r"(?:(?:context (?:length|window|size|limit)|maximum prompt length)(?: is| of|:)? ?\(?|> ?|tokens allowed \(|model with )"
    r"(\d{3,8})\b(?! \+)",
    re.IGNORECASE,
)
"""llama.cpp's "available context size (512 tokens)", OpenAI's and vLLM's "maximum context length is 8192 tokens",
Anthropic's "210000 tokens > 200000 maximum" and "context limit: 190000 + 20000 > 200000", Google's "maximum number of
tokens allowed (1048576)", Mistral's "too large for model with 32768 maximum context length", xAI's "maximum prompt length
is 131072"."""


def window_in_words(text: str) -> int | None:
    """Reads a model's context window from the text of an error that refuses a conversation as too long.

    Args:
        text: the text; its caller has bounded its length.

    Returns:
        The window in tokens; None if the text does not say.
    """
    found = _WINDOW.search(text)
    return int(found[1]) if found else None
