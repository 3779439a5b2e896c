"""``moa demo``: a mixture answers, live, without a key or a network."""

# Not in make_pack, whose source is printed.
# pyright: reportMissingTypeStubs=false

import json
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from .ask import read_question
from .command import UsageError, command, say

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack
    from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

QUESTION = "What is LlamaIndex?"
KEYS = ("OPENAI_API_KEY", "MISTRAL_API_KEY")
REAL = "The models are real: OpenAI and Mistral charge a little for these seven calls."
SIMULATED = (
    "The models are SIMULATED: LlamaIndex's own OpenAI and MistralAI classes talk to a server on this machine. What "
    "the proposers say is text that ships with Python, or a short fact sheet; each of them knows a part of it and is "
    "wrong in places. The aggregator knows nothing but the references that arrive in its prompt."
)
NEXT = (
    "The same with models of your own: set OPENAI_API_KEY, MISTRAL_API_KEY or ANTHROPIC_API_KEY, or start Ollama; then "
    'moa ask "..." and moa chat. moa init writes a file that says which models.'
)


@command
def demo(
    question: Annotated[
        list[str] | None,
        Argument(
            help='The question; by default "What is LlamaIndex?"',
            show_default=False,
        ),
    ] = None,
    real: Annotated[bool, Option("--real", help="Ask the real models, with your keys.")] = False,
) -> None:
    """Watch a mixture answer; no key and no network needed."""
    asked = read_question(question or [QUESTION])
    import inspect

    from llama_index.core.base.llms.types import ChatMessage

    from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

    from .loop import Loop
    from .printing import answer
    from .screen import Screen

    missing = [key for key in KEYS if not os.environ.get(key)]
    if real and missing:
        raise UsageError(f"--real needs {' and '.join(missing)} in the environment.")
    with ExitStack() as running:
        if not real:
            use(running.enter_context(SimulatedProviders()))
        say(f"{REAL if real else SIMULATED}\n\n")
        text = json.dumps(asked, ensure_ascii=False)  # a string of Python's too
        code = f"{inspect.getsource(make_pack)}\n\nmake_pack().run({text})\n"
        print(code, file=sys.stderr)
        mixture, screen = make_pack().llm, Screen()
        running.enter_context(mixture.listen(screen.show_beginnings))
        loop = running.enter_context(Loop())
        result = loop.run(answer(mixture, [ChatMessage(role="user", content=asked)], screen))
        say("")
        screen.show(result)
        say(f"\n{NEXT}")


def make_pack() -> "MixtureOfAgentsPack":
    """The mixture of the README."""
    from llama_index.llms.mistralai import MistralAI
    from llama_index.llms.openai import OpenAI

    from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack

    return MixtureOfAgentsPack(
        llm=OpenAI(model="gpt-4.1"),  # aggregator
        reference_llm=[  # proposers
            OpenAI(model="gpt-4.1-mini"),
            MistralAI(model="mistral-small-latest"),
        ],
    )


def use(providers: "SimulatedProviders") -> None:
    """Point LlamaIndex's classes at simulated providers, which take about as long as real ones.

    Args:
        providers: The simulated providers.
    """
    os.environ.update(providers.environment, NO_PROXY="127.0.0.1")
    providers.configure("gpt-4.1-mini", latency=0.5, latency_sigma=0.3)
    providers.configure("mistral-small-latest", latency=0.8, latency_sigma=0.3)
    providers.configure("gpt-4.1", first_token=0.5, per_token=0.01)
