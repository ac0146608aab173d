"""Which version a request gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.errors import Refusal
from portico.core.exchange import RouteMatch
from portico.core.messages import Fields, RequestHead
from portico.proxy.routing.versions import (
    SourceOf,
    VersionChooser,
    VersionMatches,
    Versions,
    by_header,
    by_media_type,
    by_query,
)

NAMES = ("v1", "v2", "v3")


def request(*lines: str, target: str = "/x") -> RequestHead:
    made = RequestHead()
    fields = [line.encode() for line in lines]
    made.fields = Fields([line.partition(b":")[0].lower() for line in fields], fields)
    made.target = target.encode()
    return made


def chooser(*sources: SourceOf, default: str | None = "v1", reads_query: bool = False) -> VersionChooser:
    return VersionChooser(
        Versions.of("shop", dict.fromkeys(NAMES), default, "latest"), sources, reads_query=reads_query
    )


def accepting(accept: str, default: str | None = "v2") -> str | Refusal:
    return chooser(by_media_type("shop"), default=default).choose(request(f"Accept: {accept}"))


def reason(chosen: str | Refusal) -> str | None:
    return chosen.reason if isinstance(chosen, Refusal) else chosen


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        ("application/vnd.shop.v1+json;q=0.2, application/vnd.shop.v3+json;q=0.1", "v1"),
        ("application/vnd.shop.v1+json;q=0.2, application/vnd.shop.v1+xml;q=0.9, application/vnd.shop.v3;q=0.8", "v1"),
        ("APPLICATION/VND.SHOP.V1+JSON", "v1"),
        ("application/vnd.shop.latest+json", "v3"),
        ("application/vnd.shop.v2+json;q=0, application/*", "v3"),
        ("application/vnd.shop.v2+json;q=0, application/vnd.shop.v3+json;q=0, */*", "v1"),
        ("application/vnd.shop.v2+json;q=0.1, */*", "v2"),
        ("application/vnd.shop.v1+json;q=0.1, */*;q=0.5", "v2"),
        ("application/vnd.shop.v9+json, text/html;q=0.1", "v2"),
        ("text/vnd.shop.v1+json", "v2"),
        ("application/vnd.shop.v1+json;q=2", "v2"),
        ('text/plain;x=",application/vnd.shop.v1+json"', "v2"),
        ("*/*;q=0", "v2"),
        ("", "v2"),
        ("application/vnd.shop.v9+json", "version_not_acceptable"),
        ("application/vnd.shop.v9+json, */*;q=0", "version_not_acceptable"),
        ("application/vnd.shop.v1+json;q=0", "version_not_acceptable"),
    ],
)
def test_weights(accept: str, version: str) -> None:
    assert reason(accepting(accept)) == version


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 1000)), min_size=1))
def test_the_order_in_accept_means_nothing(wanted: list[tuple[str, int]]) -> None:
    ranges = [f"application/vnd.shop.{version}+json;q={weight / 1000:.3f}" for version, weight in wanted]
    best = max((weight, version) for version, weight in wanted)[1]
    assert accepting(", ".join(ranges)) == accepting(", ".join(reversed(ranges))) == best


@given(st.text())
def test_whatever_is_asked_for_is_answered(text: str) -> None:
    line = "".join(text.splitlines())
    own = chooser(by_media_type("shop"), by_header(["API-Version"]), by_query("v"), reads_query=True)
    for asked in (
        request(f"Accept: application/vnd.shop.{line}"),
        request(f"API-Version: {line}"),
        request(target=f"/?v={line}"),
    ):
        chosen = own.choose(asked)
        assert chosen in NAMES or isinstance(chosen, Refusal)


def test_the_first_source_that_names_one_decides() -> None:
    own = chooser(by_header(["X-V"]), by_media_type("shop"), by_query("v"), reads_query=True)
    accept = "Accept: application/vnd.shop.v3+json"
    assert own.choose(request("X-V: 2", accept, target="/x?v=v1")) == "v2"
    assert own.choose(request(accept, target="/x?v=v1")) == "v3"
    assert own.choose(request("Accept: */*", target="/x?a&v=v2")) == "v2"
    assert own.choose(request(target="/x?a")) == "v1"
    assert reason(own.choose(request("X-V: v9", accept))) == "version_unknown"


def test_without_a_default_one_has_to_be_named() -> None:
    refusal = chooser(by_header(["X-V"]), default=None).choose(request())
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.status) == ("version_missing", 400)
    assert refusal.detail == "say which version of shop you want: v1 or v2 or v3"


def test_a_name_is_its_own_before_it_is_short_for_another() -> None:
    versions = Versions.of("shop", dict.fromkeys(("v2", "2", "V3.1", "beta")), "v2", "latest")
    called = {name: versions.called(name) for name in (b"V2", b"2", b"3.1", b"BETA", b"latest", b"v", b"")}
    assert list(called.values()) == ["v2", "2", "V3.1", "beta", "beta", None, None]


def test_what_is_over_is_not_offered() -> None:
    versions = Versions.of("shop", {"v1": 1.0, "v2": 1e12, "v3": None}, "v3", "latest")
    refusal = VersionChooser(versions, [by_header(["X-V"])], reads_query=False).choose(request("X-V: v7"))
    assert isinstance(refusal, Refusal)
    assert refusal.detail == "shop has no such version; there is v2, v3"


@pytest.mark.parametrize("reads_query", [False, True])
def test_what_fields_decide_is_remembered_and_the_query_is_not(reads_query: bool) -> None:
    asked: list[bytes] = []
    query = by_query("v")

    def counting(request: RequestHead, versions: Versions) -> str | Refusal | None:
        asked.append(request.target)
        return query(request, versions) if reads_query else None

    own = chooser(counting, reads_query=reads_query)
    matches = {name: RouteMatch(name, None, "/x", b"/x") for name in NAMES}
    found = VersionMatches(own, matches, RouteMatch.nowhere(b"/x"))
    first = request()
    targets = [b"/x", b"/x?v=2", b"/x", b"/x?v=3"]
    chosen = []
    for target in targets:
        first.target = target
        chosen.append(found.of(first)[0].route)
    assert chosen == (["v1", "v2", "v1", "v3"] if reads_query else ["v1"] * 4)
    assert asked == ([b"/x", b"/x?v=2", b"/x?v=3"] if reads_query else [b"/x"])


def test_another_chooser_remembers_for_itself() -> None:
    asked = request("X-V: v2", "X-W: v3")
    one, other = chooser(by_header(["X-V"])), chooser(by_header(["X-W"]))
    assert [own.choose(asked) for own in (one, other, one)] == ["v2", "v3", "v2"]
