"""The page that shows an evaluation."""

import re

import pytest

from llama_index.packs.mixture_of_agents import moa
from llama_index.packs.mixture_of_agents.evaluation import evaluate
from llama_index.packs.mixture_of_agents.evaluation.web_report import label_sides, pareto
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

QUESTIONS = [{"question": f"{n} <b>?", "answer": "1" if n % 3 else "2"} for n in range(12)]
PRICES = {"one": (1, 1), "two": (2, 2), "writer": (5, 5)}


@pytest.fixture(scope="module")
def page():
    members = [ScriptedLLM("1", model="one"), ScriptedLLM("2<script>", model="two")]
    recipe = moa(members, ScriptedLLM("2", model="writer"), layers=1, prices=PRICES)
    return evaluate(recipe, QUESTIONS, "exact", equal="calls").to_html()


def test_the_page_asks_nobody_outside_and_holds_plotly_once(page):
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    assert page.count("plotly.js v") == 1
    assert page.count('class="plotly-graph-div"') == 3


def test_the_page_shows_every_arm_and_pair_and_the_conclusion(page):
    own = page[page.index("</style>") :]
    for words in ("writer", "one, vote of 3", "oracle of the members", "p (Holm)", "<h1>Use "):
        assert words in own
    assert "Where the mixture lost against" in own
    assert "layer 1, one" in own


def test_what_models_and_users_wrote_is_escaped(page):
    assert "2<script>" not in page
    assert "2&lt;script&gt;" in page
    assert "0 &lt;b&gt;?" in page


def test_the_page_is_light_or_dark_as_the_reader_wants_it_and_prints_light(page):
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_on_the_pareto_front_is_what_no_other_beats_in_cost_and_quality():
    assert pareto([(3, 9), (1, 5), (2, 4), (1, 6), (4, 9)]) == [(1, 6), (3, 9)]
    assert pareto([]) == []


def test_labels_stand_towards_the_middle_so_that_none_is_cut_off():
    assert label_sides([0.0, 1.0, 0.4]) == ["top right", "top left", "top right"]
    assert label_sides([]) == []


def test_no_difference_has_no_sign(page):
    assert "0.0" in page
    signed = re.findall(r"[>\"]([+-]0\.0)[ <\"]", page[page.index("<h1>") :])
    assert signed == []
