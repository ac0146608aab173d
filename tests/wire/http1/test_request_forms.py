"""Heads read by their form: which are, what is found in them, and what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.core.errors import MessageError
from portico.core.fields import PASSES, REQUEST_DROP, REQUEST_RULES
from portico.core.messages import RequestHead
from portico.wire.http1.forms import ALIKE, COUNTED, MOST_FORMS
from portico.wire.http1.grammar import parse_request_head
from portico.wire.http1.request_forms import MOST_DECISIONS, RequestForm, RequestForms

TAIL = (
    b"HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\nUser-Agent: x/1\r\nTraceParent: 00\r\n"
    b"Cookie: a=1\r\nCookie: b=2\r\nContent-Length: 5\r\nX.Odd|Name: \xff\t1\r\n\r\n"
)


def parsed(tail: bytes, method: bytes = b"GET") -> RequestHead:
    """Read field by field. Raises MessageError."""
    line, _, block = tail[:-4].partition(b"\r\n")
    start = method + b" / " + line
    request = parse_request_head(start, block, 100, 100, REQUEST_DROP | REQUEST_RULES, PASSES)
    request.tail = tail
    return request


def form_of(tail: bytes) -> RequestForm:
    request = parsed(tail)
    form = RequestForm(request)
    assert form.learn(request)
    return form


def found(request: RequestHead) -> list[object]:
    """All that can be found in a head."""
    fields = request.fields
    names = {name: (fields.get(name), fields.once(name), fields.all(name)) for name in (*fields.names, b"absent")}
    others = ("fields", "known", "received", "tail")
    plain = [getattr(request, name) for name in RequestHead.__slots__ if name not in others]
    return [plain, fields.names, fields.lines, fields.unnoted(), fields.passing(), names]


def test_it_finds_what_is_found_field_by_field() -> None:
    form, other = form_of(TAIL), TAIL.replace(b"a=1", b"").replace(b"h: 5", b"h: 12").replace(b": x/1", b":y")
    for tail in (TAIL, other):
        request = form.read(b"GET", b"/", tail)
        assert request is not None
        assert found(request) == found(parsed(tail))


def test_what_decides_has_to_be_known_and_is_learnt() -> None:
    form = form_of(TAIL)
    for old, new in ((b"a.example", b"b.example"), (b"keep-alive", b"close"), (b"keep-alive", b"X-Odd")):
        other = TAIL.replace(old, new)
        assert form.read(b"GET", b"/", other) is None
        assert form.learn(parsed(other))
        request = form.read(b"GET", b"/", other)
        assert request is not None
        assert found(request) == found(parsed(other))
    assert form.read(b"PUT", b"/", TAIL) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"HTTP/1.1", b"HTTP/1,1"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Cookie: a=1\r\n", b""),
        (b"Cookie: a=1\r\n", b"Cookie: a=1\r\nCookie: a=1\r\n"),
        (b"Cookie: a", b"cookie: a"),
        (b"Cookie: a", b"Cookie : a"),
        (b"Cookie: a", b" Cookie: a"),
        (b"User-Agent: x/1\r\nTraceParent: 00\r\n", b"TraceParent: 00\r\nUser-Agent: x/1\r\n"),
        (b"X.Odd", b"X-Odd"),
        (b"Odd|Name", b"Odd"),
        (b"Length: 5", b"Length: "),
        (b"Length: 5", b"Length:  5"),
        (b"Length: 5", b"Length: 5 "),
        (b"Length: 5", b"Length: +5"),
        (b"Length: 5", b"Length: 5, 5"),
        (b"Length: 5", b"Length: 1234567890123456789"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\n\r\n"),
        (b"a=1\r\n", b"a=1\n"),
        (b"a=1\r\n", b"a=1\r"),
        (b"a=1\r\n", b"a=1\r\r\n"),
        (b"a=1\r\n", b"a=1\r\n\r\n"),
        (b"a=1\r\n", b"a=1\r\n b\r\n"),
    ],
)
def test_others_are_not_of_the_form(old: bytes, new: bytes) -> None:
    other = TAIL.replace(old, new, 1)
    assert other != TAIL
    assert form_of(TAIL).read(b"GET", b"/", other) is None


def test_no_byte_passes_in_a_place_in_which_none_may_be() -> None:
    """Each byte at each place: what the form takes is what is read field by field."""
    form, taken = form_of(TAIL), 0
    for place in range(len(TAIL)):
        for byte in (*range(0x21), ord(":"), ord("~"), 0x7F, 0x80, 0xFF):
            other = TAIL[:place] + bytes((byte,)) + TAIL[place + 1 :]
            request = form.read(b"GET", b"/", other)
            if request is not None:
                taken += 1
                assert found(request) == found(parsed(other))
    assert taken > 100


NAMES = st.sampled_from([b"Accept", b"Cookie", b"cookie", b"TE", b"X-Forwarded-For", b"DNT", b"X_A", b"Content-Length"])
VALUES = st.sampled_from([b"", b"1", b"1, 2", b"a: b", b"\xe4", b"\t", b"close"])


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(NAMES, max_size=5), st.permutations([b"Host", b"Connection"]))
def test_any_fields(data: st.DataObject, names: list[bytes], more: list[bytes]) -> None:
    """Two heads with the same names, the second perhaps spoilt: what both ways of reading find is the same."""

    def head() -> bytes:
        values = {b"Host": st.just(b"a"), b"Connection": st.sampled_from([b"close", b"te, cookie"])}
        lines = [name + b": " + data.draw(values.get(name, VALUES)) for name in (*more, *names)]
        return b"\r\n".join((b"HTTP/1.1", *lines, b"", b""))

    first, second = head(), head()
    place = data.draw(st.integers(0, len(second)))
    second = second[:place] + data.draw(st.sampled_from([b"", b"", b"\r\n", b"\n", b"\x00", b":"])) + second[place:]
    try:
        form = form_of(first)
    except MessageError:
        return
    request = form.read(b"GET", b"/", second)
    if request is not None:
        assert found(request) == found(parsed(second))


def named(number: int) -> bytes:
    return b"HTTP/1.1\r\nHost: a\r\nX-%d: 1\r\n\r\n" % number


def test_forms_are_made_of_what_comes_often() -> None:
    forms = RequestForms(often=3, pause=0.0)
    for times in range(1, 4):
        assert forms.read(b"GET", b"/", TAIL) is None
        forms.learn(parsed(TAIL if times != 2 else TAIL.replace(b"a.example", b"b.example")))
    assert forms.read(b"GET", b"/", TAIL) is not None
    assert forms.read(b"GET", b"/", TAIL.replace(b"Cookie: a", b"COOKIE: a")) is None


def test_who_sends_other_names_in_every_head_keeps_nobody_waiting() -> None:
    forms = RequestForms(often=1, pause=3600.0)
    for number in range(3):
        forms.learn(parsed(named(number)))
    assert [forms.read(b"GET", b"/", named(number)) is not None for number in range(3)] == [True, False, False]


def test_what_is_kept_has_bounds() -> None:
    forms = RequestForms(often=1, pause=0.0)
    for number in range(MOST_FORMS + 10):
        forms.learn(parsed(b"HTTP/1.1\r\nHost: a\r\n%bX: 1\r\n\r\n" % (b"Y: %d\r\n" % number * (number % 90))))
        forms.learn(parsed(named(number).replace(b"\r\n\r\n", b"\r\nEnd: 1\r\n\r\n")))
    kept = list(forms.table._forms.values())
    assert max(map(len, kept)) == ALIKE
    assert sum(map(len, kept)) == forms.table._made <= MOST_FORMS
    rare = RequestForms(often=1000)
    for number in range(COUNTED + 10):
        rare.learn(parsed(named(number)))
    assert len(rare.table._counts) <= COUNTED


def test_what_is_learnt_of_hosts_has_bounds() -> None:
    forms = RequestForms(often=1, pause=0.0)
    for number in range(MOST_DECISIONS + 100):
        forms.learn(parsed(named(number % 3).replace(b"Host: a", b"Host: h%d" % number)))
    kept = list(forms.table.all())
    assert 0 < sum(len(form.decided) for form in kept) <= MOST_DECISIONS + len(kept)
    long = named(1).replace(b"Host: a", b"Host: " + b"a" * 5000)
    forms.learn(parsed(long))
    assert forms.read(b"GET", b"/", long) is None
    assert max(len(line) for form in kept for _, lines in form.decided for line in lines) < 100


@pytest.mark.parametrize(
    "tail",
    [
        b"HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0\r\nHost: a\r\n\r\n",
        b"HTTP/1.1\r\nHost: a\r\n%b: 1\r\n\r\n" % (b"X" * 1000),
    ],
)
def test_of_some_heads_there_is_no_form(tail: bytes) -> None:
    forms = RequestForms(often=1, pause=0.0)
    forms.learn(parsed(tail))
    assert forms.read(b"GET", b"/", tail) is None


def test_a_length_that_is_written_unusually_makes_no_form_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RequestForm] = []

    def make(request: RequestHead) -> RequestForm:
        made.append(RequestForm(request))
        return made[-1]

    monkeypatch.setattr("portico.wire.http1.request_forms.RequestForm", make)
    forms, tail = RequestForms(often=1, pause=0.0), TAIL.replace(b"Length: 5", b"Length:  5")
    for _ in range(50):
        forms.learn(parsed(tail))
    assert len(made) == 1


def test_forms_that_nobody_uses_are_dropped() -> None:
    forms = RequestForms(often=1, pause=0.0)
    forms.learn(parsed(TAIL))
    forms.learn(parsed(named(1)))
    for _ in range(2):
        forms.table.age(0.0)
        assert forms.read(b"GET", b"/", named(1)) is None, "what it has learnt is forgotten"
        forms.learn(parsed(named(1)))
        assert forms.read(b"GET", b"/", named(1)) is not None
    assert sum(map(len, forms.table._forms.values())) == 1
