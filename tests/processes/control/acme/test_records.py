from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from portico.processes.control.acme.records import Certificate, Order, Record, changed, nearest, newer
from portico.processes.control.acme.troubles import TroubleError, pause_after, seconds_of
from support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("records"))


def certificate(authority: Authority, life: float, *names: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return Certificate(authority.sign(key, names or ("a.test",), life), "a key")


def test_when_it_is_renewed(authority: Authority) -> None:
    now = time.time()
    for life in (90 * 86400.0, 6 * 86400.0, 60.0):
        record = Record(["a.test"], certificate(authority, life))
        assert record.renewal - now == pytest.approx(life * 2 / 3, abs=2)
        assert record.due == record.renewal
        assert changed(record, next_try=now + 2 * life).due == now + 2 * life
        assert changed(record, order=Order("u", "k", 0.0)).due == 0.0
    assert Record(["a.test"]).due == 0.0


def test_when_the_authority_suggests_it(authority: Authority) -> None:
    now, day = time.time(), 86400.0
    record = Record(["a.test"], certificate(authority, 90 * day))
    assert changed(record, renew_at=now + 20 * day).renewal == now + 20 * day
    assert changed(record, renew_at=now + 900 * day).renewal - now == pytest.approx(81 * day, abs=2), "in time"
    assert changed(record, renew_at=now - day).renewal - now == pytest.approx(day, abs=2), "not on and on"


def test_the_certificate_that_is_good_for_longer_is_used(authority: Authority) -> None:
    short, long = (Record(["a.test"], certificate(authority, life)) for life in (1000, 2000))
    nothing = Record(["a.test"])
    assert newer(long, short) is long
    assert newer(short, long) is long
    assert newer(nothing, short) is short
    assert newer(short, nothing) is short
    same = changed(short, problem="x")
    assert newer(short, same) is same
    limited = changed(short, next_try=9e9, kind="rateLimited", problem="later", failures=2)
    assert newer(limited, changed(short, order=Order("u", "k", 0.0))) == changed(limited, order=Order("u", "k", 0.0))


def test_what_is_served_for_names_without_a_certificate(authority: Authority) -> None:
    both = certificate(authority, 100, "a.test", "b.test")
    one = certificate(authority, 200, "a.test")
    records = [Record(["x.test"]), Record(["a.test"], one), Record(["a.test", "b.test"], both)]
    assert nearest(["a.test", "b.test", "c.test"], records, time.time()) is both
    assert nearest(["a.test", "c.test"], records, time.time()) is one
    assert nearest(["c.test"], records, time.time()) is None
    assert nearest(["a.test"], records, time.time() + 150) is one
    assert nearest(["a.test"], records, time.time() + 250) is None


@pytest.mark.parametrize(
    ("kind", "retry_after", "failures", "least", "most"),
    [
        ("unreachable", None, 1, 0.75, 1.25),
        ("unreachable", None, 4, 6, 10),
        ("unreachable", None, 500, 225, 375),
        ("serverInternal", 120.0, 1, 120, 123),
        ("rateLimited", 3600.0, 1, 3600, 3672),
        ("rateLimited", 0.0, 1, 0, 0),
        ("rateLimited", None, 1, 3600, 4500),
        ("rateLimited", 9e12, 1, 7 * 86400, 7.2 * 86400),
        ("unauthorized", None, 1, 225, 375),
        ("caa", None, 3, 900, 1500),
        ("dns", None, 99, 16200, 27000),
    ],
)
def test_pauses(kind: str, retry_after: float | None, failures: int, least: float, most: float) -> None:
    for _ in range(20):
        assert least <= pause_after(TroubleError(kind, "", retry_after), failures) <= most


def test_retry_after() -> None:
    assert seconds_of("3600") == 3600
    assert seconds_of(" 0 ") == 0
    assert 50 < (seconds_of(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for odd in (None, "", "-5", "soon", "1e3", "٣"):
        assert seconds_of(odd) is None
