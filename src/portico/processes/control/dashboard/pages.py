"""All pages, in the order of the menu."""

from __future__ import annotations

from typing import Final

from portico.processes.control.dashboard.audit import AUDIT
from portico.processes.control.dashboard.cache import CACHE
from portico.processes.control.dashboard.certificates import CERTIFICATES
from portico.processes.control.dashboard.configuration import CONFIGURATION
from portico.processes.control.dashboard.consumers import CONSUMERS
from portico.processes.control.dashboard.explain import EXPLAIN
from portico.processes.control.dashboard.limits import LIMITS
from portico.processes.control.dashboard.live import EVENTS, EXCHANGES
from portico.processes.control.dashboard.overview import overview
from portico.processes.control.dashboard.page import Page
from portico.processes.control.dashboard.routes import ROUTES
from portico.processes.control.dashboard.services import SERVICES

GROUPS: Final[tuple[tuple[str, tuple[Page, ...]], ...]] = (
    ("Now", (Page("", "Overview", overview, samples=True), SERVICES, EXCHANGES, EVENTS)),
    ("Requests", (ROUTES, EXPLAIN, LIMITS, CACHE, CONSUMERS)),
    ("Gateway", (CONFIGURATION, CERTIFICATES, AUDIT)),
)
"""The menu: its headings, and the pages below each."""

PAGES: Final[dict[str, Page]] = {page.name: page for _, pages in GROUPS for page in pages}
