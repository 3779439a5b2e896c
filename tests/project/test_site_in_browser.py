"""The site in Debian's Chromium, as `make docs` built it."""

import runpy
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from browsing import PICTURES, chromium, violations
from playwright.sync_api import Browser

import llama_index.packs.mixture_of_agents as package

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site" / package.__version__
# 404.html names its style sheet by an address that only a server has.
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("[!4]*.html"))
SIZES: dict[str, Any] = {
    "desktop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
KINDS = ("index.html", "cli.html", "worth.html", "reference/api/base.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def test_the_site_has_its_pages():
    assert set(KINDS) < set(PAGES), "make docs builds them"


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_on_any_page(browser, page):
    with browser.new_page(viewport=SIZES["desktop"]) as opened:
        opened.goto((SITE / page).as_uri())
        assert violations(opened) == []


@pytest.mark.parametrize("page", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_page_of_each_kind_fits_every_screen_and_asks_nobody(browser, page, scheme, size):
    outside: list[str] = []
    with browser.new_page(viewport=SIZES[size], color_scheme=scheme) as opened:
        opened.on("request", lambda request: outside.append(request.url))
        opened.goto((SITE / page).as_uri())
        name = page.removesuffix(".html").replace("/", "-")
        opened.screenshot(path=PICTURES / f"site-{name}-{size}-{scheme}.png")
        root = "document.documentElement"
        assert opened.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        assert violations(opened) == []
    assert [address for address in outside if not address.startswith("file:")] == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory) -> Iterator[str]:
    """A server of the site and of an older one, which lacks a page."""
    folder = tmp_path_factory.mktemp("site")
    for version in ("0.9.0", "0.10.0rc1", package.__version__):
        shutil.copytree(SITE, folder / version)
    (folder / "0.9.0" / "scale.html").unlink()
    sitemap = folder / "0.9.0" / "sitemap.xml"
    lines = sitemap.read_text("utf-8").splitlines(keepends=True)
    sitemap.write_text("".join(line for line in lines if "/scale.html" not in line), "utf-8")
    runpy.run_path(str(ROOT / "tools" / "docs_site.py"))["list_versions"](folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_reader_chooses_a_version_and_stays_on_the_page(browser, two_versions, size, scheme):
    with browser.new_page(viewport=SIZES[size], color_scheme=scheme) as opened:
        opened.goto(f"{two_versions}/")
        opened.wait_for_url(f"{two_versions}/{package.__version__}/index.html")
        opened.goto(f"{two_versions}/{package.__version__}/cost.html")
        current = opened.locator(".md-version__current")
        assert current.inner_text() == package.__version__
        current.focus()  # as a tap does; a pointer need only hover
        offered = opened.locator(".md-version__link")
        assert offered.all_inner_texts() == [package.__version__, "0.10.0rc1", "0.9.0"]
        opened.wait_for_function(  # it fades in
            "getComputedStyle(document.querySelector('.md-version__list')).opacity == 1"
        )
        opened.screenshot(path=PICTURES / f"site-versions-{size}-{scheme}.png")
        root = "document.documentElement"
        assert opened.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        assert violations(opened) == []
        offered.get_by_text("0.9.0").click()
        opened.wait_for_url(f"{two_versions}/0.9.0/cost.html")
        assert opened.locator(".md-version__current").inner_text() == "0.9.0"


def test_a_page_that_the_other_version_lacks_leads_to_its_first_page(browser, two_versions):
    with browser.new_page(viewport=SIZES["desktop"]) as opened:
        opened.goto(f"{two_versions}/{package.__version__}/scale.html")
        opened.locator(".md-version__current").focus()
        opened.locator(".md-version__link").get_by_text("0.9.0").click()
        opened.wait_for_url(f"{two_versions}/0.9.0/")
        assert opened.locator("h1").first.inner_text().startswith("Mixture-of-Agents")
