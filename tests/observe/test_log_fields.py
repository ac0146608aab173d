"""What is added to lines of the access log, and what is never."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from portico.core.exchange import Exchange
from portico.observe.access_log import AccessRecord
from portico.observe.log_fields import SampledLog, check_field, details_of, masked


@pytest.mark.parametrize("name", ["user_agent", "query", "protocol", "header.X-Tenant", "claim.tenant", "claim.a.b"])
def test_what_may_be_logged(name: str) -> None:
    assert check_field(name) == name


@pytest.mark.parametrize("name", ["agent", "header", "header.", "header.X Y", "claim.", "", "user_agent.x"])
def test_what_there_is_not(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected one of user_agent, referer, query, protocol, header\.NAME or"):
        check_field(name)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "X-Api-Key", "X-Auth-Request", "X-CSRF-Token", "My-Password"],
)
def test_what_would_let_a_reader_in(name: str) -> None:
    with pytest.raises(ValueError, match="lets whoever reads the log in as the client"):
        check_field(f"header.{name}")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("?page=2&author=me", "?page=2&author=me"),
        ("?access_token=abc&page=2", "?access_token=***&page=2"),
        ("?a=1;API-KEY=abc", "?a=1;API-KEY=***"),
        ("?%74oken=abc", "?%74oken=***"),
        ("?code=abc&state=x&sig=1#k", "?code=***&state=x&sig=***#k"),
        ("https://shop.test/x?password=a=b&c=d", "https://shop.test/x?password=***&c=d"),
        ("?token", "?token"),
        ("", ""),
    ],
)
def test_secrets_are_masked(target: str, shown: str) -> None:
    assert masked(target) == shown


def record(**given: Any) -> AccessRecord:
    return cast(AccessRecord, SimpleNamespace(**{"status_code": 200, "reason": None, "upstream_error": None, **given}))


def exchange(**given: Any) -> Exchange:
    fields: dict[bytes, bytes] = {b"user-agent": b"curl/8", b"x-long": b"x" * 600, b"x-odd": b"\xff"}
    request = SimpleNamespace(fields=fields, version=11)
    usual = {"request": request, "query": b"?a=1&token=x", "claims": {"tenant": 7}}
    return cast(Exchange, SimpleNamespace(**{**usual, **given}))


def test_they_are_added_where_the_request_has_them() -> None:
    names = ["user_agent", "referer", "query", "protocol", "header.X-Long", "header.X-Odd", "claim.tenant", "claim.x"]
    (add,) = details_of(names)
    one = record()
    add(one, exchange())
    assert one.fields == {
        "user_agent": "curl/8",
        "query": "a=1&token=***",
        "protocol": "HTTP/1.1",
        "header.X-Long": "x" * 500,
        "header.X-Odd": "\xff",
        "claim.tenant": "7",
    }


def test_what_was_no_request_has_none() -> None:
    (add,) = details_of(["user_agent", "referer", "query", "protocol", "claim.tenant"])
    one = record()
    add(one, exchange(request=None, claims=None))
    assert one.fields is None
    assert details_of([]) == []


class Kept:
    def __init__(self) -> None:
        self.records: list[AccessRecord] = []

    def add(self, record: AccessRecord) -> None:
        self.records.append(record)


def test_a_sample_has_all_that_went_wrong() -> None:
    kept = Kept()
    none = SampledLog(kept, 0.0)
    wrong = [record(status_code=404), record(reason="x"), record(upstream_error="refused"), record(status_code=502)]
    for each in (record(), *wrong, record(status_code=304)):
        none.add(each)
    assert kept.records == wrong


def test_a_sample_is_about_that_share() -> None:
    kept = Kept()
    half = SampledLog(kept, 0.5)
    for _ in range(2000):
        half.add(record())
    assert 800 < len(kept.records) < 1200
