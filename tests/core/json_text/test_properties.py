"""JsonEdit beside the reference, on whatever Hypothesis thinks of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from core.json_text import reference
from portico.core.json_text import JsonEdit, JsonEditError, json_value
from portico.core.json_text.syntax import check_json

NAMES = ["a", "b", "", "0", "1", "2", "-", "é", '"', "\\", "a]", "{", "/", "~", "\n", "\ud800", "\U0001f600"]
SPACE = st.sampled_from(["", "", "", " ", "\n  ", "\t\r\n "])
LEAVES = st.sampled_from(
    [
        *["null", "true", "false", "0", "-0", "1.0", "1e400", "-1.5E+10", "12345678901234567890", "0.10"],
        *['""', '"a"', r'"\"]}"', r'"[{\\"', r'"\u00e9\/\ud800"', '"é\U0001f600"', r'"\\\\"', '":,"'],
    ]
)


def escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def spelled(name: str) -> st.SearchStrategy[str]:
    """A key of that name, with more escapes than needed or not."""
    characters = [st.sampled_from([escaped(each), json_value(each).decode()[1:-1]]) for each in name]
    return st.tuples(*characters).map(lambda each: '"' + "".join(each) + '"')


EXAMPLES = 30
KEYS = st.sampled_from(NAMES).flatmap(spelled)


def containers(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaced = st.tuples(SPACE, values, SPACE).map("".join)
    members = st.tuples(SPACE, KEYS, SPACE, st.just(":"), spaced).map("".join)
    return st.one_of(
        st.tuples(SPACE, st.lists(spaced, max_size=5)).map(lambda each: "[" + (",".join(each[1]) or each[0]) + "]"),
        st.tuples(SPACE, st.lists(members, max_size=5)).map(lambda each: "{" + (",".join(each[1]) or each[0]) + "}"),
    )


VALUES = st.recursive(LEAVES, containers, max_leaves=15)
TEXTS = st.tuples(SPACE, VALUES, SPACE).map(lambda parts: "".join(parts).encode())
OBJECTS = containers(containers(VALUES)).map(str.encode)
POINTERS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(
    lambda names: "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
)
SOME = st.lists(POINTERS, max_size=3)
PATCHES = st.one_of(TEXTS, OBJECTS)


def is_inside(new: str, old: str) -> bool:
    return new.startswith(old + "/")


RENAMINGS = st.tuples(POINTERS, st.one_of(POINTERS, st.sampled_from(["", "a", "b", "é"]))).filter(
    lambda pair: not is_inside(pair[1], pair[0])
)


@settings(max_examples=EXAMPLES)
@given(
    st.one_of(TEXTS, OBJECTS),
    SOME,
    SOME,
    st.none() | RENAMINGS,
    st.dictionaries(POINTERS, TEXTS, max_size=3),
    st.none() | PATCHES,
    st.booleans(),
)
def test_an_edit_does_what_the_reference_does(
    text: bytes,
    picks: Sequence[str],
    removes: Sequence[str],
    renaming: tuple[str, str] | None,
    sets: Mapping[str, bytes],
    patch: bytes | None,
    is_made: bool,
) -> None:
    root = reference.Entry("", reference.parsed(text))
    if picks:
        reference.pick(root, picks)
    reference.remove(root, removes)
    if renaming:
        reference.rename(root, *renaming)
    for pointer, value in sets.items():
        reference.put(root, reference.names_of(pointer), reference.parsed(value))
    if patch is not None:
        reference.merge(root, reference.parsed(patch))
    edit = JsonEdit(
        pick=picks,
        remove=removes,
        rename=dict([renaming] if renaming else []),
        set=sets,
        merge=(lambda _: patch) if is_made and patch is not None else patch,
    )
    edited = edit.apply(text)
    check_json(edited)
    assert reference.tokens_of(edited) == reference.written(root.node)


@settings(max_examples=EXAMPLES)
@given(st.one_of(TEXTS, OBJECTS), SOME, st.dictionaries(POINTERS, POINTERS, max_size=3))
def test_what_no_pointer_finds_is_the_same_byte_for_byte(
    text: bytes, removes: Sequence[str], renames: Mapping[str, str]
) -> None:
    """However deep the text was looked into for that."""
    nowhere = [pointer + "/nowhere" for pointer in removes]
    edit = JsonEdit(remove=nowhere, rename={old + "/nowhere": new for old, new in renames.items()})
    assert edit.apply(text) == text


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from("abcd"), VALUES), min_size=1, max_size=6), st.sampled_from("abcd"), SPACE)
def test_members_beside_those_removed_are_the_same_byte_for_byte(
    members: Sequence[tuple[str, str]], name: str, space: str
) -> None:
    def text(members: Sequence[tuple[str, str]]) -> bytes:
        return ("{" + ",".join(f'{space}"{key}"{space}:{space}{value}' for key, value in members) + "}").encode()

    edited = JsonEdit(remove=["/" + name]).apply(text(members))
    assert edited == text([member for member in members if member[0] != name])


@settings(max_examples=EXAMPLES)
@given(
    st.one_of(TEXTS, OBJECTS),
    st.dictionaries(POINTERS, st.one_of(POINTERS, st.sampled_from(["", "a", "b"])), max_size=5),
)
def test_renamings_at_once_invent_nothing(text: bytes, renames: Mapping[str, str]) -> None:
    renames = {old: new for old, new in renames.items() if not is_inside(new, old)}
    edited = JsonEdit(rename=renames).apply(text)
    check_json(edited)
    before, after = (set(leaves(each)) for each in (text, edited))
    assert after <= before


def leaves(text: bytes) -> list[str]:
    def of(node: reference.Node) -> list[str]:
        if node.opening in ("[", "{"):
            return [leaf for entry in node.entries for leaf in of(entry.node)]
        return [node.opening]

    return of(reference.parsed(text))


JUNK = st.lists(
    st.sampled_from([*'[]{}:,"\\/u019eE.+- \n\t\x00\x1fatnrfls', "null", "true", r"\ud800", "é"]), max_size=12
)


def strictly(text: str) -> object:
    def refused(word: str) -> object:
        raise ValueError(word)

    return json.loads(text, parse_constant=refused)


@settings(max_examples=EXAMPLES)
@given(st.one_of(JUNK.map("".join), VALUES.flatmap(lambda text: changed(text))))
def test_what_is_json_is_what_python_reads(text: str) -> None:
    try:
        strictly(text)
    except ValueError:
        is_json = False
    else:
        is_json = True
    try:
        check_json(text.encode())
    except JsonEditError:
        assert not is_json
    else:
        assert is_json


def changed(text: str) -> st.SearchStrategy[str]:
    """A text with a character left out or another put in."""
    return st.tuples(st.integers(0, len(text)), st.booleans(), st.sampled_from('[]{}:,"\\0-.e \x0bx')).map(
        lambda change: text[: change[0]] + ("" if change[1] else change[2]) + text[change[0] + change[1] :]
    )


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=8).map(lambda inner: b'"' + inner + b'"'))
def test_bytes_that_are_no_utf_8_are_refused(text: bytes) -> None:
    try:
        strictly(text.decode())
    except ValueError:
        is_json = False
    else:
        is_json = True
    try:
        check_json(text)
    except JsonEditError:
        assert not is_json
    else:
        assert is_json
