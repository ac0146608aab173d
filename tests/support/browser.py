"""A page in a real browser, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .backend import Connection

needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; the test is skipped where that is not installed.

    Its pages know nothing of each other, neither cookies nor caches. It takes a second to start.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def browser_page() -> Iterator[Any]:
    """A new page of a browser of its own."""
    with chromium() as browser:
        yield browser.new_page()


def page_server(connection: Connection) -> None:
    """A service of pages: the origin that others are called from."""
    while connection.next_request() is not None:
        connection.answer(b"<!doctype html><title>another origin</title>", "200 OK", "Content-Type: text/html")
