"""Reads providers' environment variables, and explains failures that wrong ones cause."""

import ipaddress
import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from llama_index.packs.mixture_of_agents.errors import ConfigError

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_BAD_HEADER = (
    "illegal header value",  # h11
    "invalid header value",  # http.client
    "detected in headers",  # aiohttp
    "in header value",  # requests
)
_BAD_PROXY = ("unknown scheme for proxy", "using socks proxy", "invalid proxy url")
_UNTRUSTED = "certificate_verify_failed"
_NO_KEY = {
    "or set the `openai_api_key`": "OPENAI_API_KEY",
    "api_key client option must be set": "OPENAI_API_KEY",
    "could not resolve authentication method": "ANTHROPIC_API_KEY",
}
"""The words of an SDK without a key, and the environment variable that it reads."""


def problem_of_environment(chain: Sequence[BaseException], secrets: Iterable[str]) -> str | None:
    """Describe a failure that this machine's set-up causes. Another attempt cannot help.

    Args:
        chain: the exception and its causes.
        secrets: the LLM's keys. The text names the variable that holds one of them, never the key.

    Returns:
        The problem, its variable and the remedy; None for any other failure.
    """
    words = " ".join(_words(error) for error in chain).lower()
    if any(bad in words for bad in _BAD_HEADER) or any(map(_is_of_header, chain)):
        return (
            f"{_variable_of(secrets)} has a character that cannot be sent in a header, often a line end or a blank "
            "that was copied with it: set it again"
        )
    for text, variable in _NO_KEY.items():
        if text in words:
            return no_key(variable)
    if any(bad in words for bad in _BAD_PROXY):
        return (
            f"{_proxy_variable()} names a proxy that cannot be used: write http://host:port, or socks5://host:port "
            "after pip install 'httpx[socks]', or unset it"
        )
    missing = _missing_certificates()
    if missing and any(isinstance(error, (FileNotFoundError, ssl.SSLError)) for error in chain):
        return f"{missing} names no file of certificates: correct it or unset it"
    if _UNTRUSTED in words:
        return (
            "the server's certificate is not trusted; if your organisation signed it, set SSL_CERT_FILE to the file "
            "of its certificates"
        )
    return None


def no_key(variable: str) -> str:
    """The text of an error: an environment variable with a key is missing."""
    return (
        f"there is no key: the environment has no {variable}; set it, as in: export {variable}=..."
    )


def _words(error: BaseException) -> str:
    try:
        return str(error)[:1_000]
    except Exception:  # noqa: BLE001  # an integration's exception may fail to describe itself
        return ""


def _is_of_header(error: BaseException) -> bool:
    """Whether a header could not be encoded. A body would be encoded as UTF-8."""
    return isinstance(error, UnicodeEncodeError) and error.encoding in ("ascii", "latin-1")


def _variable_of(secrets: Iterable[str]) -> str:
    known = {secret.strip() for secret in secrets}
    held = (name for name, value in os.environ.items() if value.strip() in known)
    return next(held, "the key or a header of this model")


def _proxy_variable() -> str:
    names = [name for upper in _PROXIES for name in (upper, upper.lower())]
    scheme = {name: os.environ.get(name, "").partition("://")[0].lower() for name in names}
    wrong = (name for name in names if scheme[name] not in ("", "http", "https"))
    return next(wrong, "ALL_PROXY, HTTPS_PROXY or HTTP_PROXY")


def _missing_certificates() -> str:
    found = ((name, os.environ.get(name)) for name in _CERTIFICATES)
    return next((name for name, path in found if path and not Path(path).exists()), "")


def ollama_address(environment: Mapping[str, str] = os.environ) -> str:
    """Read the address of the local Ollama from ``OLLAMA_HOST``, as Ollama's own client does.

    The scheme, the port or the host may be missing. An address that means "all interfaces" to a server becomes this
    machine's own address.

    Args:
        environment: the environment variables.

    Returns:
        The address, with scheme, host and port.

    Raises:
        ConfigError: the variable holds no address.
    """
    host = environment.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme, colon, rest = host.partition("://")
    if not colon:
        scheme, rest = "http", host
    usual = {"http": 80, "https": 443} if colon else {}
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or usual.get(scheme, 11434)
    except ValueError:  # whose text may repeat a password
        problem = "its host or its port cannot be read; write it as in gpu-box:11434"
        raise ConfigError(f"OLLAMA_HOST is no address: {problem}") from None
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104
        parts.hostname or "", parts.hostname
    )
    shown = f"[{name}]" if _is_ipv6(str(name)) else name
    return f"{scheme}://{shown}:{port}{parts.path.rstrip('/')}"


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
