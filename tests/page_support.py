"""What the tests of the collector's page share: one browser for each file, and a page that must behave.

A file takes the fixtures by assigning them, as in `browser = page_support.browser`. They last as long as the file, not
the session: playwright's event loop counts as running while it lives, and other tests want to run one of their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from tests.collector_support import collector, running

# It is in the development group; without it there is nothing to drive the browser with.
pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Page, expect, sync_playwright  # after the check above

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Locator

    from producttelemetry.collector import RunningCollector

__all__ = ["Open", "Page", "browser", "collector", "expect", "names", "open_page", "rows", "running"]

#: Opens the page, as wide and at the address that it is told.
Open: TypeAlias = Callable[..., Page]

#: Nothing of the browser's own that would ask other hosts, or the graphics of a machine that has none.
_QUIET: Final = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Milliseconds that a condition on the page may take; nothing comes near it.
PATIENCE: Final = 15_000

DESKTOP: Final = (1280, 800)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=[*_QUIET, *sandbox])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, collector: RunningCollector) -> Iterator[Callable[..., Page]]:
    """Open the collector's page; at the end nothing may be on the console, and no other host have been asked."""
    complaints: list[str] = []
    asked: list[str] = []
    hosts: list[str] = []
    contexts: list[BrowserContext] = []

    def build(size: tuple[int, int] = DESKTOP, url: str = collector.url) -> Page:
        hosts.append(url + "/")
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        expect(page.locator("#connection")).not_to_have_text("Connecting…")
        return page

    yield build
    for context in contexts:
        context.close()
    # That the server is away is what some tests are about; the browser says so for each attempt.
    assert [] == [text for text in complaints if "net::ERR_" not in text]
    assert [] == [each for each in asked if not each.startswith(tuple(hosts))]


def rows(page: Page) -> Locator:
    """Return the rows of the list."""
    return page.locator("#events tbody tr")


def names(page: Page) -> Locator:
    """Return the names, or reasons, in the list."""
    return page.locator("#events tbody td.what button")
