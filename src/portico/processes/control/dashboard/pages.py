"""All pages, in the order of the menu."""

from __future__ import annotations

from typing import Final

from portico.processes.control.dashboard.overview import overview
from portico.processes.control.dashboard.page import Page
from portico.processes.control.dashboard.services import SERVICES

GROUPS: Final[tuple[tuple[str, tuple[Page, ...]], ...]] = (("Now", (Page("", "Overview", overview), SERVICES)),)
"""The menu: its headings, and the pages below each."""

PAGES: Final[dict[str, Page]] = {page.name: page for _, pages in GROUPS for page in pages}
