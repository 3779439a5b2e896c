"""A conversation with a mixture, and the commands in it."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents.config import model_of
from llama_index.packs.mixture_of_agents.errors import ConfigError, RunError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.recipe import Aggregator, Recipe
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .command import explain, say, tracing
from .loop import Loop
from .printing import answer
from .screen import Screen


class Talk:
    """A conversation.

    Args:
        recipe: The recipe that answers.
        loop: The event loop.
        system: A system prompt.
        trace: A file to append each run to.
    """

    def __init__(
        self, recipe: Recipe, loop: Loop, system: str | None = None, trace: Path | None = None
    ) -> None:
        self.loop, self.screen = loop, Screen()
        self.system = [ChatMessage(role="system", content=system)] if system else []
        self.messages, self.trace = list(self.system), trace
        self.results: list[MixtureResult] = []
        self.mixture = MixtureOfAgents(recipe)

    @property
    def recipe(self) -> Recipe:
        """The recipe that answers."""
        return self.mixture.recipe

    def handle(self, line: str) -> bool:
        """Answer a question, or carry out a command.

        Args:
            line: The user's input; a command begins with "/".

        Returns:
            Whether the conversation goes on.
        """
        if not line.strip():
            return True
        if not line.startswith("/"):
            self.ask(line)
            return True
        name, *words = _words(line[1:])
        if name in LEAVE:
            return False
        run = COMMANDS.get(name)
        if run is None:
            near = get_close_matches(name, [*COMMANDS, *LEAVE], 1)
            say(
                f"There is no /{name}. "
                + (f"Did you mean /{near[0]}?" if near else "/help lists what there is.")
            )
        else:
            try:
                run(self, words)
            except (ConfigError, OSError) as error:
                say(str(error))
        return True

    def ask(self, question: str) -> None:
        """Answer a question. An answer that is stopped stays in the conversation; a question that fails does not."""
        self.messages.append(ChatMessage(role="user", content=question))
        pieces: list[str] = []
        try:
            with tracing(self.mixture, self.trace):
                result = self.loop.run(
                    answer(self.mixture, self.messages, self.screen, on_piece=pieces.append)
                )
        except RunError as error:
            self.messages.pop()
            say(explain(error))
            return
        except KeyboardInterrupt:
            say("Stopped.")
            if pieces:
                self.messages.append(ChatMessage(role="assistant", content="".join(pieces)))
            else:
                self.messages.pop()
            return
        self.messages.append(result.message or ChatMessage(role="assistant", content=result.answer))
        self.results.append(result)
        self.screen.sum_up([result])

    def layers(self, words: list[str]) -> None:
        """/layers: show the last answer's proposals, layer by layer."""
        del words
        if self.results:
            self.screen.show_proposals(self.results[-1])
        else:
            say("Nothing has been answered yet.")

    def cost(self, words: list[str]) -> None:
        """/cost: show what the conversation has taken so far."""
        del words
        if self.results:
            self.screen.sum_up(self.results)
        else:
            say("Nothing has been answered yet.")

    def save(self, words: list[str]) -> None:
        """/save FILE: save the conversation as Markdown."""
        path = Path(words[0] if words else "conversation.md").expanduser()
        if path.exists():
            say(f"{path} exists already; choose another name: /save FILE")
            return
        parts = [f"## {m.role.value}\n\n{m.content}\n" for m in self.messages]
        path.write_text("\n".join(parts), encoding="utf-8")
        say(f"Written to {path}.")

    def model(self, words: list[str]) -> None:
        """/model [MODEL]: show the models; with a model, let that one write the answers from now on."""
        if words:
            llm = model_of(words[0])
            self.mixture = MixtureOfAgents(replace(self.recipe, aggregator=Aggregator(llm)))
        say(str(self.recipe))

    def new(self, words: list[str]) -> None:
        """/new: forget the conversation and start again."""
        del words
        self.messages = list(self.system)
        say("Forgotten.")

    def help(self, words: list[str]) -> None:
        """/help: show this list."""
        del words
        lines = [str(run.__doc__) for run in COMMANDS.values()]
        say(
            "\n".join(
                [
                    *lines,
                    "/quit: leave; Ctrl-D does too",
                    'A line of """ begins and ends a question of many lines.',
                ]
            )
        )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text) or [""]
    except ValueError:  # an unclosed quote
        return text.split() or [""]


LEAVE = ("quit", "exit")
COMMANDS: dict[str, Callable[[Talk, list[str]], None]] = {
    "layers": Talk.layers,
    "cost": Talk.cost,
    "save": Talk.save,
    "model": Talk.model,
    "new": Talk.new,
    "help": Talk.help,
}
