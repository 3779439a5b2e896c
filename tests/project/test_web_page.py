"""The page of the server in Debian's Chromium: people ask, watch, stop, compare, and open what they asked before.

Pictures of it are in build/browser.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import PICTURES, chromium, violations
from playwright.sync_api import Browser, BrowserContext, Page, expect
from programs import run_python
from served import served

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.presets import vote
from llama_index.packs.mixture_of_agents.simulation import Reply, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
KEY = "a-key-of-this-server"
expect.set_options(timeout=20_000)  # the first run imports the SDKs
SLOW, QUICK, WRITER = "gpt-4.1-mini", "mistral-small-latest", "gpt-4.1"
ANSWER = """The Eiffel Tower was finished in **1889**.

## What the models agree on

1. It stands in Paris, and `Gustave Eiffel`'s company built it.
2. It is about 330 m tall.

| what | value |
| --- | --- |
| height | 330 m |
| stages | 3 |

> The tower was meant to stand for twenty years.

```python
height = 330  # metres
```

More is at [the encyclopedia](https://example.org/tower)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


class Visit:
    """A page that is open, and what it has complained of and asked for."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def ask(self, question: str) -> None:
        self.page.get_by_label("Your question").fill(question)
        self.page.get_by_role("button", name="Ask", exact=True).click()

    def card(self, agent: str) -> Any:
        return self.page.locator("#layers .card").filter(
            has=self.page.get_by_role("heading", name=agent, exact=True)
        )

    @property
    def answer(self) -> Any:
        return self.page.locator("#answer")

    def tab(self, name: str) -> Any:
        self.page.get_by_role("tab", name=name).click()
        return self.page.get_by_role("tabpanel", name=name)

    def finish(self) -> None:
        expect(self.page.locator("#facts")).to_contain_text("Time")

    def save(self, file: Path) -> MixtureResult:
        """The run that the page saves as a trace file."""
        with self.page.expect_download() as download:
            self.page.get_by_role("link", name="Save the run").click()
        download.value.save_as(file)
        return MixtureResult.load(file)

    def faults(self) -> list[str]:
        """What axe finds wrong, for people who use a keyboard, a screen reader or strong contrast."""
        return violations(self.page)


@pytest.fixture
def visit(browser: Browser) -> Callable[..., Any]:
    """Open the page at an address; afterwards, see that it asked nobody else and complained of nothing."""

    @contextmanager
    def opened(address: str, complaints: int = 0, **options: Any) -> Iterator[Visit]:
        settings = {"viewport": DESKTOP, "reduced_motion": "reduce", **options}
        with browser.new_context(**settings) as context:
            visit = Visit(context)
            visit.page.goto(address)
            yield visit
            outside = [
                url for url in visit.requests if not url.startswith((address, f"blob:{address}"))
            ]
            assert outside == []
            assert len(visit.complaints) == complaints, visit.complaints

    return opened


def mixture(providers, num_layers: int = 1, *more: Any) -> MixtureOfAgents:
    return MixtureOfAgents(
        llm=providers.openai(WRITER),
        proposers=[providers.openai(SLOW), providers.mistral(QUICK), *more],
        num_layers=num_layers,
        call=CallPolicy(retries=0),
    )


def tower(providers) -> None:
    """Answers about the Eiffel Tower, which differ."""
    providers.configure(SLOW, reply="It was finished in **1889** and is 330 m tall.")
    providers.configure(
        QUICK,
        reply=Reply("It was finished in **1887** and is 330 m tall.", thinking="Was it 1887?"),
    )
    providers.configure(WRITER, reply=ANSWER)


def scripted(*answers: Any, writer: Any = "The answer.") -> MixtureOfAgents:
    proposers = [ScriptedLLM(one, model=f"model-{n}") for n, one in enumerate(answers, 1)]
    return MixtureOfAgents(
        llm=ScriptedLLM(writer, model="writer"), proposers=proposers, num_layers=1,
        call=CallPolicy(retries=0),
    )  # fmt: skip


def test_a_card_fills_while_another_model_works_and_then_the_answer_streams(visit, providers):
    tower(providers)
    providers.hold(SLOW)
    providers.hold(WRITER, after=8)
    with served({"moa": mixture(providers)}) as at, visit(at) as seen:
        seen.ask("When was the Eiffel Tower finished?")
        expect(seen.card(QUICK)).to_contain_text("It was finished in 1887")
        expect(seen.card(QUICK)).to_contain_text(
            re.compile(r"s \u00b7 [\d,]+ in, \d+ out \u00b7 (< )?\$0\.000\d\d")
        )
        expect(seen.card(SLOW)).to_contain_text("works")
        expect(seen.card(WRITER)).to_contain_text("waits")
        expect(seen.page.locator("#progress")).to_contain_text(
            "Layer 1 of 1: 1 of 2 have answered."
        )
        seen.page.screenshot(path=PICTURES / "page-working.png", full_page=True)
        providers.release(SLOW)
        expect(seen.answer).to_contain_text("The Eiffel Tower was")
        expect(seen.page.locator("#progress")).to_contain_text(f"{WRITER} writes the answer.")
        assert "agree on" not in seen.answer.inner_text()
        providers.release(WRITER)
        seen.finish()
        expect(seen.answer.locator("strong")).to_have_text("1889")
        expect(seen.answer.get_by_role("heading", name="What the models agree on")).to_be_visible()
        expect(seen.answer.get_by_role("listitem")).to_have_count(2)
        expect(seen.answer.get_by_role("cell", name="330 m")).to_be_visible()
        expect(seen.answer.get_by_role("link")).to_have_attribute(
            "href", "https://example.org/tower"
        )
        expect(seen.page.locator("#facts")).to_contain_text("3 calls")
        expect(seen.page.get_by_role("status")).to_have_text("The answer is complete.")


def test_what_differs_is_marked_and_the_timeline_has_every_call(visit, providers):
    tower(providers)
    with served({"moa": mixture(providers, 2)}) as at, visit(at) as seen:
        seen.ask("When was the Eiffel Tower finished?")
        seen.finish()
        compared = seen.tab("Side by side")
        assert compared.locator("mark").all_inner_texts() == ["1889", "1887"]
        compared.get_by_label("Proposals of").select_option("Layer 1")
        assert compared.locator("mark").all_inner_texts() == ["1889", "1887"]
        timeline = seen.tab("Timeline")
        rows = timeline.locator("tbody th").all_inner_texts()
        assert [one.split()[0] for one in rows] == [SLOW, QUICK, SLOW, QUICK, WRITER]
        expect(timeline.locator("tbody .bar")).to_have_count(5)


def test_who_failed_and_why_is_in_its_card_and_before_the_answer(visit, providers):
    tower(providers)
    providers.configure(SLOW, chances=[(failure(401, "The key is wrong."), 1.0)])
    with served({"moa": mixture(providers)}) as at, visit(at) as seen:
        seen.ask("When was the Eiffel Tower finished?")
        seen.finish()
        expect(seen.card(SLOW)).to_contain_text("failed")
        expect(seen.card(SLOW)).to_contain_text(
            re.compile(r"Authentication \(401\).*The key is wrong.")
        )
        expect(seen.page.locator("#warnings")).to_contain_text("Degraded: layer 1 has 1 of 2")
        assert seen.faults() == []


def test_a_vote_shows_its_finding_and_has_no_aggregator(visit):
    voters = [ScriptedLLM(one, model=f"model-{n}") for n, one in enumerate(("4", "5", "4"), 1)]
    with served({"moa": MixtureOfAgents(vote(voters))}) as at, visit(at) as seen:
        seen.ask("What is two and two?")
        seen.finish()
        expect(seen.answer).to_have_text("4")
        expect(seen.page.get_by_role("heading", name="Answer by model-1")).to_be_visible()
        expect(seen.page.locator("#layers section")).to_have_count(1)
        seen.page.get_by_text("Finding: vote").click()
        expect(seen.page.get_by_role("definition")).to_contain_text(
            ["model-1, model-3 | model-2", "model-1", "majority"]
        )
        assert seen.faults() == []
        seen.page.screenshot(path=PICTURES / "page-vote.png", full_page=True)


def test_a_run_without_an_answer_says_why(visit, providers):
    providers.configure("*", chances=[(failure(401), 1.0)])
    with served({"moa": mixture(providers)}) as at, visit(at) as seen:
        seen.ask("Why?")
        expect(seen.page.locator("#warnings")).to_contain_text("No answer: layer 1 needed 1 of 2")
        expect(seen.card(WRITER)).to_be_hidden()
        assert seen.faults() == []


def test_a_run_is_stopped_and_its_requests_end(visit, providers, tmp_path):
    providers.hold(SLOW)
    with served({"moa": mixture(providers)}) as at, visit(at) as seen:
        seen.ask("Why?")
        expect(seen.card(QUICK)).to_contain_text("answered")
        seen.page.get_by_role("button", name="Stop").click()
        expect(seen.page.locator("#warnings")).to_contain_text("No answer: stopped")
        expect(seen.card(SLOW)).to_contain_text("stopped")
        providers.wait_for(SLOW, hung_up=1, open=0)
        expect(seen.page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
        run = seen.save(tmp_path / "run.jsonl")
        assert run.error == "stopped"
        assert [call.agent for call in run.calls] == [QUICK]


def test_the_history_survives_a_reload_and_a_saved_run_is_a_trace_file(visit, providers, tmp_path):
    tower(providers)
    with served({"moa": mixture(providers)}, recipes=True) as at, visit(at) as seen:
        for question in ("When was the Eiffel Tower finished?", "How tall is it?"):
            seen.ask(question)
            seen.finish()
        seen.page.reload()
        expect(seen.page.locator("#run")).to_be_hidden()
        seen.page.get_by_role("navigation").get_by_role(
            "button", name=re.compile("^When was")
        ).click()
        expect(seen.page.get_by_role("heading", name="When was")).to_be_focused()
        expect(seen.answer.locator("strong")).to_have_text("1889")
        expect(seen.card(QUICK)).to_contain_text("It was finished in 1887")
        run = seen.save(tmp_path / "run.jsonl")
        assert run.question == "When was the Eiffel Tower finished?"
        assert run.answer == ANSWER
        assert len(run.calls) == 3
        cli = "llama_index.packs.mixture_of_agents.cli"
        replayed = run_python("-m", cli, "replay", str(tmp_path / "run.jsonl"))
        assert replayed.stdout.strip() == ANSWER
        seen.page.get_by_role("button", name="Delete: How tall").click()
        expect(seen.page.locator("#history-list li")).to_have_count(1)
        seen.page.get_by_role("button", name="Delete all").click()
        expect(seen.page.locator("#history-list li")).to_have_count(0)


HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "[press](javascript:document.title='owned') [and](JaVaScRiPt:alert(1)) <a href='javascript:alert(1)'>this</a>",
    "![picture](https://elsewhere.example/picture.png) [data](data:text/html,<script>alert(1)</script>)",
    "</div></article><style>body { display: none }</style><iframe src='https://elsewhere.example'></iframe>",
    "x" * 200_000,
    "[" * 50_000 + "**" * 50_000 + "`" * 50_000 + ">" * 50_000,
    "- " * 2_000 + "\n" + "> " * 2_000 + "\n" + "|" * 50_000 + "\n" + "-|" * 90,
    "\u202e" + "a\u0300" * 5_000 + "\u2028\u2029\ufeff" + "{{constructor}}${7*7}",
]


def test_whatever_a_model_writes_does_no_harm(visit):
    together = "\n\n".join(HOSTILE)
    models = {f"moa-{n}": scripted(one, writer=one) for n, one in enumerate(HOSTILE)}
    with served({**models, "all": scripted(*HOSTILE, writer=together)}) as at, visit(at) as seen:
        title = seen.page.title()
        for model in (*models, "all"):
            seen.page.get_by_label("Mixture", exact=True).select_option(model)
            seen.ask(f"Is {model} harmless?")
            seen.finish()
            assert seen.page.title() == f"Is {model} harmless? - {title}"
            for name in ("Side by side", "Timeline", "Proposals"):
                expect(seen.tab(name)).to_be_visible()
            width = seen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert width <= 0
            hrefs = seen.page.evaluate(
                "[...document.querySelectorAll('main a')].map(a => a.protocol)"
            )
            assert set(hrefs) <= {"blob:", "https:"}
            made = seen.page.evaluate(
                "document.querySelectorAll('main :is(script, img, iframe, style)').length"
            )
            assert made == 0
        assert HOSTILE[0] in seen.answer.inner_text()
        assert "[press](javascript:" in seen.answer.inner_text()


def test_a_run_too_many_is_refused_and_the_question_stays(visit, providers):
    providers.hold(SLOW)
    with (
        served({"moa": mixture(providers)}, in_flight=1) as at,
        visit(at) as first,
        visit(at, complaints=1) as second,
    ):
        first.ask("Why?")
        expect(first.card(SLOW)).to_contain_text("works")
        second.ask("And how?")
        expect(second.page.get_by_role("alert")).to_contain_text("1 runs are under way")
        expect(second.page.get_by_label("Your question")).to_have_value("And how?")
        assert second.faults() == []
        providers.release()
        first.finish()
        second.page.get_by_role("button", name="Ask", exact=True).click()
        second.finish()
        expect(second.page.get_by_role("alert")).to_be_hidden()


def test_an_earlier_run_is_read_while_another_is_under_way(visit, providers):
    tower(providers)
    with served({"moa": mixture(providers)}) as at, visit(at) as seen:
        seen.ask("When was the Eiffel Tower finished?")
        seen.finish()
        providers.hold(WRITER)
        seen.ask("How tall is it?")
        entries = seen.page.locator("#history-list .entry")
        expect(entries).to_contain_text(["under way", "When was"])
        entries.nth(1).click()
        expect(seen.answer.locator("strong")).to_have_text("1889")
        entries.nth(0).click()
        expect(seen.page.locator("#progress")).to_contain_text(f"{WRITER} writes the answer.")
        providers.release()
        seen.finish()
        expect(entries).to_have_count(2)


MARKDOWN = {
    "one *two* **three** ***four*** ~~five~~": (
        "<p>one <em>two</em> <strong>three</strong> <strong><em>four</em></strong> <del>five</del></p>"
    ),
    "a snake_case_name and 2 * 3 * 4": "<p>a snake_case_name and 2 * 3 * 4</p>",
    "- one\n  - two\n- three": "<ul><li>one<ul><li>two</li></ul></li><li>three</li></ul>",
    "3. three\n4. four": '<ol start="3"><li>three</li><li>four</li></ol>',
    "1. one\n\n   more\n2. two": "<ol><li>one<p>more</p></li><li>two</li></ol>",
    "first\nsecond": "<p>first<br>second</p>",
    "### Deep\n# Top\n## Next": "<h4>Deep</h4><h4>Top</h4><h5>Next</h5>",
    "```js\n<b>*x*</b>\n```\nafter": (
        '<pre tabindex="0"><code>&lt;b&gt;*x*&lt;/b&gt;</code></pre><p>after</p>'
    ),
    "> quoted\n> **more**": "<blockquote><p>quoted<br><strong>more</strong></p></blockquote>",
    "`` a`b `` and `<i>`": "<p><code>a`b</code> and <code>&lt;i&gt;</code></p>",
    r"\*not\* **open": "<p>*not* **open</p>",
    "---": "<hr>",
    "[x](java\tscript:alert(1)) [y](//example.org)": (
        "<p>[x](java\tscript:alert(1)) [y](//example.org)</p>"
    ),
    "&lt;b&gt; <b>bold</b>": "<p>&amp;lt;b&amp;gt; &lt;b&gt;bold&lt;/b&gt;</p>",
}
WRITE = """async text => {
  const { MarkdownWriter } = await import("/page/markdown.js");
  const whole = document.createElement("div"), grown = document.createElement("div");
  new MarkdownWriter(whole, 4).show(text);
  const writer = new MarkdownWriter(grown, 4);
  for (let end = 1; end <= text.length; end += 1) writer.show(text.slice(0, end), end === text.length);
  return [whole.innerHTML, grown.innerHTML];
}"""


def test_markdown_becomes_elements_at_once_and_piece_by_piece(visit):
    with served({"moa": scripted("Yes")}) as at, visit(at) as seen:
        for text, html in MARKDOWN.items():
            assert seen.page.evaluate(WRITE, text) == [html, html], text
        address = "https://en.wikipedia.org/wiki/Tower_(disambiguation)"
        whole, _ = seen.page.evaluate(WRITE, f"[a *tower*]({address}) or {address[:24]}.")
        assert whole.count(f'href="{address}"') == 1
        assert "a <em>tower</em></a> or <a" in whole
        assert whole.endswith(f"{address[:24]}</a>.</p>")


def test_a_server_with_keys_asks_for_one_and_refuses_another(visit):
    with served({"moa": scripted("Yes")}, keys=[KEY]) as at, visit(at, complaints=2) as seen:
        dialog = seen.page.get_by_role("dialog", name="This server asks for a key")
        expect(dialog).to_be_visible()
        assert seen.faults() == []
        for key in ("a wrong one", KEY):
            dialog.get_by_label("Key", exact=True).fill(key)
            dialog.get_by_role("button", name="Continue").click()
        expect(dialog).to_be_hidden()
        seen.ask("Why?")
        seen.finish()
        expect(seen.answer).to_have_text("The answer.")
        assert all("401" in complaint for complaint in seen.complaints)


def test_everything_is_reached_with_the_keyboard(visit):
    with (
        served({"moa": scripted("One", "Two"), "other": scripted("Three")}) as at,
        visit(at) as seen,
    ):
        press = seen.page.keyboard.press
        expect(seen.page.locator("option")).to_have_count(2)
        press("Tab")
        press("Enter")  # "Skip to the question"
        expect(seen.page.get_by_label("Your question")).to_be_focused()
        seen.page.keyboard.type("Why?")
        press("Shift+Enter")
        seen.page.keyboard.type("And how?")
        press("Tab")
        press("ArrowDown")
        press("Shift+Tab")
        press("Enter")
        seen.finish()
        expect(seen.page.get_by_role("heading", name="Why? And how?")).to_be_visible()
        expect(seen.page.locator("#facts")).to_contain_text("other")
        seen.page.get_by_role("tab", name="Proposals").focus()
        press("ArrowRight")
        expect(seen.page.get_by_role("tabpanel", name="Side by side")).to_be_visible()
        press("End")
        expect(seen.page.get_by_role("tab", name="Timeline")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_legible_and_axe_finds_nothing(visit, providers, size, scheme):
    tower(providers)
    providers.configure("gpt-4.1-nano", chances=[(failure(429, "Slow down."), 1.0)])
    llm = mixture(providers, 2, providers.openai("gpt-4.1-nano"))
    name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}"
    phone = size is PHONE
    options = {"viewport": size, "color_scheme": scheme, "is_mobile": phone, "has_touch": phone}
    with served({"moa": llm, "deep": mixture(providers)}) as at, visit(at, **options) as seen:
        expect(seen.page.locator("option")).to_have_count(2)
        assert seen.faults() == []
        seen.page.screenshot(path=PICTURES / f"page-empty-{name}.png")
        seen.ask("When was the Eiffel Tower finished, and how tall is it?")
        seen.finish()
        for tab in ("Proposals", "Side by side", "Timeline"):
            seen.tab(tab)
            assert seen.faults() == []
            picture = f"page-{tab.lower().replace(' ', '-')}-{name}.png"
            seen.page.screenshot(path=PICTURES / picture, full_page=True)
        width = seen.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
        if phone:
            seen.page.get_by_role("button", name="History").click()
            assert seen.faults() == []
            seen.page.screenshot(path=PICTURES / f"page-history-{name}.png")
