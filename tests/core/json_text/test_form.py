"""Forms as JSON."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.core.json_text import JsonEditError, form_to_json
from portico.core.json_text.form import CHARSETS


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (b"", "{}"),
        (b"a=1", '{"a":"1"}'),
        (b"a=1&b=2&a=3&a=", '{"a":["1","3",""],"b":"2"}'),
        (b"name=Zo%C3%AB+%22Q%22&x=1%2B1%3D2", '{"name":"Zoë \\"Q\\"","x":"1+1=2"}'),
        (b"a=b=c&d&&=e&", '{"a":"b=c","d":"","":"e"}'),
        (b"a[]=1&a[]=2&b.c=3&d%5Be%5D=4", '{"a[]":["1","2"],"b.c":"3","d[e]":"4"}'),
        (b"a=100%&b=%zz&c=%4", '{"a":"100%","b":"%zz","c":"%4"}'),
        ("ä=é".encode(), '{"ä":"é"}'),
        (b"a=%00%0A", '{"a":"\\u0000\\n"}'),
        (b"a=1;b=2", '{"a":"1;b=2"}'),
    ],
)
def test_fields(form: bytes, text: str) -> None:
    assert form_to_json(form).decode() == text


def test_a_form_has_ten_thousand_fields_at_most() -> None:
    assert json.loads(form_to_json(b"&".join([b"a"] * 10_000))) == {"a": [""] * 10_000}
    with pytest.raises(JsonEditError, match="more than 10,000 fields"):
        form_to_json(b"&".join([b"a"] * 10_001))


@pytest.mark.parametrize(
    ("form", "charset"),
    [
        (b"n=%E9+\xe9", "iso-8859-1"),
        (b"n=%E9+\xe9", "WINDOWS-1252"),
        (b"n=%C3%A9+\xc3\xa9", "UTF-8"),
        (b"n=%a8%a6+\xa8\xa6", "gb18030"),
    ],
)
def test_charset(form: bytes, charset: str) -> None:
    assert form_to_json(form, charset).decode() == '{"n":"é é"}'


@pytest.mark.parametrize("charset", ["utf-16", "punycode", "idna", "utf-7", "rot13", "unicode_escape", "../x", ""])
def test_charsets_of_no_form(charset: str) -> None:
    with pytest.raises(JsonEditError, match="charset"):
        form_to_json(b"a=b", charset)


@pytest.mark.parametrize("charset", sorted(CHARSETS))
def test_all_charsets_are_of_python_and_hold_ascii(charset: str) -> None:
    assert form_to_json(b"a=b%20c", charset) == b'{"a":"b c"}'


@pytest.mark.parametrize(
    ("form", "charset"), [(b"a=%FF", "utf-8"), (b"\xc3=1", "utf-8"), (b"a=%ED%A0%80", "utf-8"), (b"a=%E9", "us-ascii")]
)
def test_what_is_not_in_its_charset(form: bytes, charset: str) -> None:
    with pytest.raises(JsonEditError, match=charset):
        form_to_json(form, charset)


@given(st.lists(st.tuples(st.text(), st.text())))
def test_forms_say_what_python_reads(fields: list[tuple[str, str]]) -> None:
    form = urlencode([(each.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for each, value in fields])
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(form, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    expected = {name: each if len(each) > 1 else each[0] for name, each in values.items()}
    assert json.loads(form_to_json(form.encode())) == expected
