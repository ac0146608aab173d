"""Patterns: what they match, beside `re`; what they capture; what is refused; and how long `re` may take."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from portico.core.errors import MessageError
from portico.core.paths import segments_of
from portico.core.patterns import pattern_set as module
from portico.core.patterns.pattern import path_pattern, path_text, value_pattern
from portico.core.patterns.pattern_set import PatternSet
from portico.core.patterns.safety import backtracks_in_linear_time
from portico.core.patterns.syntax import Branch, Choice, Group, Node, One, Repeat, Sequence, read_pattern


def text_of(path: str) -> str:
    return path_text(segments_of(path.encode()))


def matches(pattern: str, path: str) -> bool:
    return PatternSet([path_pattern(pattern)]).matches(text_of(path)) == (0,)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("^/users/[0-9]+$", ["/users/7", "/users/%37"], ["/users/", "/users/7a", "/users/7/", "/x/users/7"]),
        ("^/users/[0-9]+", ["/users/7", "/users/7/a", "/users/7a"], ["/users/a", "/x/users/7"]),
        (r"\.php$", ["/.php", "/a/b.php"], ["/a.php/b", "/aphp"]),
        ("/b/", ["/a/b/c", "/b/"], ["/a/b", "/b"]),
        ("^/a$|^/b/", ["/a", "/b/", "/b/c"], ["/a/", "/b", "/c"]),
        ("^/[^/]+/x$", ["/a/x", "/a%2Fb/x", "/%C3%A9/x"], ["/a/b/x", "//x"]),
        ("^/a.b$", ["/acb", "/a%2Fb", "/a%2fb", "/a/b"], ["/ab", "/accb", "/a%C3%A9b"]),
        ("^/caf%C3%a9$", ["/caf%c3%A9"], ["/cafe", "/caf%C3"]),
        ("^/%61%2d$", ["/a-", "/%61%2D"], ["/%2561-"]),
        (r"^/[%20%2F]$", ["/%20", "/%2F"], ["/2", "/0"]),
        (r"^/\d{2,3}-\w?$", ["/12-", "/123-_"], ["/1-", "/1234-", "/12--"]),
        (r"^/[\d.-]+[]a]$", ["/1.2-]".replace("]", "a"), "/.a"], ["/1.2-", "/x"]),
        (r"^/[^\d]$", ["/a", "/-"], ["/1"]),
        (r"^/(a|b|)c$", ["/ac", "/bc", "/c"], ["/abc"]),
        (r"^/x(?:ab){2}$", ["/xabab"], ["/xab", "/xababab"]),
        (r"^/\$\{a\}\+\*$", ["/${a}+*"], ["/$"]),
        ("^/api(/|$)", ["/api", "/api/", "/api/x"], ["/apis"]),
        ("^/api(/|$)(.*)$", ["/api", "/api/", "/api/x"], ["/apis"]),
        ("^/(?:a$|b)", ["/a", "/b", "/bc"], ["/ac"]),
        ("^/a(b|$)c", ["/abc"], ["/a", "/ac"]),
        ("^/a{2,}$", ["/aa", "/aaaaa"], ["/a"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not matches(pattern, path)] == []
    assert [path for path in no if matches(pattern, path)] == []


def test_a_pattern_may_ignore_case() -> None:
    pattern = path_pattern("^/Users/(?P<name>[a-c]+)/[^x]$", ignores_case=True)
    for path, fits in (("/users/Abc/y", True), ("/USERS/CBA/Y", True), ("/users/d/y", False), ("/users/a/X", False)):
        assert PatternSet([pattern]).matches(path) == ((0,) if fits else ())
    assert pattern.captured(b"/USERS/AbC/y") == {"name": b"AbC"}


def test_what_groups_capture_is_written_back_as_it_was_sent() -> None:
    pattern = path_pattern("^/(?P<tenant>[^/]+)/(?P<rest>.*)$")
    path = b"/%41%2fb/%2561/c;d"
    assert pattern.captured(path) == {"tenant": b"%41%2fb", "rest": b"%2561/c;d"}
    assert pattern.captured(b"/plain") is None
    assert pattern.captured(b"/a/b") == {"tenant": b"a", "rest": b"b"}
    optional = path_pattern("^/a(?:/(?P<b>b))?$")
    assert optional.captured(b"/a") == {"b": b""}
    assert path_pattern("^/%61%2f/(?P<b>b)").captured(b"/a%2f/b") == {"b": b"b"}


def test_values_are_compared_as_they_are() -> None:
    for pattern, value, fits in (
        ("^(1|yes)$", "yes", True),
        ("^(1|yes)$", "yes!", False),
        ("100%2", "at 100%2F", True),
        (r"^a\s+b", "a \t b", True),
        ("^[^;]+$", "é", True),
    ):
        assert PatternSet([value_pattern(pattern)]).matches(value) == ((0,) if fits else ()), pattern


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "a pattern is written after the ~"),
        ("^/é", "a pattern has ASCII only: write %C3%A9"),
        ("^/a b", "no path has a space in it: write %20"),
        (r"^/a\?b", "no path has ? in it: write query: {name: value} beside it"),
        ("^/a%2", "a percent sign comes with two hexadecimal digits; the character itself is %25"),
        ("^/users/{id}", "a part with a name is (?P<id>[^/]+)"),
        ("{id}", "a part with a name is (?P<id>[^/]+)"),
        ("^/a{3,2}", "a repeat goes from a number to a larger one, to 255 at most"),
        ("^/a{256}", "to 255 at most"),
        ("^/(a{255}){255}", "the pattern is too long"),
        ("^/a**", "two repeats follow each other"),
        ("^/a++", "two repeats follow each other"),
        ("^/*", None),
        ("*", "* has nothing before it to repeat; the character itself is \\*"),
        ("^/(a", "a ( without its )"),
        ("^/a)", "a ) without its ("),
        ("^/[a", "a [ without its ]"),
        ("^/[b-a]", "a range such as a-z"),
        ("^/[[:digit:]]", "[:name:] is not supported"),
        ("^/a\\", "ends with a backslash"),
        (r"^/\bx", r"\b is not supported"),
        (r"^/(x)\1", r"\1 is not supported"),
        ("^/(?=a)", "cannot look ahead or behind"),
        ("^/(?<!a)", "cannot look ahead or behind"),
        ("(?i)^/a", "begins with ~*"),
        ("^/(?>a)", "a group is (…), (?:…) or (?P<name>…)"),
        ("^/(?P<a>x)(?P<a>y)", "the name a is in the pattern twice"),
        ("^/a$b", "$ stands at the end"),
        ("^/(a$b|b)", "$ stands at the end"),
        ("^/(^a)", "^ stands at the beginning"),
        ("/(?P<a>x)", "a pattern with named groups begins with ^"),
        ("^/(?P<a>.*)/x/(?P<b>.*)/y$", "could take very long to find"),
    ],
)
def test_what_is_refused(pattern: str, message: str | None) -> None:
    if message is None:
        path_pattern(pattern)
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        path_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "prefix", "outline"),
    [
        ("^/users/(?P<id>[0-9]+)$", "/users", ["/users/", "id"]),
        ("^/users/(?P<id>[0-9]+)/x$", "/users", ["/users/", "id", "/x"]),
        ("^/users/(?P<id>[0-9]+)", "/users", None),
        ("^/users$", "/users", ["/users"]),
        ("^/users", "/", None),
        ("^/a%2Fb/c.d", "/a%2Fb", None),
        ("/a/b", "/", None),
        ("^/a/x|^/a/y", "/", None),
    ],
)
def test_what_is_literal_in_a_pattern(pattern: str, prefix: str, outline: list[str] | None) -> None:
    made = path_pattern(pattern)
    assert made.prefix == prefix
    parts = made.outline
    assert (parts and [part if isinstance(part, str) else part.name for part in parts]) == outline


def test_a_pattern_for_paths_that_are_decoded_or_folded() -> None:
    pattern = path_pattern("^/v1%3Aadmin/[^/]+/Caf%C3%A9$")
    assert PatternSet([pattern.decoded()]).matches("/v1:admin/x/Caf\xc3\xa9") == (0,)
    assert PatternSet([pattern.folded()]).matches("/v1:admin/x/caf\xc3\xa9") == (0,)
    assert PatternSet([pattern.decoded()]).matches("/v1:admin/x/caf\xc3\xa9") == ()


# ---- against re

SYMBOLS = ["a", "b", "/", "%2F"]
atoms = st.sampled_from(["a", "b", "/", "%2F", ".", "[^/]", "[ab]", "[a%2F]", r"\w", r"\d"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    )


bodies = st.recursive(atoms, grown, max_leaves=8)
written = st.tuples(st.sampled_from(["", "^"]), bodies, st.sampled_from(["", "$"])).map("".join)
texts = st.lists(st.sampled_from(SYMBOLS), max_size=8).map(lambda parts: "/" + "".join(parts))


def as_re(pattern: str) -> re.Pattern[str]:
    end = r"\Z" if pattern.endswith("$") else ""
    return re.compile(pattern.removesuffix("$").replace("%2F", "\u012f") + end, re.DOTALL | re.ASCII)


@settings(max_examples=500, deadline=None)
@given(st.lists(written, min_size=1, max_size=5), st.lists(texts, min_size=1, max_size=5))
def test_many_patterns_choose_as_one_by_one_and_as_re(patterns: list[str], paths: list[str]) -> None:
    made = [path_pattern(pattern) for pattern in patterns]
    together, alone = PatternSet(made), [PatternSet([pattern]) for pattern in made]
    for path in paths:
        text = text_of(path)
        expected = tuple(index for index, each in enumerate(patterns) if as_re(each).search(text))
        assert together.matches(text) == together.matches(text) == expected
        assert tuple(index for index, each in enumerate(alone) if each.matches(text)) == expected


@settings(max_examples=300, deadline=None)
@given(bodies, bodies, st.sampled_from(["", "$"]), texts)
def test_captures_are_those_of_re(one: str, other: str, end: str, path: str) -> None:
    pattern = f"^/(?P<one>{one})/(?P<other>{other}){end}"
    try:
        made = path_pattern(pattern)
    except ValueError:
        assume(False)
    found = as_re(pattern).match(text_of(path))
    expected = found and {name: part.replace("\u012f", "%2F").encode() for name, part in found.groupdict().items()}
    assert made.captured(path.encode()) == expected


# ---- how long re may take


def ways(node: Node, text: str, at: int, steps: list[int]) -> Iterator[int]:
    """Where a part may end that begins `at`, in the order in which a backtracking matcher tries it."""
    steps[0] += 1
    match node:
        case One(symbols):
            yield from [at + 1] if at < len(text) and ord(text[at]) in symbols else []
        case Group(part=part):
            yield from ways(part, text, at, steps)
        case Choice(options):
            for option in options:
                yield from ways(option, text, at, steps)
        case Sequence(parts):
            first, *others = parts or (None,)
            for end in ways(first, text, at, steps) if first else ():
                yield from ways(Sequence(tuple(others)), text, end, steps)
            yield from () if first else (at,)
        case Repeat():
            yield from ways_of_repeat(node, text, at, steps)


def ways_of_repeat(node: Repeat, text: str, at: int, steps: list[int]) -> Iterator[int]:
    may_end = not node.least
    if may_end and node.lazy:
        yield at
    if node.most != 0:
        rest = Repeat(node.part, max(node.least - 1, 0), node.most and node.most - 1, node.lazy)
        for end in ways(node.part, text, at, steps):
            if end > at or node.least:
                yield from ways(rest, text, end, steps)
    if may_end and not node.lazy:
        yield at


def steps_taken(branch: Branch, text: str) -> int:
    steps = [0]
    for end in ways(branch.body, text, 0, steps):
        if end == len(text) or not branch.ends or steps[0] > 100_000:
            break
    return steps[0]


@settings(max_examples=500, deadline=None)
@given(bodies, st.lists(st.sampled_from("ab/"), min_size=1, max_size=3), st.lists(st.sampled_from("ab/"), max_size=3))
def test_what_passes_takes_steps_in_proportion_to_the_text(body: str, pumped: list[str], rest: list[str]) -> None:
    """The text that would take longest repeats something, and then does not match."""
    branches = read_pattern(f"^{body}$", is_path=True)
    assume(backtracks_in_linear_time(branches))
    short, long = ("".join(pumped) * times + "".join(rest) + "!" for times in (20, 60))
    assert steps_taken(branches[0], long) <= 3.5 * steps_taken(branches[0], short) + 100


@pytest.mark.parametrize(
    "body",
    ["(a|a)*b", "(a*)*b", "(a?){20}", ".*a.*a", "(?:ab?)*b*c", "[ab]*[bc]*d", "(a|ab)(c|bcd)*d*c", "a{1,9}a{1,9}"],
)
def test_what_may_take_long_is_found(body: str) -> None:
    assert not backtracks_in_linear_time(read_pattern(f"^/{body}$", is_path=True))


@pytest.mark.parametrize(
    "body",
    [
        *("[0-9]+", "[^/]+/[^/]+", "(/[^/]+)*", r".+\.(css|js|map)", "[0-9]{4}-[0-9]{2}/(?:en|es|et)", "(ab|cd)*e"),
        *("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"[\w-]+-\w+", "(?:v[0-9]+/)?users/[^/]+(?:/.*)?"),
    ],
)
def test_what_is_common_passes(body: str) -> None:
    assert backtracks_in_linear_time(read_pattern(f"^/{body}$", is_path=True))


def test_states_are_bounded_for_each_text_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = PatternSet([path_pattern("a.{12}b$")])
    texts = [f"/{number:016b}".replace("0", "b").replace("1", "a") for number in range(40)]
    expected = [bool(re.search("a.{12}b$", text)) for text in texts]
    monkeypatch.setattr(module, "_STATES", 0)
    assert [patterns.matches(text) == (0,) for text in texts] == expected
    assert len(patterns._states) <= 4 * len(patterns._symbols) + 17
    monkeypatch.setattr(module, "MOST_NEW_STATES", 10)
    with pytest.raises(MessageError, match="takes too long to compare"):
        patterns.matches("/ababbabbbabbbbab/aabbaabb/abab")
