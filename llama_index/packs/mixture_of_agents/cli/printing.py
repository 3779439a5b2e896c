"""A mixture's answer to a conversation, printed as it arrives."""

import logging
import re
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from rich.cells import cell_len

from llama_index.packs.mixture_of_agents.llm import RESULT_KEY, MixtureOfAgents
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .screen import Screen


def conversation(system: str | None, question: str) -> list[ChatMessage]:
    """Make the messages of a question, with a system prompt if there is one."""
    before = [ChatMessage(role="system", content=system)] if system else []
    return [*before, ChatMessage(role="user", content=question)]


async def answer(
    mixture: MixtureOfAgents,
    messages: Sequence[ChatMessage],
    screen: Screen,
    *,
    write: bool = True,
    on_piece: Callable[[str], object] = lambda _: None,
) -> MixtureResult:
    """Ask a mixture, and print its answer to standard output piece by piece.

    Args:
        mixture: The mixture.
        messages: The conversation.
        screen: Shows the run.
        write: Whether to print the answer.
        on_piece: Receives each piece of the answer.

    Returns:
        The run's result.

    Raises:
        RunError: There is no answer.
    """
    result: MixtureResult | None = None
    with Writer() as writer, screen.watching(mixture), _degradation_shown_here():
        stream = await mixture.astream_chat(messages)
        async with aclosing(stream):
            async for chunk in stream:
                carried: Any = chunk.additional_kwargs  # type: ignore[reportUnknownMemberType]
                result = carried.get(RESULT_KEY, result)
                if chunk.delta:
                    on_piece(chunk.delta)
                    if write:
                        screen.clear()
                        writer.write(chunk.delta)
    assert result is not None, "the last chunk carries the result"
    return result


@contextmanager
def _degradation_shown_here() -> Generator[None, None, None]:
    """Keep the library from logging that a run is degraded: the screen shows it."""
    log = logging.getLogger("llama_index.packs.mixture_of_agents")
    log.addFilter(_drop)
    try:
        yield
    finally:
        log.removeFilter(_drop)


def _drop(_: logging.LogRecord) -> bool:
    return False


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PARTS = re.compile(r"\n|[^\S\n]+|\S+")


class Writer:
    """Prints the pieces of an answer as they arrive, and ends the last line. A context manager.

    A terminal gets them without control characters, so that a model cannot steer it, and with lines broken between
    words except in code. A file or a pipe gets them unchanged.
    """

    def __init__(self) -> None:
        self._out = sys.stdout  # a live view puts something else there while it is shown
        self._terminal = self._out.isatty()
        self._width = shutil.get_terminal_size().columns
        self._line = ""
        self._column = 0
        self._in_code = False

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._line:
            print(file=self._out, flush=True)

    def write(self, text: str) -> None:
        """Print a piece of the answer at once.

        Args:
            text: The piece.
        """
        parts = (
            _PARTS.findall(_CONTROL.sub("", text))
            if self._terminal
            else text.splitlines(keepends=True)
        )
        for part in parts:
            print(self._broken(part) if self._terminal else part, end="", file=self._out)
            self._line = "" if part.endswith("\n") else self._line + part
        self._out.flush()

    def _broken(self, part: str) -> str:
        """Break the line at a word, a space or a line's end that has no room.

        Args:
            part: The word, the spaces or the line's end.

        Returns:
            The part, with a line's end before a word, or a line's end in place of spaces.
        """
        if part == "\n":
            self._in_code ^= self._line.lstrip().startswith("```")
            self._column = 0
            return part
        length, room = cell_len(part), self._width - self._column
        if length > room and not self._in_code:
            if part.isspace():  # it would begin the next line
                self._column = 0
                return "\n"
            # The rest of a word whose beginning is already printed stays beside it.
            begins = self._line[-1:].isspace()
            if begins and length <= self._width:
                self._column = length
                return f"\n{part}"
        # A line that is exactly full ends when the next part comes.
        self._column = (self._column + length - 1) % self._width + 1
        return part
