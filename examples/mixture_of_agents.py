"""The README's example, live in the terminal: `make demo`, or `make demo ARGS=--real`.

Without keys the same code talks to simulated OpenAI and Mistral servers on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import itertools
import os
import re
import shutil
import sys
import textwrap
import time
from contextlib import ExitStack, aclosing

from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack, MixtureResult, RunError
from llama_index.packs.mixture_of_agents.calls import Caller
from llama_index.packs.mixture_of_agents.events import (
    AnswerDelta,
    CallFinished,
    CallStarted,
    LayerFinished,
    LayerStarted,
)
from llama_index.packs.mixture_of_agents.runner import Finished, Happening, Job
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

KEYS = ("OPENAI_API_KEY", "MISTRAL_API_KEY")
REAL = "The models are real: OpenAI and Mistral charge a little for these calls."
SIMULATED = (
    "The models are SIMULATED: LlamaIndex's own OpenAI and MistralAI classes talk to a server on "
    "this machine. What the proposers say is text that ships with Python, or a short fact sheet; "
    "each of them knows a part of it and is wrong in places. The aggregator knows nothing but the "
    "references that arrive in its prompt."
)


def make_pack() -> MixtureOfAgentsPack:
    """The mixture of the README."""
    return MixtureOfAgentsPack(
        llm=OpenAI(model="gpt-4.1"),  # aggregator
        reference_llm=[  # proposers
            OpenAI(model="gpt-4.1-mini"),
            MistralAI(model="mistral-small-latest"),
        ],
    )


def happening(pack: MixtureOfAgentsPack, question: str) -> Happening:
    """Every event of the run as it happens; `pack.astream(question)` gives the answer's alone."""
    recipe = pack.llm.recipe
    return Happening(Job(recipe, Caller(recipe), [ChatMessage(content=question)], stream=True))


async def show(pack: MixtureOfAgentsPack, question: str, screen: Screen) -> MixtureResult:
    """Run the pack and show each event as it comes."""
    clock = asyncio.create_task(screen.tick())
    references = 0
    try:
        async with aclosing(happening(pack, question)) as run:
            async for event in run:
                match event:
                    case LayerStarted():
                        read = "with references" if references else "from the question alone"
                        screen.title(f"Layer {event.layer}", f"the proposers answer {read}")
                    case CallStarted():
                        if event.role == "aggregator":
                            about = f"writes the answer from {references} references"
                            screen.title(f"Aggregator {event.agent}", about)
                        screen.wait_for(event.agent)
                    case CallFinished():
                        screen.answered(event)
                    case LayerFinished():
                        references = len(event.references)
                    case AnswerDelta():
                        screen.stream(event.text)
                    case Finished():
                        return event.result
                    case _:
                        pass
    finally:
        clock.cancel()
        screen.erase()
    raise AssertionError("unreachable: a run finishes or raises")


class Screen:
    """A plain terminal; colours and a line that moves only where there is one."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.coloured = self.live and not os.environ.get("NO_COLOR")
        self.width = min(shutil.get_terminal_size().columns, 100) - 1
        self.column = 0
        self.waiting: dict[str, float] = {}

    def paint(self, style: int, text: str) -> str:
        return f"\033[{style}m{text}\033[0m" if self.coloured else text

    def title(self, name: str, about: str) -> None:
        print(f"\n{self.paint(1, name)}  {self.paint(2, about)}")

    def text(self, text: str, indent: str = "") -> None:
        print(textwrap.fill(text, self.width, initial_indent=indent, subsequent_indent=indent))

    def wait_for(self, agent: str) -> None:
        self.waiting[agent] = time.monotonic()

    async def tick(self) -> None:
        """Turn the line that says who has not answered yet."""
        for mark in itertools.cycle("|/-\\"):
            if self.live and self.waiting:
                seconds = time.monotonic() - min(self.waiting.values())
                line = f"  {mark} {seconds:4.1f} s  waiting for {', '.join(self.waiting)}"
                print(end=f"\r{line[: self.width]}\033[K", flush=True)
            await asyncio.sleep(0.1)

    def erase(self) -> None:
        if self.live:
            print(end="\r\033[K", flush=True)

    def answered(self, call: CallFinished) -> None:
        self.waiting.pop(call.agent, None)
        if self.column:  # it has streamed
            print("\n")
            return
        self.erase()
        mark, said = ("+", call.proposals[0].text) if call.proposals else ("x", str(call.failure))
        print(f"  {mark} {call.elapsed:4.1f} s  {call.agent}")
        begins = textwrap.wrap(
            said, self.width - 11, max_lines=2, placeholder=" ...", break_on_hyphens=False
        )
        print(self.paint(2, textwrap.indent("\n".join(begins), " " * 11)))

    def stream(self, piece: str) -> None:
        """A piece of the answer, broken between words."""
        if piece and self.waiting:
            self.erase()
            self.waiting.clear()
            print()
        for part in re.findall(r"\n|[^\S\n]+|\S+", piece):
            text = part
            if part != "\n" and self.column + len(part) > self.width:
                text = f"\n{part.lstrip()}"
            self.column = len(text) - 1 if text[0] == "\n" else self.column + len(text)
            print(end=text, flush=True)


def summary(result: MixtureResult) -> str:
    """What the run took, in one paragraph."""
    usage, layers = result.usage, len(result.layers) - 1
    told = (
        f"{len(result.calls)} calls in {result.elapsed:.1f} s: {layers} layers of proposers, one "
        f"after the other, and {result.answered_by}. {usage.input_tokens:,} tokens in, "
        f"{usage.output_tokens:,} out."
    )
    failed = [f"{failure}" for failure in result.failures]
    return told + (f" Failed: {'; '.join(failed)}." if failed else "")


def use_real_models(asked: bool | None, parser: argparse.ArgumentParser) -> bool:
    """Whether to ask the real models: as told, or as answered, and never without both keys."""
    missing = [key for key in KEYS if not os.environ.get(key)]
    if asked and missing:
        parser.error(f"--real needs {' and '.join(missing)} in the environment")
    if asked is None and not missing and sys.stdin.isatty():
        print(f"{' and '.join(KEYS)} are set.")
        return input("Ask the real models (7 calls)? [y/N] ").strip().lower() in {"y", "yes"}
    return bool(asked)


def main() -> None:
    """Ask the mixture one question."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("question", nargs="?", default="What is LlamaIndex?")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--real", action="store_true", default=None, help="ask the real models")
    models.add_argument("--simulated", action="store_false", dest="real", help="no key, no network")
    asked = parser.parse_args()

    screen = Screen()
    with ExitStack() as running:
        real = use_real_models(asked.real, parser)
        if not real:
            providers = running.enter_context(SimulatedProviders())
            os.environ.update(providers.environment, NO_PROXY="127.0.0.1")
            providers.configure("gpt-4.1-mini", latency=0.5, latency_sigma=0.3)
            providers.configure("mistral-small-latest", latency=0.8, latency_sigma=0.3)
            providers.configure("gpt-4.1", first_token=0.5, per_token=0.01)
        screen.title("Mixture of Agents", "arXiv 2406.04692")
        screen.text(REAL if real else SIMULATED)
        print(f"\n{screen.paint(2, inspect.getsource(make_pack))}")
        print(f"{screen.paint(1, 'Question')}  {asked.question}")
        result = asyncio.run(show(make_pack(), asked.question, screen))
        screen.text(summary(result))


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"\nNo answer. {error}")
    except KeyboardInterrupt:
        sys.exit(130)
