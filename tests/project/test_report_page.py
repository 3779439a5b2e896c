"""The report of an evaluation in Debian's Chromium: light and dark, on a desktop and a phone, and on paper.

Pictures of it are in build/browser.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import PICTURES, chromium, violations
from playwright.sync_api import Browser, Page

from llama_index.packs.mixture_of_agents import moa
from llama_index.packs.mixture_of_agents.evaluation import evaluate
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SIZES: dict[str, Any] = {
    "desktop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
PAPER: Any = {"width": 718, "height": 1000}  # A4 less its margins


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def adder(model: str, wrong: range) -> ScriptedLLM:
    """A model that adds one, except to some numbers."""

    def reply(messages: Any) -> str:
        number = int(messages[-1].content.split()[0])
        return str(number + (2 if number in wrong else 1))

    return ScriptedLLM(reply, model=model, usage=(80, 160))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report in which the mixture wins and loses."""
    recipe = moa(
        [adder("a-model-with-a-long-name", range(20)), adder("calm", range(10, 35))],
        adder("chief", range(5)), layers=1,
        prices={"a-model-with-a-long-name": (1, 1), "calm": (1, 1), "chief": (5, 5)},
    )  # fmt: skip
    questions = [{"question": f"{n} + 1?", "answer": n + 1} for n in range(40)]
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(evaluate(recipe, questions, "number").to_html(), "utf-8")
    return page.as_uri()


def opened(browser: Browser, address: str, **settings: Any) -> tuple[Page, list[str]]:
    """The report when it is drawn, and what it has complained of or asked for."""
    page, noise = browser.new_page(**settings), list[str]()
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", lambda request: noise.append(request.url))
    page.goto(address)
    drawn = "[...document.querySelectorAll('.figure')].every(one => one.querySelector('.xtick'))"
    page.wait_for_function(drawn, timeout=120_000)
    noise.remove(address)
    return page, noise


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_asks_for_nothing_complains_of_nothing_and_axe_finds_nothing(
    browser, report, size, scheme
):
    page, noise = opened(browser, report, viewport=SIZES[size], color_scheme=scheme)
    page.screenshot(path=PICTURES / f"evaluation-{size}-{scheme}.png", full_page=True)
    assert noise == []
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), "it is wider than the screen"
    assert violations(page) == []
    page.close()


def test_no_label_is_cut_off_on_a_phone(browser, report):
    page, _ = opened(browser, report, viewport=SIZES["phone"])
    cut = """[...document.querySelectorAll('.figure text')].filter(one =>
        one.getBoundingClientRect().right > innerWidth || one.getBoundingClientRect().left < 0)
        .map(one => one.textContent)"""
    assert page.evaluate(cut) == []
    page.close()


def test_on_paper_no_table_is_cut_and_no_figure_is_split(browser, report):
    page, _ = opened(browser, report, viewport=PAPER, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    wide = "[...document.querySelectorAll('.scroll')].map(one => one.scrollWidth - one.clientWidth)"
    assert max(page.evaluate(wide)) <= 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.pdf(path=PICTURES / "evaluation.pdf", format="A4", print_background=True)
    assert len(re.findall(rb"/Type */Page\b", printed)) >= 2
    page.close()
