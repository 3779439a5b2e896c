"""The site in Debian's Chromium, as `make docs` built it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import PICTURES, chromium, violations
from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SITE = Path(__file__).parents[2] / "build" / "site"
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
