from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from portico.config import ConfigError, load_text
from portico.config import document as module
from portico.config.document import parse_document, scalar
from portico.config.substitution import plain_data


def data(text: str) -> Any:
    return plain_data(parse_document(text, "f.yaml"), {})[0]


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.yaml")
    return str(caught.value)


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers: machines without libyaml have only the second."""
    monkeypatch.setattr(module, "_LOADER", getattr(yaml, request.param))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8000", 8000),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("Yes", True),
        ("OFF", False),
        ("~", None),
        ("", None),
        ("0123", "0123"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("9" * 5000, "9" * 5000),
        ("20%", "20%"),
    ],
)
def test_words_mean_what_they_look_like(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quotes_make_text() -> None:
    assert data("a: '8000'\nb: \"true\"\nc: !!str 5\nd: !!int 5") == {"a": "8000", "b": "true", "c": "5", "d": 5}


def test_keys_are_text_as_written() -> None:
    assert data("on: 1\n1: 2\n1.10: 3\n~: 4") == {"on": 1, "1": 2, "1.10": 3, "~": 4}


def test_positions_of_keys_and_values() -> None:
    document = parse_document("services:\n  gemini:\n    url: x\n    list: [a, b]\n", "f.yaml")
    assert document.locate(("services", "gemini", "url"), at_key=True) == (3, 5)
    assert document.locate(("services", "gemini", "url")) == (3, 10)
    assert document.locate(("services", "gemini", "list", 1)) == (4, 15)
    assert document.locate(("services", "gemini", "missing")) == (3, 5)
    assert document.locate(("nothing",)) == (1, 1)


def test_a_key_written_twice() -> None:
    assert error("a: 1\nb: 2\na: 3") == 'f.yaml:3:1: the key "a" is written twice; it is on line 1 already'


def test_anchors_and_merge_keys() -> None:
    text = "base: &b {x: 1, y: 2}\nplain: *b\none: {<<: *b, y: 3}\ntwo: {z: 0, <<: [{y: 9}, *b]}"
    assert data(text) == {
        "base": {"x": 1, "y": 2},
        "plain": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 3},
        "two": {"z": 0, "y": 9, "x": 1},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "f.yaml:2:1: not valid YAML"),
        ("a: b: c", "f.yaml:1:5: not valid YAML"),
        ("ä: ö\nab: \x00", "f.yaml:2:5: not valid YAML"),
        ("x\nab: \ud800", "f.yaml:2:5: not valid YAML"),
        ("a: *b", "f.yaml:1:4: *b refers to no anchor above it"),
        ("a: &b [*b]", "f.yaml:1:8: *b is inside the value that it refers to"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: only one document"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: the tag tag:yaml.org,2002:python/object:os.system is"),
        ("[a]: 1", "f.yaml:1:1: a key has to be a word"),
        ("<<: 5", "f.yaml:1:5: << takes a mapping"),
        ("[" * 65 + "]" * 65, "f.yaml:1:65: nested more than 64 deep"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert error(text).startswith(message)


def test_endless_nesting_does_not_end_the_process() -> None:
    """libyaml reads a thousand characters ahead, and since PyYAML 6.0.4 refuses a thousand levels before we do 65."""
    assert "nest" in error("[" * 100_000)


def test_aliases_that_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 1,000,000 values" in error("\n".join(lines))


def test_aliases_that_nest() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 80)]
    assert "nested more than 64 deep" in error("\n".join(lines))


def test_placeholders_need_no_quotes_in_a_flow_mapping() -> None:
    assert data("{a: /api/{path}, b: '/{path}'}") == {"a": "/api/{path}", "b": "/{path}"}
    assert data("{GET /users/{id}/{tag:int}: x, b: [/{id}]}") == {"GET /users/{id}/{tag:int}": "x", "b": ["/{id}"]}
    document = parse_document("{secret: ${KEY}, next: ${B:-x}}", "f.yaml")
    assert plain_data(document, {"KEY": "k"})[0] == {"secret": "k", "next": "x"}
    assert document.locate(("next",)) == (1, 24)


def test_a_real_mapping_called_path_stays_one() -> None:
    assert data("a: {path}\nb: [{path}, {path: 1}]") == {"a": {"path": None}, "b": [{"path": None}, {"path": 1}]}


def test_private_use_characters_survive() -> None:
    assert data('{a: "\ue000\ue001", b: /{path}}') == {"a": "\ue000\ue001", "b": "/{path}"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file(text: str) -> None:
    assert not data(text)


@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*<>|'\"#?!% \n\t$\x00é1~"), max_size=60))
def test_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        data(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("services:\n\ta:\n", 2),
        ("services:\n  a:\n\turl: x\n", 3),
        ("services:\n  a:\n  \turl: x\n  b: 1\n", 3),
        ("services:\n  a: x\n\tb: y\n", 3),
        ("routes:\n\t- {service: a}\n", 2),
        ("routes:\r\n  - service: a\r\n\tpath: /x\r\n", 3),
    ],
)
def test_a_tab_that_indents(text: str, line: int) -> None:
    message = error(text)
    assert message.startswith(f"f.yaml:{line}:")
    assert message.endswith("a tab is not allowed here; use spaces")


def test_a_tab_elsewhere_is_space() -> None:
    assert data("b: 'x\ty'\n") == {"b": "x\ty"}
    assert "use spaces" not in error("a: 'x\ty': z")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("services: {a: {url: http://h}}\npolicies: {cors: {allow_origins: [*]}}", 35, 'quote it: "*"'),
        ("services:\n  a: {hosts: *}", 14, 'quote it: "*"'),
        ("routes:\n  - hosts: [a, *.example.com, b]", 16, 'quote it: "*.example.com"'),
        ("gateway:\n  admin_token: @s3cret", 16, "@ has a meaning of its own here; put the text into quotes"),
        ("gateway:\n  admin_token: `s3cret", 16, "put the text into quotes"),
        ("gateway:\n  admin_token: %s3cret", 16, "put the text into quotes"),
        ("gateway:\n  admin_token: *s3cret*", 16, "put the text into quotes"),
    ],
)
def test_what_has_to_be_quoted(text: str, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f")
    assert str(caught.value).startswith(f"f:2:{column}: not valid YAML: ")
    assert str(caught.value).endswith(message)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'services: {a: {url: "${NOPE"}}',
        "services: {a: {url: '${NOPE'}}",
        'services: {a: {url: http://h, health_check: "/${b"}}',
        'gateway: {title: "a${b", admin: "${ADMIN:-127.0.0.1:1}"}',
    ],
)
def test_a_variable_that_does_not_end_before_its_quote(text: str) -> None:
    with pytest.raises(ConfigError, match="`\\$\\{` starts a variable: write"):
        load_text(text, "f", {})


def test_quotes_in_a_default() -> None:
    text = 'gateway: {title: ${TITLE:-it\'s "mine"}, admin: "${ADMIN:-127.0.0.1:1}"}'
    assert load_text(text, "f", {}).gateway.title == 'it\'s "mine"'
