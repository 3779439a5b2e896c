"""What people look at: the table, the terminal, the notebook, the timeline, the diagram."""

import re
from html.parser import HTMLParser
from io import StringIO

import pytest
from llama_index.core.base.llms.types import ChatMessage
from members import AT_ONCE
from rich.console import Console

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    Recipe,
    moa,
)
from llama_index.packs.mixture_of_agents.display.mermaid import mermaid
from llama_index.packs.mixture_of_agents.display.terminal import live, table
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

HOSTILE = "<script>alert(1)</script> [red]x[/red] \x1b[2J\x1b]0;owned\x07 &amp; </div>"
ASKED = [ChatMessage(role="user", content=f"What is {HOSTILE}?")]


def hostile_mixture(**policies) -> MixtureOfAgents:
    """Everything in it that a person or a model wrote is meant to break what shows it."""
    proposers = [
        Proposer(ScriptedLLM(HOSTILE), name="<b>one</b>"),
        Proposer(ScriptedLLM(ValueError(HOSTILE)), name="two\x1b[31m"),
    ]
    return MixtureOfAgents(moa(proposers, ScriptedLLM(HOSTILE, model="boss"), layers=1, **policies))


@pytest.fixture
def hostile() -> MixtureResult:
    return hostile_mixture().chat(ASKED).additional_kwargs["mixture"]


def test_a_models_words_do_not_steer_the_terminal(hostile: MixtureResult):
    screen = StringIO()
    Console(file=screen, width=200, force_terminal=False).print(hostile)
    for shown in (hostile.summary(), screen.getvalue()):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", shown)
        assert "two[31m" in shown
    assert "[red]x[/red]" in screen.getvalue(), "rich's own markup is not obeyed"


class Tags(HTMLParser):
    """Counts what an HTML parser sees in a text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.seen.append(tag)
        if tag not in ("hr", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_safe_against_what_models_write_and_needs_nothing_from_elsewhere(
    hostile: MixtureResult,
):
    html = hostile._repr_html_()
    tags = Tags(html)
    assert not tags.open
    assert "script" not in tags.seen
    assert "b" not in tags.seen
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4, (
        "question, answer, proposal, failure"
    )
    assert not re.search(r"https?:|src=|href=|url\(|@import", html)
    assert tags.seen.count("details") == 2


def test_html_is_light_or_dark_as_its_surroundings(hostile: MixtureResult):
    html = hostile._repr_html_()
    assert "prefers-color-scheme:dark" in html
    assert 'data-jp-theme-light="false"' in html


def test_the_live_view_tells_why_there_is_no_answer():
    screen = StringIO()
    llm = MixtureOfAgents(moa([ScriptedLLM(ValueError("no"))], ScriptedLLM(), call=AT_ONCE))
    with (
        live(llm, Console(file=screen, width=100)),
        pytest.raises(Exception, match="needed 1 of 1"),
    ):
        llm.chat(ASKED)
    assert "No answer: layer 1 needed 1 of 1 proposals and got 0" in screen.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_cuts_no_number(hostile: MixtureResult, width: int):
    screen = StringIO()
    Console(file=screen, width=width).print(table(hostile))
    head, *lines = screen.getvalue().splitlines()
    assert "\u2026" not in screen.getvalue()
    total = next(line for line in lines if line.startswith("total")).split()
    assert ("tokens in" in head) == (width == 80)
    assert total[1] == f"{hostile.elapsed:.2f}"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_each_call_has_one_line_of_the_live_view(width: int):
    screen = StringIO()
    with live(llm := hostile_mixture(), Console(file=screen, width=width), answer=False):
        list(llm.stream_chat(ASKED))
    calls = screen.getvalue().splitlines()[1:]
    assert len(calls) == len([line for line in calls if re.search(r"\d\.\d s", line)]) == 3


def test_the_live_view_is_safe_too():
    screen = StringIO()
    with live(llm := hostile_mixture(), Console(file=screen, width=200)):
        list(llm.stream_chat(ASKED))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", screen.getvalue())


def test_the_timeline_has_a_bar_for_each_call_and_marks_what_held_a_layer_up(
    hostile: MixtureResult,
):
    figure = hostile.timeline()
    bars = {bar.name: bar for bar in figure.data}
    assert set(bars) == {"proposer", "aggregator", "failed", "slowest of its layer"}
    (proposer, aggregator) = bars["proposer"], bars["aggregator"]
    call = hostile.calls[0]
    assert (proposer.base[0], proposer.x[0]) == (call.started, call.elapsed)
    edges = bars["slowest of its layer"]
    assert list(edges.base) == [hostile.critical_path[0].started]
    assert edges.y[0] != aggregator.y[0]
    assert edges.marker.line.width == 3
    assert "<script>" not in figure.to_json()
    assert aggregator.y[0].startswith("aggregator: boss")


def test_a_recipe_is_drawn_as_a_flowchart():
    recipe = Recipe(
        (
            Layer(
                (
                    Proposer(ScriptedLLM(model="m1"), name="sceptic"),
                    Proposer(ScriptedLLM(model='m"2]; x'), samples=3),
                ),
                quorum=2,
                grace=1.5,
            ),
        ),
        Aggregator(ScriptedLLM(model="boss")),
        fallbacks=(Aggregator(ScriptedLLM(model="deputy")),),
    )
    assert mermaid(recipe) == (
        """flowchart TB
    question(["question"])
    subgraph layer1 ["layer 1"]
        direction LR
        p1_1["sceptic (m1)"]
        p1_2["m#34;2#93;#59; x x 3"]
    end
    question --> layer1
    s1_1{{"first 2 of 4, then 1.5 s more"}}
    layer1 --> s1_1
    aggregator["aggregator<br/>boss"]
    s1_1 -->|references| aggregator
    f1["fallback<br/>deputy"]
    aggregator -.->|fails| f1
    answer(["answer"])
    aggregator & f1 --> answer
"""
    )


def test_the_live_view_keeps_one_run_after_the_other_on_the_screen():
    screen = StringIO()
    llm = MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("first answer", "second answer")))
    with live(llm, Console(file=screen, width=100, height=12, force_terminal=True)):
        for question in ("one?", "two?"):
            list(llm.stream_chat([ChatMessage(content=question)]))
    shown = screen.getvalue()
    assert shown.index("one?") < shown.index("first answer") < shown.index("two?")
    assert shown.count("second answer") >= 1
    assert shown.rindex("first answer") < shown.index("two?"), "it is not drawn again and again"
