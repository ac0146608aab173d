"""Figures in words, charts, paths of others, samples."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from portico.processes.control.dashboard import words
from portico.processes.control.dashboard.charts import bar, chart
from portico.processes.control.dashboard.configuration import difference
from portico.processes.control.dashboard.history import History
from portico.processes.control.dashboard.prefixes import start_page, without_prefix


@pytest.mark.parametrize(
    ("filter", "value", "said"),
    [
        (words.number, 12345, "12,345"),
        (words.number, 0.5, "0.50"),
        (words.number, 12.34, "12.3"),
        (words.number, None, words.NOTHING),
        (words.size, 512, "512 B"),
        (words.size, 1536, "1.5 KiB"),
        (words.size, 3 << 30, "3.0 GiB"),
        (words.latency, 0.456, "0.46 ms"),
        (words.latency, 12.4, "12 ms"),
        (words.latency, 1250, "1.25 s"),
        (words.latency, 90_000, "1 min 30 s"),
        (words.span, 183_700, "2 d 3 h"),
        (words.span, 0.2, "0 s"),
        (words.percent, 0.004, "0.4 %"),
        (words.percent, 1, "100 %"),
        (words.clock, 0, "1970-01-01 00:00:00 UTC"),
        (words.clock, "2026-11-30T21:59:21Z", "2026-11-30 21:59:21 UTC"),
        (words.clock, "soon", words.NOTHING),
        (words.place, "/etc/portico/portico.yaml:12", "portico.yaml:12"),
        (words.plain, {"a": [1, True], "b": None}, "a: 1, true, b: "),
    ],
)
def test_figures_are_said_as_people_read_them(filter: Any, value: Any, said: str) -> None:  # noqa: A002
    assert filter(value) == said


def test_a_chart_says_in_words_what_it_shows() -> None:
    lines: list[tuple[str, list[float | None]]] = [("p99 <x>", [None, 2.0, 4.0, None, 1.0]), ("p50", [None] * 5)]
    drawn = str(chart("Latency", lines, shown=words.latency, most=5, over="over the last 10 seconds"))
    assert 'aria-label="Latency, over the last 10 seconds. p99 &lt;x&gt;: now 1 ms, lowest 1 ms, highest 4 ms;' in drawn
    assert "p50: nothing yet" in drawn
    assert drawn.count('class="line line-0"') == 2, "a gap is one"
    assert "style=" not in drawn


def test_a_chart_of_nothing_is_empty() -> None:
    assert "<path" not in str(chart("Requests", [("requests", [])], shown=words.number, most=5, over=""))
    assert 'width="100.0"' in str(bar(3.0))


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/dashboard/routes", "/dashboard/routes"),
        ("/ops/portico/dashboard/routes", "/dashboard/routes"),
        ("/ops/portico/dashboard", "/dashboard"),
        ("/api/v1/namespaces/x/services/http:gw:9000/proxy/dashboard/", "/dashboard/"),
        ("/ops/portico/admin/services", "/admin/services"),
        ("/admin/services/dashboard/instances/drain", "/admin/services/dashboard/instances/drain"),
        ("/ops/admin/keys/dashboard/revoke", "/admin/keys/dashboard/revoke"),
        ("/dashboards/x", "/dashboards/x"),
        ("/health", "/health"),
        ("/", "/"),
    ],
)
def test_a_prefix_that_a_proxy_left_on_is_taken_off(path: str, own: str) -> None:
    assert without_prefix(path) == own


@pytest.mark.parametrize(
    ("forwarded", "page"),
    [
        ("", "dashboard/"),
        ("/ops/portico", "/ops/portico/dashboard/"),
        ("/ops/portico/", "/ops/portico/dashboard/"),
        ("//evil.example", "dashboard/"),
        ("/\\evil.example", "dashboard/"),
        ("https://evil.example", "dashboard/"),
        ("/a\r\nX: y", "dashboard/"),
    ],
)
def test_the_start_leads_below_the_prefix_and_nowhere_else(forwarded: str, page: str) -> None:
    assert start_page(forwarded) == page


def test_lines_that_are_other_have_their_kind() -> None:
    assert [*difference("a\nb\n", "a\nc\n")] == [("at", "@@ -1,2 +1,2 @@"), ("", " a"), ("del", "-b"), ("add", "+c")]
    assert [*difference("a", "a")] == []


def test_figures_are_sampled_once_somebody_looks() -> None:
    asked = 0

    async def look() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"total": {"rate": 7}, "services": [{"name": "shop", "rate": 3}]}

    async def play() -> None:
        history = History(look)
        await asyncio.sleep(0)
        assert asked == 0
        assert history.latest() == {}
        history.visit()
        history.visit()
        while not history.latest():
            await asyncio.sleep(0)
        assert asked == 1
        assert history.totals("rate") == [7.0]
        assert history.of_service("shop", "rate") == [3.0]
        assert history.of_service("other", "rate") == [None]
        await history.close()

    asyncio.run(play())
