"""May a response be stored, and as what (RFC 9111, section 3)?"""

from __future__ import annotations

from typing import Any

import pytest

from portico.proxy.cache.freshness import Arrival
from portico.proxy.cache.storing import decide
from portico.proxy.cache.variants import Asking, asker_of
from proxy.cache.messages import ARRIVAL, DATE, NOW, WALL, asked, decided, response, rules, stored, values

FRESH = "Cache-Control: max-age=60"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([FRESH], ""),
        (["Cache-Control: max-age=60, no-store"], "no-store"),
        (["Cache-Control: private, max-age=60"], "private"),
        (["Cache-Control: private"], "private"),
        (["Cache-Control: private, public, s-maxage=60"], "private"),
        (['Cache-Control: private="x-a", max-age=60'], ""),
        (["CDN-Cache-Control: private", FRESH], "private"),
        (["CDN-Cache-Control: no-store", FRESH], "no-store"),
        (["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"], ""),
        (["Cache-Control: no-cache"], "no-freshness"),
        (["Cache-Control: no-cache", 'ETag: "a"'], ""),
        (["Cache-Control: max-age=0"], "no-freshness"),
        (["Cache-Control: max-age=0", "Last-Modified: Fri, 15 Jan 2027 07:00:00 GMT"], ""),
        (["Cache-Control: max-age=0, stale-if-error=60"], ""),
        (["Cache-Control: max-age=0, stale-if-error=60, must-revalidate"], "no-freshness"),
        ([], "no-freshness"),
        (['ETag: "a"'], ""),
        ([FRESH, "Age: 120"], "stale"),
        ([FRESH, "Age: 120", 'ETag: "a"'], ""),
        ([FRESH, "Vary: *"], "vary"),
        ([FRESH, "Vary: a, *"], "vary"),
        ([FRESH, "Vary: ", "Vary: *"], "vary"),
        ([FRESH, "Vary: not a name"], "vary"),
        ([FRESH, "Vary: "], ""),
        ([FRESH, "Vary: X-Forwarded-For"], "vary"),
        ([FRESH, "Vary: X-Request-ID"], "vary"),
        ([FRESH, "Vary: X-Auth-Request-User"], "vary"),
        ([FRESH, "Vary: Host, X-Forwarded-Host, X-Forwarded-Proto"], ""),
        ([FRESH, "Set-Cookie: a=b"], "set-cookie"),
        (["Cache-Control: must-revalidate, max-age=60", "Set-Cookie: a=b"], "set-cookie"),
        (["Cache-Control: max-age=60, public", "Set-Cookie: a=b"], ""),
        (["Cache-Control: s-maxage=60", "Set-Cookie: a=b"], ""),
        (['Cache-Control: max-age=60, private="set-cookie"', "Set-Cookie: a=b"], ""),
        ([FRESH, "Incremental: ?1"], "incremental"),
        ([FRESH, "Content-Type: text/event-stream"], ""),
    ],
    ids=str,
)
def test_what_a_response_says(lines: list[str], reason: str) -> None:
    decision = decided(response(*lines))
    assert decision.reason == reason
    assert (decision.stored is None) is bool(reason)
    assert decision.is_general is bool(reason)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], ""),
        (["Cache-Control: no-store"], "no-store"),
        (["Cache-Control: private"], "private"),
        (["Cache-Control: no-cache"], "no-freshness"),
        (["Cache-Control: max-age=0"], "no-freshness"),
        (["Set-Cookie: a=b"], "set-cookie"),
        (["Content-Type: text/event-stream; charset=utf-8"], "stream"),
    ],
    ids=str,
)
def test_a_configured_time_allows_no_more_than_the_response(lines: list[str], reason: str) -> None:
    assert decided(response(*lines), ttl=30).reason == reason


@pytest.mark.parametrize(
    "status", [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 451, 499, 500, 503, 599]
)
def test_every_final_status_may_be_stored_with_its_own_word(status: int) -> None:
    assert decided(response(FRESH, status=status)).reason == ""


@pytest.mark.parametrize("status", [201, 202, 302, 403, 500, 503, 599])
def test_without_a_word_most_statuses_are_not(status: int) -> None:
    head = response('ETag: "a"', DATE, status=status)
    assert decided(head).reason == "status"
    assert decided(head, ttl=30, statuses=[status]).reason == ""


@pytest.mark.parametrize("status", [100, 103, 206, 304])
def test_what_is_no_whole_final_response_is_never_stored(status: int) -> None:
    decision = decided(response(FRESH, status=status))
    assert (decision.stored, decision.reason) == (None, "status")


def test_only_configured_statuses_are_stored() -> None:
    assert decided(response(FRESH, status=404), statuses=[200]).reason == "status"
    assert decided(response(FRESH), statuses=[200]).reason == ""


def test_errors_and_parts_say_nothing_of_other_requests() -> None:
    for status, is_general in ((206, False), (304, False), (503, False), (403, True)):
        assert decided(response('ETag: "a"', status=status)).is_general is is_general


@pytest.mark.parametrize(
    ("status", "reason"), [(200, ""), (404, ""), (599, "must-understand"), (299, "must-understand")]
)
def test_must_understand_is_above_no_store_for_statuses_that_are_known(status: int, reason: str) -> None:
    head = response("Cache-Control: max-age=60, no-store, must-understand", status=status)
    assert decided(head).reason == reason


@pytest.mark.parametrize(("method", "reason"), [(b"GET", ""), (b"QUERY", ""), (b"HEAD", "method"), (b"POST", "method")])
def test_methods(method: bytes, reason: str) -> None:
    decision = decide(rules(), Asking(asked(), method), response(FRESH), ARRIVAL)
    assert (decision.reason, decision.is_general) == (reason, False)
    assert decide(rules(methods=["HEAD"]), Asking(asked(), method), response(FRESH), ARRIVAL).reason == "method"


def test_a_request_may_forbid_it_for_itself() -> None:
    decision = decided(response(FRESH), "Cache-Control: no-store")
    assert (decision.reason, decision.is_general) == ("request-no-store", False)
    assert decided(response(FRESH), "Incremental: ?1").reason == "incremental"


SHARED = ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"]


@pytest.mark.parametrize("credentials", ["Authorization: Bearer a", "Cookie: session=1"])
@pytest.mark.parametrize("consumer", [None, "alice"])
@pytest.mark.parametrize("said", [*SHARED, "max-age=60", "private, public, max-age=60"])
def test_responses_to_requests_with_credentials(credentials: str, consumer: str | None, said: str) -> None:
    """Section 3.5."""
    compiled, request = rules(), asked(credentials)
    asker = asker_of(compiled, request, consumer=consumer)
    asking = Asking(request, asker=asker, consumer=consumer)
    decision = decide(compiled, asking, response(f"Cache-Control: {said}"), ARRIVAL)
    if said in SHARED:
        assert decision.stored is not None
        assert (decision.stored.is_shared, decision.stored.asker) == (True, None)
    elif said == "max-age=60" and consumer:
        assert decision.stored is not None
        assert (decision.stored.is_shared, decision.stored.asker) == (False, asker)
    else:
        assert (decision.stored, decision.reason) == (None, "private" if "private" in said else "credentials")


def test_none_is_stored_apart_where_that_is_off() -> None:
    compiled, request = rules(key={"consumer": "off"}), asked("Authorization: Bearer a")
    asking = Asking(request, asker=asker_of(compiled, request, consumer="alice"), consumer="alice")
    assert decide(compiled, asking, response(FRESH), ARRIVAL).reason == "credentials"


def test_what_varies_on_the_consumer_is_for_nobody_else_whatever_it_says() -> None:
    request, told = asked(), (b"X-Consumer-Username: alice",)
    compiled = rules()
    asker = asker_of(compiled, request, told, consumer="alice")
    head = response("Cache-Control: public, max-age=60", "Vary: X-Consumer-Username")
    decision = decide(compiled, Asking(request, b"GET", asker, "alice", told), head, ARRIVAL)
    assert decision.stored is not None
    assert (decision.stored.is_shared, decision.stored.asker) == (False, asker)


def allowances(*lines: str, **settings: Any) -> tuple[bool, float, float]:
    found = stored(*lines, 'ETag: "a"', **settings)
    return found.revalidates, found.stale_while_revalidate, found.stale_if_error


def test_for_how_long_it_may_be_stale() -> None:
    own = {"stale_while_revalidate": 5, "stale_if_error": 6}
    assert allowances(FRESH) == (False, 0, 0)
    assert allowances(FRESH, **own) == (False, 5, 6)
    both = "stale-while-revalidate=1, stale-if-error=2"
    assert allowances(f"{FRESH}, {both}", **own) == (False, 1, 2)
    assert allowances(f"{FRESH}, stale-while-revalidate=0, stale-if-error=x", **own) == (False, 0, 0)
    for word in ("must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"):
        assert allowances(f"Cache-Control: {word}, {both}", **own) == (True, 0, 0)


def test_which_fields_are_stored() -> None:
    """Section 3.1."""
    head = stored(
        *("Cache-Control: max-age=60", 'Cache-Control: private="x-a", no-cache="x-b"', "X-A: 1", "X-B: 2", "X-C: 3"),
        *("Connection: x-d, keep-alive", "X-D: 4", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "TE: x"),
        *("Proxy-Authentication-Info: x", "Age: 5", "X-Request-ID: y", "Server-Timing: db;dur=5", "Upgrade: h2c"),
        *(
            'ETag: "a"',
            "Content-Encoding: gzip",
            "Content-MD5: x",
            "Surrogate-Key: k",
            "Cache-Status: inner; hit",
            DATE,
        ),
        content=b"hello",
    ).head
    assert set(head.fields.names) == {
        *(b"cache-control", b"x-c", b"etag", b"content-encoding", b"content-md5", b"surrogate-key", b"cache-status"),
        *(b"date", b"content-length"),
    }
    assert (head.framing, values(head, "content-length")) == (5, ["5"])


def test_what_has_no_date_gets_the_time_of_its_arrival() -> None:
    """RFC 9110, section 6.6.1."""
    assert values(stored(FRESH).head, "date") == [DATE.removeprefix("Date: ")]
    earlier = "Fri, 15 Jan 2027 07:59:30 GMT"
    assert values(stored(FRESH, f"Date: {earlier}").head, "date") == [earlier]


def test_no_content_has_no_length() -> None:
    head = stored(FRESH, status=204).head
    assert (head.framing, values(head, "content-length")) == (0, [])


def test_when_it_began_and_how_old_it_is() -> None:
    decision = decide(rules(), Asking(asked()), response(FRESH, "Age: 10"), Arrival(NOW, WALL, 0.5))
    assert decision.stored is not None
    assert (decision.stored.since, decision.stored.born) == (NOW - 10.5, WALL - 0.5)


def test_what_it_may_be_purged_by() -> None:
    found = stored(
        *(FRESH, "Cache-Tag: a, b c,,", "Surrogate-Key: d  e", "Cache-Tag: f"),
        *('Cache-Groups: "x", "y z";p', 'Cache-Groups: "x"'),
    )
    assert found.tags == {b"tag:a", b"tag:b c", b"tag:d", b"tag:e", b"tag:f", b"group:x", b"group:y z"}
    assert stored(FRESH, "Cache-Groups: x").tags == frozenset()
