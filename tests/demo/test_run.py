from __future__ import annotations

import re
from urllib.parse import urlsplit

from portico.config import load_config, load_text
from portico.demo.run import introduction

LINK = re.compile(r"http://localhost:8000(/[^\s';]*)")


def test_every_link_through_the_gateway_has_a_route() -> None:
    config = load_config(None, {})
    text = introduction(config, 8000)
    paths = [urlsplit(link).path for link in LINK.findall(text)]
    assert "/api/portfolio/api/summary" in paths
    assert len(paths) == 9
    routes = [route.path for route in config.all_routes]
    assert [
        path
        for path in paths
        if path not in ("/health", "/docs") and not any(path.startswith(f"{each}/") for each in routes)
    ] == []
    assert "60 requests a minute, 20 at once" in text


def test_another_configuration_has_other_links() -> None:
    text = introduction(load_text("services: {atc: {url: http://localhost:8002}}", "f", {}), 8000)
    assert "localhost:8000/api/atc" in text
    assert "localhost:8000/api/gemini" not in text
    assert "requests a minute" not in text


def test_the_dashboard_is_named_where_there_is_one() -> None:
    config = load_config(None, {})
    assert "http://localhost:9000/dashboard/" in introduction(config, 8000, 9000)
    assert "dashboard" not in introduction(config, 8000)
