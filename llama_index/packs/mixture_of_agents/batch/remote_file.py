"""Files at an address (``s3://``, ``gs://``, ``hf://``, ``https://``, ...), through fsspec and what the user has installed."""

import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from llama_index.packs.mixture_of_agents._providers.redaction import redact, secrets_in_url
from llama_index.packs.mixture_of_agents.errors import BatchError


class RemoteFile:
    """A file at an address. It has the few methods of ``Path`` that the readers of questions need.

    Its text has neither a login nor a query, which may hold a signature.

    Args:
        url: The address.
    """

    def __init__(self, url: str) -> None:
        self._url, parts = url, urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        self.name = PurePosixPath(parts.path or place).name
        self._shown = f"{parts.scheme}://{place}{parts.path}"

    @property
    def suffix(self) -> str:
        """The end of its name, with the dot."""
        return PurePosixPath(self.name).suffix

    def __str__(self) -> str:
        return self._shown

    def open(self, mode: str = "rb") -> BufferedReader:
        """Open it for reading, as bytes.

        Raises:
            BatchError: It cannot be read; the message says why.
            ImportError: The package for such addresses is not installed; the message names it.
            OSError: It cannot be read.
        """
        with self._explained("read"):
            return BufferedReader(self._opened(mode).open())

    def receive(self, path: Path) -> None:
        """Write a file of this machine there, in place of what is there.

        Raises:
            BatchError: It cannot be written; the message says why.
            ImportError: The package for such addresses is not installed; the message names it.
            OSError: It cannot be written.
        """
        with (
            self._explained("written"),
            path.open("rb") as source,
            self._opened("wb") as target,
        ):
            shutil.copyfileobj(source, target, 2**20)

    def _opened(self, mode: str) -> Any:
        return import_module("fsspec").open(self._url, mode)  # LlamaIndex brings it

    @contextmanager
    def _explained(self, done: str) -> Generator[None, None, None]:
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(f"{self}: there is no such file") from None
        except (OSError, ImportError):
            raise
        except Exception as error:  # noqa: BLE001 - each package has errors of its own
            why = redact(str(error), [self._url, *secrets_in_url(self._url)])
            raise BatchError(
                f"{self}: it cannot be {done} ({type(error).__name__}: {why})"
            ) from None


def is_remote(place: object) -> bool:
    """Whether this is the address of a file, and not a path."""
    return isinstance(place, str) and re.match(r"[a-z][a-z0-9+.:-]*://", place) is not None
