"""Draws the pictures of README.md and of the site: a run in a terminal, its result, its timeline, the server's page.

Needs Chromium for the pictures in PNG. The models are simulated: the mixture is that of `moa demo`.
"""

import io
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme

from llama_index.packs.mixture_of_agents import MixtureResult
from llama_index.packs.mixture_of_agents.cli.demo import make_pack, use
from llama_index.packs.mixture_of_agents.display.page import document
from llama_index.packs.mixture_of_agents.display.terminal import LiveView, table
from llama_index.packs.mixture_of_agents.display.timeline import timeline
from llama_index.packs.mixture_of_agents.events import AnswerDelta, Event, RunStarted
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
BROWSER = Path(__file__).parent.parent / "build" / "browser"  # the pictures of make browser
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a viewer should not fetch fonts
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--virtual-time-budget=8000",
)
Happened = list[tuple[RunStarted, Event]]


def run_once() -> Happened:
    """What happens in a run of the demonstration's mixture."""
    happened: Happened = []
    with SimulatedProviders() as providers:
        use(providers)
        mixture = make_pack().llm
        mixture.complete("Warm up?")  # a process's first request imports the SDKs
        with mixture.listen(lambda run, event: happened.append((run, event))):
            list(mixture.stream_complete("What is LlamaIndex?"))
    return happened


def draw_terminal(happened: Happened, theme: TerminalTheme, target: Path) -> None:
    """The live view and the table, as a terminal shows them."""
    console = Console(file=io.StringIO(), record=True, width=96, force_terminal=True)
    view = LiveView(console)
    for run, event in happened:
        view(run, event)
    console.print()
    console.print(table(result_of(happened)))
    svg = console.export_svg(title="a mixture of simulated models", theme=theme)
    target.write_text(FONTS.sub("", svg).replace("Fira Code, ", ""), encoding="utf-8")


def result_of(happened: Happened) -> MixtureResult:
    """The result of a run."""
    return MixtureResult(tuple(one for _, one in happened if not isinstance(one, AnswerDelta)))


def photograph(html: str, theme: str, size: str, target: Path) -> None:
    """Open a page in headless Chromium and write its picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium found: apt-get install chromium")
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8")
        profile, picture = f"--user-data-dir={folder}/profile", f"--screenshot={target}"
        command = [chromium, *QUIET, *dark, profile, f"--window-size={size}", picture]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=100)


def main() -> None:
    """The command."""
    FOLDER.mkdir(exist_ok=True)
    happened = run_once()
    result = result_of(happened)
    for theme, colours in THEMES.items():
        draw_terminal(happened, colours, FOLDER / f"run-{theme}.svg")
        photograph(document(result), theme, "900,860", FOLDER / f"result-{theme}.png")
        shutil.copy(BROWSER / f"page-proposals-desktop-{theme}.png", FOLDER / f"page-{theme}.png")
    figure = timeline(result).to_html(include_plotlyjs=True, config={"displayModeBar": False})
    photograph(figure, "light", "900,420", FOLDER / "timeline.png")


if __name__ == "__main__":
    main()
