"""Requests checked against a document: FastAPI is the judge of what may not be refused."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.exchanges import exchange
from policies.validated_app import app
from portico.core.errors import Refusal
from portico.core.exchange import RouteMatch
from portico.core.slices import at_once
from portico.policies.policy import Context, Policy, State, WholeBody
from portico.policies.validate import ValidateSettings, build_validate
from support.asgi import status_of

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
KEY = "12345678-1234-5678-1234-567812345678"


class Checked:
    """A route that checks requests against this document."""

    def __init__(self, document: Any, added: frozenset[bytes] | None = frozenset(), **written: Any) -> None:
        state = State()
        if document is not None:
            at_once(state.documents.learning(("s", None), msgspec.json.encode(document)))
        policy = build_validate(ValidateSettings(**written), Context("gateway", state, added=added))
        assert policy is not None
        self.policy: Policy = policy

    def answer(
        self, method: str, target: str, fields: Any = (), body: bytes = b"", *, at_once: bool = True, **given: Any
    ) -> Refusal | None:
        """What a request is refused with; None where it is not."""
        path, mark, query = target.partition("?")
        lines = [f"{name}: {value}" for name, value in fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        asked = exchange(*lines, method=method, query=(mark + query).encode(), **given)
        route = SimpleNamespace(name="r", encoded_slashes=False, case_insensitive=False)
        asked.match = RouteMatch(route, SimpleNamespace(service_name="s", version=None), path, path.encode())
        asked.content = body if at_once else b""
        verdict = self.policy(asked)
        if isinstance(verdict, WholeBody):
            settled: list[Any] = []
            verdict.settle = settled.append
            verdict.complete(body) if len(body) <= verdict.max_size else verdict.too_large()
            (verdict,) = settled
        assert verdict is None or isinstance(verdict, Refusal)
        return verdict

    def errors(self, *asked: Any, **given: Any) -> Any:
        """What is wrong with a request; its reason where that is not all."""
        answer = self.answer(*asked, **given)
        if answer is None:
            return []
        return answer.members["errors"] if answer.members else answer.reason


CHECKED = Checked(app.openapi())


def compared(
    method: str, target: str, fields: Any = (), body: bytes = b"", checked: Checked = CHECKED, service: Any = app
) -> tuple[int, Refusal | None]:
    """What the service says to a request, and what the gateway does; it refuses nothing that the service takes."""
    status, said = status_of(service, method, target, fields, body)
    answer = checked.answer(method, target, fields, body)
    assert status >= 400 or answer is None, (target, fields, body, answer and (answer.detail, answer.members))
    assert status in (200, 307, 400, 404, 405, 415, 422) or b"surrogates" in said or b"not JSON compliant" in said
    return status, answer


VALUES: dict[str, tuple[Any, ...]] = {
    "number": (5, -10, 1000, 1001, -11, "5", " 5 ", "+5", "5.0", 5.0, 5.5, "x", "", True, None, [], {}, "1_0", 10**30),
    "ratio": (1, 1.5, "1.5", "1e3", " 2 ", "inf", "nan", "-Infinity", True, "x", "", [], None, "1_0.5", "."),
    "price": (1, 1.5, "1.5", "1e3", "x", True, None, "NaN", "-0.10"),
    "flag": (True, False, 0, 1, 2, 1.0, "true", "TRUE", "yes", "n", "on", "x", "", None, [], "1", "0"),
    "text": ("a", "", "a" * 20, "a" * 21, "ä" * 20, 5, None, True, [], "\u0000"),
    "code": ("ab", "a", "abcdef", "AB", None, 5, "ab\n"),
    "when": (
        *("2026-11-30T10:00:00Z", "2026-11-30 10:00", "2026-11-30", "1764500000", 1764500000, 1.5, -1, "x", "", None),
        *("2026-11-30T10:00:00.123456+05:30", "2026-13-01T00:00:00", True, "2026-11-30t10:00:00z", "20261130"),
    ),
    "day": ("2026-11-30", "2026-11-30T00:00:00", "2026-11-30T10:00:00", 0, 86400, "86400", "x", None, "2026-1-1"),
    "hour": ("10:00", "10:00:00", "10:00:00.5", "10:00:00Z", 3600, "3600", "25:00", "x", None),
    "span": ("PT1H", "P1D", "1 day, 00:00:01", "01:00:00", "-PT5S", 5, 5.5, "5", "x", None, "P3DT12H30M5S", "3 00:00"),
    "key": (KEY, KEY.replace("-", ""), f"{{{KEY}}}", f"urn:uuid:{KEY}", KEY.upper(), "x", 5, None, KEY[:-1]),
    "four": ("127.0.0.1", 2130706433, "1.2.3", "::1", "x", None, "256.1.1.1"),
    "six": ("::1", "fe80::1%eth0", 1, "127.0.0.1", "x", None, "1:2:3:4:5:6:7:8"),
    "url": ("http://a", "HTTP://a/b?c", "x", 5, None, "ftp://a", " http://a "),
    "colour": ("red", "RED", "green", 1, None),
    "level": (1, 2, 3, "1", "3", 1.0, True, "x", None),
    "numbers": ([], [1, "2", 3.0, True], ["x"], [1] * 5, [1] * 6, "1", None, {}, {"0": 1}),
    "names": (["a", "a", "a", "a"], ["a", "b", "c", "d"], [1], "a", None),
    "pair": ([1, "a"], ["1", "a"], [1], [1, "a", 2], ["x", "a"], None),
    "by_name": ({"a": 1}, {"a": "1.5"}, {"a": "x"}, [], None),
    "by_number": ({"1": "a"}, {"x": "a"}, {"1": 1}),
    "pet": (
        {"kind": "cat"},
        {"kind": "cat", "lives": "9"},
        {"kind": "dog"},
        {"kind": "cow"},
        {"name": "x"},
        None,
        "cat",
    ),
    "either": (1, "a", 1.5, [], None, True, {}),
    "node": (
        {"value": 1, "children": [{"value": "2", "children": []}]},
        {"value": 1, "children": [{"x": 2}]},
        {},
        None,
    ),
    "anything": (1, None, [], "x", {"a": [1]}),
    "step": (0.3, 0.1, 0.25, 0, "0.3", 1e20),
    "unknown": (1,),
}


@pytest.mark.parametrize("name", VALUES)
def test_nothing_in_a_body_is_refused_that_the_service_takes(name: str) -> None:
    for value in VALUES[name]:
        compared("POST", "/everything", [JSON], json.dumps({name: value}).encode())


@pytest.mark.parametrize(
    ("path", "fields", "body"),
    [
        ("/everything", [JSON], b"{}"),
        ("/everything", [("Content-Type", "application/json;charset=UTF-8")], b"{}"),
        ("/everything", [("Content-Type", "Application/JSON")], b"{}"),
        ("/everything", [("Content-Type", "application/merge-patch+json")], b"{}"),
        ("/everything", [("Content-Type", "application/vnd.a.b+json; v=1")], b"{}"),
        ("/everything", [("Content-Type", "text/json")], b"{}"),
        ("/everything", [("Content-Type", "text/plain")], b"{}"),
        ("/everything", [("Content-Type", "json")], b"{}"),
        ("/everything", [("Content-Type", "")], b"{}"),
        ("/everything", [], b"{}"),
        ("/everything", [], b""),
        ("/everything", [JSON], b""),
        ("/everything", [JSON], b"null"),
        ("/everything", [JSON], b"{"),
        ("/everything", [JSON], b"{} x"),
        ("/everything", [JSON], b'{"ratio": NaN}'),
        ("/everything", [JSON], b'{"ratio": Infinity, "number": "x"}'),
        ("/everything", [JSON], b'{"text": "\\ud800"}'),
        ("/everything", [JSON], '{"text": "ä"}'.encode("utf-16")),
        ("/everything", [JSON], b'\xef\xbb\xbf{"number": 1}'),
        ("/everything", [JSON], b'{"text": "\xff"}'),
        ("/everything", [JSON], b'{"number": 1, "number": "x"}'),
        ("/everything", [JSON], b'{"number": "x", "number": 1}'),
        ("/everything", [JSON], b'{"number": ' + b"1" * 5000 + b"}"),
        ("/everything", [JSON], b'{"ratio": ' + b"1" * 400 + b"}"),
        ("/everything", [JSON], b'{"anything": 1e999}'),
        ("/everything", [JSON], b'{"anything": ' + b"1" * 400 + b"}"),
        ("/maybe", [JSON], b"null"),
        ("/maybe", [JSON], b""),
        ("/maybe", [], b""),
        ("/maybe", [JSON], b'{"name": "a", "count": 1}'),
        ("/maybe", [JSON], b"{}"),
        ("/maybe", [("Content-Type", "text/plain")], b"x"),
        ("/strict", [JSON], b'{"name": "a", "count": "1"}'),
        ("/strict", [JSON], b'{"name": "a", "count": 0}'),
        ("/strict", [JSON], b'{"name": "a", "count": 1, "more": 1}'),
        ("/several", [JSON], b"{}"),
        ("/several", [JSON], b'{"first": null, "second": null}'),
        ("/several", [JSON], b'{"first": "2"}'),
        ("/several", [JSON], b'{"first": []}'),
        ("/several", [JSON], b"null"),
        ("/list", [JSON], b'[1, "2"]'),
        ("/list", [JSON], b'["x"]'),
        ("/list", [JSON], b"5"),
        ("/text", [JSON], b'"a"'),
        ("/text", [JSON], b"5"),
        ("/text", [("Content-Type", "text/plain")], b"abc"),
        ("/text", [("Content-Type", "application/octet-stream")], b"abc"),
        ("/text", [], b"abc"),
        ("/raw", [("Content-Type", "application/octet-stream")], b"abc"),
        ("/raw", [("Content-Type", "image/png")], b"abc"),
        ("/raw", [], b"abc"),
        ("/nothing", [JSON], b"{"),
        ("/query", [JSON], b"{"),
    ],
)
def test_no_body_is_refused_that_the_service_takes(path: str, fields: Any, body: bytes) -> None:
    compared("POST", path, fields, body)


QUERIES: dict[str, tuple[str, ...]] = {
    "number": (
        "5",
        "+5",
        "%2B5",
        "5.0",
        "x",
        "",
        "1_0",
        "%205",
        "0x5",
        "1e3",
        "1" * 5000,
        "%EF%BC%95",
        "5&number=x",
        "x&number=5",
    ),
    "ratio": ("1.5", "1e3", "nan", "inf", "x", "", "1_0"),
    "flag": ("true", "0", "Yes", "x", "", "on", "2"),
    "when": ("2026-11-30T10:00:00Z", "2026-11-30", "1764500000", "x", "2026-11-30T10:00:00+05:30"),
    "day": ("2026-11-30", "86400", "x"),
    "key": (KEY, KEY.replace("-", ""), "x"),
    "colour": ("red", "green", ""),
    "level": ("1", "3", "x"),
    "page": ("1", "100", "0", "101", "", "x", "50&page=0"),
    "many": ("1", "1&many=2", "x", "1&many=x", "1,2", ""),
    "words": ("a&words=a&words=a&words=a", "a&words=b&words=c&words=d", "a"),
    "code": ("ab", "a", "AB", ""),
    "either": ("1", "a", ""),
    "unknown": ("1",),
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_parameter_is_refused_that_the_service_takes(name: str) -> None:
    for text in QUERIES[name]:
        compared("GET", f"/query?{'' if name == 'number' else 'number=1&'}{name}={text}")


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/query", []),
        ("/query?Number=1", []),
        (f"/path/5/{KEY}/red", []),
        (f"/path/%35/{KEY}/r%65d", []),
        (f"/path/-1/{KEY}/red", []),
        (f"/path/x/{KEY}/red", []),
        (f"/path/5.0/{KEY}/red", []),
        ("/path/5/x/red", []),
        (f"/path/5/{KEY}/green", []),
        (f"/path/5/{KEY}/red/", []),
        ("/header", []),
        ("/header", [("X-Number", "5")]),
        ("/header", [("x-number", "5")]),
        ("/header", [("X-Number", "x")]),
        ("/header", [("X-Number", "5"), ("X-Many", "1"), ("X-Many", "2")]),
        ("/header", [("X-Number", "5"), ("X-Many", "1, 2")]),
        ("/header", [("X-Number", "5"), ("X-Number", "x")]),
        ("/cookie", []),
        ("/cookie", [("Cookie", "session=5")]),
        ("/cookie", [("Cookie", 'a=b; session="5"; theme=light')]),
        ("/cookie", [("Cookie", "session=x")]),
        ("/cookie", [("Cookie", "session=5; theme=pink")]),
        ("/cookie", [("Cookie", "session=5"), ("Cookie", "theme=dark")]),
    ],
)
def test_no_other_parameter_is_either(target: str, fields: Any) -> None:
    compared("GET", target, fields)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["1", "true", KEY]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(VALUES)), JSON_VALUES, max_size=3))
def test_no_random_body_is(body: Any) -> None:
    compared("POST", "/everything", [JSON], json.dumps(body).encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(QUERIES)), st.text(max_size=12)), max_size=3))
def test_no_random_query_is(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={quote(text, errors='replace')}" for name, text in pairs)
    compared("GET", f"/query?number=1&{query}")


def test_most_of_what_the_service_refuses_is_refused_before_it() -> None:
    cases = [("/everything", name, value) for name, values in VALUES.items() for value in values]
    outcomes = [compared("POST", path, [JSON], json.dumps({name: value}).encode()) for path, name, value in cases]
    refused = [answer is not None for status, answer in outcomes if status == 422]
    assert sum(refused) / len(refused) > 0.75
