"""What a browser makes of a result: the notebook's HTML export and the page alone, in light and in dark.

Headless Chromium opens them (apt-get install chromium) and says what it sees; its screenshots are in build/browser.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents.display.page import document
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build" / "browser"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=8000",
]
THEMES = {"light": (), "dark": ("--blink-settings=preferredColorScheme=0",)}
# Put behind a page: it unfolds everything, and says what the page has become.
LOOK = """
<script>
function luminance(colour) {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
  return "rgb(255, 255, 255)";
}
function contrast(element) {
  const both = [getComputedStyle(element).color, behind(element)].map(luminance).sort((a, b) => b - a);
  return (both[0] + 0.05) / (both[1] + 0.05);
}
addEventListener("load", () => setTimeout(() => {
  for (const one of document.querySelectorAll(".moa-result details")) one.open = true;
  const page = document.querySelector(".moa-result");
  const texts = [...page.querySelectorAll("div, summary, td, th, h4, span")]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  const seen = {
    title: document.title,
    back: getComputedStyle(page).backgroundColor,
    around: getComputedStyle(document.documentElement).backgroundColor,
    language: document.documentElement.lang,
    contrast: Math.min(...texts.map(contrast)),
    proposals: page.querySelectorAll("details").length,
    overflow: page.scrollWidth - page.clientWidth,
    text: page.innerText,
    bars: document.querySelectorAll(".plotly .bars .point path").length,
  };
  const told = document.createElement("pre");
  told.id = "seen";
  told.style.display = "none";
  told.textContent = JSON.stringify(seen);
  document.body.append(told);
}, 3000));
</script>
"""


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str, str, str], dict[str, Any]]:
    """Open some HTML in a theme, take a picture of it, and tell what it looks like."""
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert chromium, "no Chromium found: apt-get install chromium"
    PICTURES.mkdir(parents=True, exist_ok=True)

    def run(page: Path, theme: str, *what: str) -> str:
        command = [
            chromium,
            *QUIET,
            *THEMES[theme],
            f"--user-data-dir={tmp_path / 'profile'}",
            *what,
        ]
        done = subprocess.run(
            [*command, page.as_uri()], check=True, capture_output=True, timeout=100
        )
        return done.stdout.decode()

    def opened(name: str, html: str, theme: str) -> dict[str, Any]:
        page = tmp_path / f"{name}.html"
        page.write_text(html + LOOK, "utf-8")
        size = "1000,4200" if "notebook" in name else "1000,1000"
        picture = PICTURES / f"{name}-{theme}.png"
        run(page, theme, f"--window-size={size}", f"--screenshot={picture}")
        found = re.search(
            r'<pre id="seen"[^>]*>(.*?)</pre>', run(page, theme, "--dump-dom"), re.DOTALL
        )
        assert found, "the page did not come to its end"
        return json.loads(unescape(found[1]))

    return opened


BACK = {"light": "rgb(255, 255, 255)", "dark": "rgb(30, 30, 30)"}
HOSTILE = "</div></details><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.mark.parametrize("theme", THEMES)
def test_a_page_is_legible_and_runs_nothing_that_a_model_wrote(look, theme: str):
    proposers = [
        Proposer(ScriptedLLM(f"{HOSTILE} " + "long-word" * 40), name=HOSTILE),
        Proposer(ScriptedLLM(ValueError(HOSTILE)), name="broken"),
        Proposer(ScriptedLLM("several\n\nparagraphs"), name="plain"),
    ]
    llm = MixtureOfAgents(moa(proposers, ScriptedLLM(HOSTILE, model="boss"), layers=1))
    result = llm.chat([ChatMessage(role="user", content=HOSTILE)]).additional_kwargs["mixture"]
    seen = look("page", document(result), theme)
    assert seen["title"] == HOSTILE[:77] + "..."
    assert seen["back"] == seen["around"] == BACK[theme]
    assert seen["language"] == "en"
    assert seen["contrast"] >= 4.5  # WCAG 2.1, level AA
    assert seen["proposals"] == 3
    assert seen["overflow"] <= 0
    assert seen["text"].count("<script>document.title") >= 3
    assert "Degraded: layer 1 has 2 of 3 proposals" in seen["text"]


@pytest.fixture(scope="module", params=THEMES)
def notebook(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """The notebook, run and exported as HTML in a theme of Jupyter's, with its timeline's script in it."""
    folder = tmp_path_factory.mktemp("notebook")
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "html",
        "--execute",
        "--output-dir",
        str(folder),
    ]
    subprocess.run(
        [*command, "--theme", request.param, str(ROOT / "examples" / "see_what_it_did.ipynb")],
        check=True,
        capture_output=True,
        env={**os.environ, "PLOTLY_RENDERER": "notebook"},
    )
    html = (folder / "see_what_it_did.html").read_text("utf-8")
    # The export asks for scripts from elsewhere, which are not needed for what is looked at here.
    return request.param, re.sub(r'<script[^>]* src="https?://[^>]*></script>', "", html)


def test_the_notebook_shows_the_run(look, notebook: tuple[str, str]):
    theme, html = notebook
    seen = look("notebook", html, theme)
    assert seen["back"] == BACK[theme]
    assert seen["contrast"] >= 4.5
    assert seen["proposals"] == 8
    assert seen["bars"] == 9 + 2, "two of them are edges: what held each layer up"
    for text in ("2 attempts", "cancelled", "Degraded: layer 1 has 3 of 4 proposals", "~"):
        assert text in seen["text"]
