"""JSON edited as text, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from portico.core.json_text import JsonEdit, JsonEditError

NUMBERS = (
    rb'{"id": 990000000262240065, "price": 1.10, "tiny": 1E-7, "big": 165598928036513123123.0, "n": -0,'
    rb' "huge": 1e400, "u": "\u00e9\/", "a": [], "o": {}, "old": 1, "a": 2}'
)


def edited(text: bytes, context: Any = None, **changes: Any) -> bytes:
    return JsonEdit(**changes).apply(text, context)


def test_what_is_not_touched_stays_as_it_was_written() -> None:
    assert edited(NUMBERS, rename={"/old": "/new"}) == NUMBERS.replace(b'"old"', b'"new"')


@pytest.mark.parametrize(
    ("text", "pointers", "left"),
    [
        (b'{"a":1,"b":2,"c":3}', ["/b"], b'{"a":1,"c":3}'),
        (b'{"a":1,"b":2,"c":3}', ["/a"], b'{"b":2,"c":3}'),
        (b'{"a":1,"b":2,"c":3}', ["/c"], b'{"a":1,"b":2}'),
        (b'{"a":1,"b":2,"c":3}', ["/c", "/a", "/b"], b"{}"),
        (b'{"a": 1, "b": 2}', ["/a"], b'{"b": 2}'),
        (b'{ "a" : 1 , "b" : 2 }', ["/a"], b'{ "b" : 2 }'),
        (b'{ "a" : 1 , "b" : 2 }', ["/b"], b'{ "a" : 1 }'),
        (b'{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n', ["/a"], b'{\n  "b": 2,\n  "c": 3\n}\n'),
        (b'{\n  "a": 1,\n  "b": 2\n}\n', ["/b"], b'{\n  "a": 1\n}\n'),
        (b'{\n  "a": 1\n}\n', ["/a"], b"{}\n"),
        (b'{"a":1,"b":2,"a":3}', ["/a"], b'{"b":2}'),
        (b'{"a":{"x":1,"y":1},"a":{"x":2}}', ["/a/x"], b'{"a":{"y":1},"a":{}}'),
        (rb'{"\u0061":1,"b":2}', ["/a"], b'{"b":2}'),
        (rb'{"a\"b":1,"a]b":2,"c":3}', ['/a"b', "/a]b"], b'{"c":3}'),
        (rb'{"\ud800":1,"b":2}', ["/\ud800"], b'{"b":2}'),
        (b'{"a/b":1,"m~n":2,"":3,"c":4}', ["/a~1b", "/m~0n", "/"], b'{"c":4}'),
        (b'{"a":{"b":{"c":1,"d":2}}}', ["/a/b/c"], b'{"a":{"b":{"d":2}}}'),
        (b"[0,1,2,3]", ["/0", "/1"], b"[2,3]"),
        (b"[0,1,2,3]", ["/3", "/4", "/-", "/01", "/1e0", "/99999999999999999999"], b"[0,1,2]"),
        (b"[ [1, 2], 3 ]", ["/0/0"], b"[ [2], 3 ]"),
        (b'{"a":5}', ["/a/b", "/b", "/a/0"], b'{"a":5}'),
        (b'{"0":1,"01":2}', ["/0"], b'{"01":2}'),
        (b'{"a":{"b":1}}', ["/a", "/a/b"], b"{}"),
        (b"5", ["/a"], b"5"),
        (b' "text" ', ["/a"], b' "text" '),
        (b"{ }", ["/a"], b"{ }"),
        (b"[\n]", ["/0"], b"[\n]"),
        (b'\xef\xbb\xbf{"a":1}', ["/a"], b"\xef\xbb\xbf{}"),
    ],
)
def test_remove(text: bytes, pointers: list[str], left: bytes) -> None:
    assert edited(text, remove=pointers) == left


@pytest.mark.parametrize(
    ("text", "pointers", "left"),
    [
        (b'{"a":1,"b":2,"c":3}', ["/b"], b'{"b":2}'),
        (b'{"a": 1, "b": 2, "c": 3}', ["/c", "/a"], b'{"a": 1, "c": 3}'),
        (b'{"user":{"name":"x","password":"y"},"z":0}', ["/user/name"], b'{"user":{"name":"x"}}'),
        (b'{"user":"secret","z":0}', ["/user/name"], b"{}"),
        (b'{"user":{"password":"y"},"z":0}', ["/user/name"], b"{}"),
        (b'{"user":{"name":1},"user":{"name":2,"p":3}}', ["/user/name"], b'{"user":{"name":1},"user":{"name":2}}'),
        (b'{"user":{"name":1,"p":2}}', ["/user/name", "/user"], b'{"user":{"name":1,"p":2}}'),
        (b"[0, 1, 2]", ["/2", "/0"], b"[0, 2]"),
        (b'[{"a":1,"b":2},{"a":3}]', ["/0/a"], b'[{"a":1}]'),
        (b"[0, 1]", ["/a"], b"[]"),
        (b'"secret"', ["/a"], b"null"),
        (b" { } ", ["/a"], b" {} "),
    ],
)
def test_pick(text: bytes, pointers: list[str], left: bytes) -> None:
    assert edited(text, pick=pointers) == left


@pytest.mark.parametrize(
    ("text", "pointers", "renamed"),
    [
        (b'{"a" : 1, "b": 2}', {"/a": "c"}, b'{"c" : 1, "b": 2}'),
        (b'{"a":{"b":1}}', {"/a/b": "c/d"}, b'{"a":{"c/d":1}}'),
        (b'{"a":{"b":1}}', {"/a/b": "/a/c~1d"}, b'{"a":{"c/d":1}}'),
        (b'{"a":1,"b":2}', {"/a": "/b", "/b": "/a"}, b'{"b":1,"a":2}'),
        (b'{"a":1,"b":2,"c":3}', {"/a": "/c"}, b'{"c":1,"b":2}'),
        (b'{"a":1,"b":2}', {"/x": "/b"}, b'{"a":1,"b":2}'),
        (b'{"a":1,"b":2}', {"/a": "/a"}, b'{"a":1,"b":2}'),
        (b'{"a":1,"b":2,"a":3}', {"/a": "/c"}, b'{"c":1,"b":2,"c":3}'),
        (b'{"a":1,"b":2,"a":3}', {"/a": "/c/d"}, b'{"b":2,"c":{"d":3}}'),
        (b'{"u":{"a":1},"u":{"a":2,"b":3}}', {"/u/a": "/u/b"}, b'{"u":{"b":1},"u":{"b":2}}'),
        (b'{"a":{"b":1.0}}', {"/a/b": "/c/d"}, b'{"a":{},"c":{"d":1.0}}'),
        (b'{"a":{"b":1.0}}', {"/a/b": "/a"}, b'{"a":1.0}'),
        (b'{"data":{"b":1.0},"x":0}', {"/data": ""}, b'{"b":1.0}'),
        (b'{"a":{"x":1,"y":2}}', {"/a": "/b/c", "/a/x": "/a/z", "/a/y": "/d"}, b'{"b":{"c":{"z":1}},"d":2}'),
        (b'{"a":1,"b":"text"}', {"/a": "/b/c"}, b'{"a":1,"b":"text"}'),
        (b'{"a":1,"b":[]}', {"/a": "/b/0"}, b'{"a":1,"b":[]}'),
        (b'{"a":1,"b":[2]}', {"/a": "/b/0"}, b'{"b":[1]}'),
        (b'{"a":1,"b":[2]}', {"/a": "/b/-"}, b'{"b":[2,1]}'),
        (b'{"a":1,"b":null}', {"/a": "/b/-"}, b'{"b":[1]}'),
        (b"[0,1,2]", {"/0": "/-"}, b"[1,2,0]"),
        (b"[0,1,2]", {"/0": "x"}, b"[0,1,2]"),
        (b'{"a":1,"b":2,"c":"t"}', {"/b": "/a", "/a": "/c/d"}, b'{"a":2,"c":"t"}'),
    ],
)
def test_rename(text: bytes, pointers: dict[str, str], renamed: bytes) -> None:
    assert edited(text, rename=pointers) == renamed


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        (b'{"a":1}', {"/a": b" 2.0 "}, b'{"a":2.0}'),
        (b'{"a":1}', {"/b": b"2"}, b'{"a":1,"b":2}'),
        (b'{"a": 1}', {"/b": b"2"}, b'{"a": 1, "b": 2}'),
        (b'{ "a" : 1 }', {"/b": b"2"}, b'{ "a" : 1, "b" : 2 }'),
        (b'{\n  "a": 1\n}', {"/b": b"2", "/c": b"3"}, b'{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}'),
        (b"{ }", {"/b": b"2"}, b'{"b":2}'),
        (b"{}", {"/b/c": b"2", "/b/d": b"3"}, b'{"b":{"c":2,"d":3}}'),
        (b"{}", {"/b/-/c": b"2", "/b/-": b"3", "/b/0/c": b"4"}, b'{"b":[{"c":4},3]}'),
        (b'{"a":null}', {"/a/b": b"2"}, b'{"a":{"b":2}}'),
        (b'{"a":null}', {"/a/-": b"2"}, b'{"a":[2]}'),
        (b"null", {"/a": b"2"}, b'{"a":2}'),
        (b'{"a":5}', {"/a/b": b"2"}, b'{"a":5}'),
        (b'"text"', {"/a/b": b"2"}, b'"text"'),
        (b'{"a":1,"a":2}', {"/a": b"3"}, b'{"a":3,"a":3}'),
        (b'{"a":{},"a":[],"a":null}', {"/a/b": b"3"}, b'{"a":{"b":3},"a":[],"a":{"b":3}}'),
        (rb'{"\u0061":1}', {"/a": b"2"}, rb'{"\u0061":2}'),
        (b"{}", {'/é"\x01': b"2"}, '{"é\\"\\u0001":2}'.encode()),
        (b"[1, 2]", {"/1": b"3", "/2": b"4", "/-": b"5"}, b"[1, 3,5]"),
        (b"[]", {"/-": b"5", "/0": b"6"}, b"[6]"),
        (b'{"-":1}', {"/-": b"5"}, b'{"-":5}'),
        (b'{"a":1}', {"/a": lambda context: context}, b'{"a":"made"}'),
    ],
)
def test_set(text: bytes, values: dict[str, Any], written: bytes) -> None:
    assert edited(text, b'"made"', set=values) == written


@pytest.mark.parametrize("is_made", [False, True])
@pytest.mark.parametrize(
    ("text", "patch", "merged"),
    [
        (b'{"a":"b"}', b'{"a":"c"}', b'{"a":"c"}'),
        (b'{"a":"b"}', b'{"b":"c"}', b'{"a":"b","b":"c"}'),
        (b'{"a":"b"}', b'{"a":null}', b"{}"),
        (b'{"a":"b","b":"c"}', b'{"a":null}', b'{"b":"c"}'),
        (b'{"a":["b"]}', b'{"a":"c"}', b'{"a":"c"}'),
        (b'{"a":"c"}', b'{"a":["b"]}', b'{"a":["b"]}'),
        (b'{"a":{"b":"c"}}', b'{"a":{"b":"d","c":null}}', b'{"a":{"b":"d"}}'),
        (b'{"a":[{"b":"c"}]}', b'{"a":[1]}', b'{"a":[1]}'),
        (b'["a","b"]', b'["c","d"]', b'["c","d"]'),
        (b'{"a":"b"}', b'["c"]', b'["c"]'),
        (b'{"a":"foo"}', b"null", b"null"),
        (b'{"a":"foo"}', b'"bar"', b'"bar"'),
        (b'{"e":null}', b'{"a":1}', b'{"e":null,"a":1}'),
        (b"[1,2]", b'{"a":"b","c":null}', b'{"a":"b"}'),
        (b"{}", b'{"a":{"bb":{"ccc":null}}}', b'{"a":{"bb":{}}}'),
    ],
    ids=range(1, 16),
)
def test_merge_of_rfc_7396_appendix_a(text: bytes, patch: bytes, merged: bytes, is_made: bool) -> None:
    assert edited(text, merge=(lambda _: patch) if is_made else patch) == merged


@pytest.mark.parametrize("is_made", [False, True])
@pytest.mark.parametrize(
    ("text", "patch", "merged"),
    [
        (
            b'{"a":1.0, "b":1e400}',
            b'{"c":{"x":null,"y":[null, 0.10]}}',
            b'{"a":1.0, "b":1e400,"c":{"y":[null, 0.10]}}',
        ),
        (b'{"a":{"x":1},"a":2}', b'{"a":{"x":3}}', b'{"a":{"x":3},"a":{"x":3}}'),
        (b'{"a":1,"a":2,"b":3}', b'{"a":null}', b'{"b":3}'),
        (rb'{"\u0061":1}', b'{"a":2,"a":3}', rb'{"\u0061":3}'),
        (b"{}", b'{ "a" : { } }', b'{"a":{}}'),
    ],
)
def test_merge(text: bytes, patch: bytes, merged: bytes, is_made: bool) -> None:
    assert edited(text, merge=(lambda _: patch) if is_made else patch) == merged


def test_merge_of_members_that_are_made() -> None:
    patch = {"a": {"x": lambda context: context, "y": b"null", "z": {}}, "b": lambda _: b"null", "c": b'{"n":null}'}
    text = b'{"a":{"x":{"k":1.0},"y":2},"b":3}'
    assert edited(text, b'{"l":[],"m":null}', merge=patch) == b'{"a":{"x":{"k":1.0,"l":[]},"z":{}},"c":{}}'
    assert edited(b"[]", b"null", merge=patch) == b'{"a":{"z":{}},"c":{}}'


@pytest.mark.parametrize(
    ("wrap", "wrapped"),
    [
        ("data", b'\xef\xbb\xbf{"data": [1.0] }'),
        ("a/b", b'\xef\xbb\xbf{"a/b": [1.0] }'),
        ("/a/b~1c", b'\xef\xbb\xbf{"a":{"b/c": [1.0] }}'),
        ("", b'\xef\xbb\xbf{"": [1.0] }'),
    ],
)
def test_wrap(wrap: str, wrapped: bytes) -> None:
    assert edited(b"\xef\xbb\xbf [1.0] ", wrap=wrap) == wrapped


def test_order() -> None:
    edit = JsonEdit(
        wrap="data",
        merge=b'{"c":{"y":2}}',
        set={"/c/x": b"1"},
        rename={"/b": "/c"},
        remove=["/b/secret"],
        pick=["/b", "/d"],
    )
    assert edit.apply(b'{"a":0,"b":{"secret":0},"c":1}') == b'{"data":{"c":{"x":1,"y":2}}}'


def test_indexes_after_other_changes() -> None:
    assert edited(b"[[0],[1],[2]]", pick=["/2"], set={"/0/0": b"3", "/1": b"4"}) == b"[[3]]"
    assert edited(b'[{"a":1,"b":2},3]', pick=["/0"], remove=["/0/a"], set={"/0/c": b"5"}) == b'[{"b":2,"c":5}]'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no JSON"),
        (b"\xef\xbb\xbf", "no JSON"),
        (b"{", "no JSON"),
        (b'{"a":1,}', "no JSON"),
        (b'{"a":01}', "no JSON"),
        (b'{"a":NaN}', "no JSON"),
        (b"{'a':1}", "no JSON"),
        (b'{"a":1} x', "no JSON"),
        (b'{"a":1}\x00', "no JSON"),
        (b'"\x01"', "no JSON"),
        (rb'"\x41"', "no JSON"),
        (rb'"\ud80"', "no JSON"),
        (rb'"\\ud800', "no JSON"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b"[" * 501 + b"]" * 501, "500 levels"),
        (b'{"a":' * 501 + b"1" + b"}" * 501, "500 levels"),
        (b"[" * 1_000_000, "500 levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "500 levels"),
    ],
)
def test_what_is_no_json(text: bytes, reason: str) -> None:
    with pytest.raises(JsonEditError, match=reason):
        edited(text, remove=["/a"])


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 500 + b"]" * 500,
        b'{"b":' * 500 + b'"[[["' + b"}" * 500,
        b"[" + b"[],{}," * 1000 + b"0]",
        rb'["\ud800", "\uDFFF\\", "\\ud800"]',
        rb'{"b":"\\","c":"\"]","d":"[{"}',
        "\u2028é\U0001f600".join(['"', '"']).encode(),
        b"12345678901234567890123456789",
        b"-1.5E+400",
        b" null\n",
    ],
)
def test_what_is_json(text: bytes) -> None:
    assert edited(text, remove=["/a", "/b/x", "/0/x", "/b/b/b/x"]) == text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"remove": ["a"]}, "begins with a slash"),
        ({"remove": [""]}, "the whole document"),
        ({"set": {"": b"1"}}, "the whole document"),
        ({"pick": ["/a~2"]}, "~0"),
        ({"pick": ["/a~"]}, "~0"),
        ({"remove": ["/a" * 101]}, "more than 100 names"),
        ({"rename": {"/a": "/a/b"}}, "into itself"),
        ({"set": {"/a": b"{"}}, "no JSON"),
        ({"merge": b"[1"}, "no JSON"),
        ({"merge": b'{"a":' * 101 + b"1" + b"}" * 101}, "100 levels"),
        ({"wrap": "/a~"}, "~0"),
    ],
)
def test_edits_that_cannot_be(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        JsonEdit(**changes)


@pytest.mark.parametrize("made", [b"", b"1,2", b'1}{"a":2', b"\xff", b"\xef\xbb\xbf1"])
@pytest.mark.parametrize("kind", ["set", "merge"])
def test_what_is_made_is_checked(made: bytes, kind: str) -> None:
    edit = JsonEdit(set={"/a": lambda _: made}) if kind == "set" else JsonEdit(merge=lambda _: made)
    with pytest.raises(JsonEditError, match="a value to write"):
        edit.apply(b"{}")


def test_no_time_is_lost_on_texts_made_for_that() -> None:
    """Each of these would take minutes, were it read more than a few times."""
    edit = JsonEdit(
        pick=["/a", "/x"],
        remove=["/a/1", "/a/3/k/1", "/x/k"],
        rename={"/x/a": "/x/b"},
        set={"/a/-": b"1", "/a/2000": b"1"},
        merge=lambda _: b'{"x":{"z":1}}',
    )
    for text in (
        b'{"a":[' + b",".join([b"[]"] * 100_000) + b"]}",
        b'{"a":[' + b",".join([b"[" * 20 + b"]" * 20] * 10_000) + b"]}",
        b'{"x":{' + b",".join(b'"%d":' % number + b"[" * 20 + b"]" * 20 for number in range(10_000)) + b"}}",
        b'{"x":{' + b",".join(b'"%d":1' % number for number in range(50_000)) + b"}}",
        b'{"x":{' + b",".join(rb'"\u006c%d":"["' % number for number in range(20_000)) + b"}}",
        b'{"a":"' + rb"\"[\\" * 100_000 + b'"}',
    ):
        assert edit.apply(text).endswith(b"}")


@pytest.mark.parametrize("text", [b'"a":1', b'"b":{"a":1,"a":2}'])
def test_many_doubled_names_are_an_error(text: bytes) -> None:
    """Nobody writes them but to have them edited for seconds."""
    edit = JsonEdit(remove=["/a", "/b/a"])
    edit.apply(b"{" + b",".join([text] * 500) + b"}")
    with pytest.raises(JsonEditError, match="doubled names"):
        edit.apply(b"{" + b",".join([text] * 2000) + b"}")
