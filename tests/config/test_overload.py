"""How many requests a service gets at once, in all the forms in which that may be written."""

from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import dump_config, load_dumped


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5", 5),
        ("'7'", 7),
        ("adaptive", (10, 1000)),
        ("{adaptive: {least: 3}}", (3, 1000)),
        ("{adaptive: {least: 5, most: 5}}", (5, 5)),
    ],
)
def test_forms_of_a_limit(load: Load, written: str, meant: int | tuple[int, int]) -> None:
    config = load(f"services: {{a: {{url: http://h, max_requests: {written}}}}}")
    for each in (config, load_dumped(dump_config(config))):
        limit = each.services["a"].upstream().max_requests
        assert limit is not None
        assert (limit if isinstance(limit, int) else (limit.adaptive.least, limit.adaptive.most)) == meant


@pytest.mark.parametrize(("written", "size", "timeout"), [("5", 5, 1.0), ("{size: 7, timeout: 500ms}", 7, 0.5)])
def test_forms_of_a_queue(load: Load, written: str, size: int, timeout: float) -> None:
    queue = load(f"services: {{a: {{url: http://h, queue: {written}}}}}").services["a"].upstream().queue
    assert (queue.size, queue.timeout) == (size, timeout)


def test_a_version_that_shares_instances_shares_their_bounds(load: Load) -> None:
    """Its own would hold for all other requests sent there."""
    service = load(
        """\
        services:
          a:
            url: http://h
            max_requests: 100
            max_connections: 50
            queue: 7
            versions: {v1: {max_requests: 1, max_connections: 2, queue: 3}, v2: {max_requests: 1}}
        """
    ).services["a"]
    for version in (None, "v1", "v2"):
        upstream = service.upstream(version)
        assert (upstream.max_requests, upstream.max_connections, upstream.queue.size) == (100, 50, 7), version


def test_a_version_has_its_own_or_its_services(load: Load) -> None:
    service = load(
        """\
        services:
          a:
            url: http://h:1
            max_requests: 5
            max_connections: 50
            queue: 7
            dns_refresh: 30s
            versions:
              v1: {url: http://h:2}
              v2: {url: http://h:3, max_requests: adaptive, max_connections: 3, queue: 0}
        """
    ).services["a"]
    own, v1, v2 = (service.upstream(version) for version in (None, "v1", "v2"))
    assert (own.max_requests, own.max_connections, own.queue.size) == (5, 50, 7)
    assert (v1.max_requests, v1.max_connections, v1.queue) == (5, 50, own.queue)
    assert not isinstance(v2.max_requests, int)
    assert (v2.max_connections, v2.queue.size) == (3, 0)
    assert {each.dns_refresh for each in (own, v1, v2)} == {30.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_requests: 0", "max_requests: has to be 1 or more"),
        ("max_requests: fast", "max_requests: expected a whole number"),
        ("max_requests: {adaptive: {most: 5}}", "max_requests.adaptive: least, 10, is more than most, 5"),
        ("max_connections: 0", "max_connections: has to be 1 or more"),
        ("queue: -1", "queue: has to be 0 or more"),
        ("dns_refresh: 0", "dns_refresh: has to be more than 0"),
    ],
)
def test_what_is_wrong_is_named(report: Report, text: str, message: str) -> None:
    (line,) = report(f"services: {{a: {{url: http://h, {text}}}}}")
    assert line.endswith(f"services.a.{message}")
