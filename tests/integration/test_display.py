"""What people see of a run over HTTP, and without the optional packages."""

import re
from io import StringIO

from llama_index.core.base.llms.types import ChatMessage
from rich.console import Console

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    moa,
)
from llama_index.packs.mixture_of_agents.display.terminal import live
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

HOSTILE = "<script>alert(1)</script> [red]x[/red] \x1b[2J\x1b]0;owned\x07 &amp; </div>"
ASKED = [ChatMessage(role="user", content=f"What is {HOSTILE}?")]


def cells(summary: str, start: str) -> list[str]:
    (line,) = (line for line in summary.splitlines() if line.startswith(start))
    return re.split(r"\s{2,}", line.strip())


def test_the_summary_has_a_line_for_each_call_and_a_total(providers: SimulatedProviders):
    providers.configure("gpt-4.1-mini", input_tokens=1000, output_tokens=100, script=[failure(500)])
    providers.configure("gpt-4.1", input_tokens=2000, output_tokens=200, reasoning_tokens=50)
    recipe = moa(
        [providers.openai("gpt-4.1-mini")],
        providers.openai("gpt-4.1"),
        layers=1,
        call=CallPolicy(backoff=0),
        prices={"gpt-4.1-mini": (1, 10), "gpt-4.1": (2, 20)},
    )
    result = MixtureOfAgents(recipe).chat(ASKED).additional_kwargs["mixture"]
    summary = result.summary()
    layer, aggregator, total = (cells(summary, x) for x in ("layer 1", "aggregator", "total"))
    assert layer[0:2] + layer[3:] == [
        "layer 1",
        "gpt-4.1-mini",
        "1,000",
        "100",
        "0.00200",
        "2 attempts",
    ]
    assert aggregator[3:] == ["2,000", "200", "0.00800"]
    assert total[2:] == ["3,000", "300", "0.01000"]
    assert "Answered by gpt-4.1; 3 requests." in summary
    assert "50 of the output tokens were reasoning." in summary
    assert max(map(len, summary.splitlines())) <= 80


def test_the_summary_needs_no_optional_package():
    import subprocess
    import sys

    code = """
import sys
sys.modules["rich"] = sys.modules["plotly"] = sys.modules["genai_prices"] = None
from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM
from llama_index.core.base.llms.types import ChatMessage
llm = MixtureOfAgents(moa([ScriptedLLM()], ScriptedLLM()))
result = llm.chat([ChatMessage(content="hi")]).additional_kwargs["mixture"]
assert "total" in result.summary() and "total" in result._repr_html_()
try:
    result.timeline()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "llama-index-packs-mixture-of-agents[plot]" in done.stdout


def test_the_live_view_shows_calls_as_they_end_and_the_answer(providers: SimulatedProviders):
    providers.configure("gpt-4.1-mini", reply="a proposal", script=[failure(503)])
    providers.configure("gpt-4.1", reply="the final answer", output_tokens=77)
    recipe = moa(
        [providers.openai("gpt-4.1-mini"), ScriptedLLM(ValueError("no"), model="bad")],
        providers.openai("gpt-4.1"),
        layers=1,
        call=CallPolicy(backoff=0),
    )
    screen = StringIO()
    console = Console(file=screen, width=100, height=40, force_terminal=True, color_system=None)
    llm = MixtureOfAgents(recipe)
    with live(llm, console):
        said = [chunk.delta for chunk in llm.stream_chat([ChatMessage(content="What is it?")])]
    shown = screen.getvalue()
    assert "".join(x or "" for x in said) == "the final answer"
    last = shown[shown.rindex("What is it?") :]
    assert re.search(r"layer 1 +\S +gpt-4.1-mini .* 2 attempts", last)
    assert re.search(r"\S +bad +\d.* failed: error", last)
    assert re.search(r"aggregator +\S +gpt-4.1 .*> 77 tokens", last)
    assert re.sub(r"\x1b\[\?*\d*\w", "", last).rstrip().endswith("the final answer")
    llm.chat([ChatMessage(content="Another one?")])
    assert "Another one?" not in screen.getvalue(), "it is closed"
