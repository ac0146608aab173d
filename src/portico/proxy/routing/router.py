"""Which route a request takes: an exact path, then patterns, then the longest prefix; then host, headers and the rest.

Exact paths are a dictionary, prefixes a tree of segments, and hosts dictionaries. Patterns stand in that tree too, at
the segments with which they begin, and those in one place are one automaton. So the cost of a match depends on the
length of the path, not on the number of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from portico.core.messages import Fields
from portico.core.paths import decoded_segments, segments_of
from portico.core.patterns.pattern import Pattern, path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.patterns.syntax import Branch
from portico.core.slices import Steps
from portico.proxy.routing.conditions import Conditions, fields_fit, query_fits

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """What a request must look like to reach `target`.

    `path` is a prefix by whole segments, or with `exact` the whole path; with a `pattern` that decides instead. Hosts
    are lower-case names or `*.example.com`; `methods` None admits all. A `fallback` comes after all other rules: one
    that is exact after those for the same path and hosts.
    """

    path: str
    target: T
    hosts: tuple[str, ...] = ()
    methods: frozenset[bytes] | None = None
    headers: Conditions = ()
    query: Conditions = ()
    exact: bool = False
    pattern: Pattern | None = None
    fallback: bool = False


class _Node(Generic[T]):
    """The rules for one path, pattern or prefix, by host; with the children of a prefix it is a node of the tree."""

    __slots__ = (
        *("any_host", "anywhere", "children", "hosts", "narrows", "patterns", "reads_fields", "rules", "suffixes"),
    )

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[T]] = {}
        self.patterns: _Patterns[T] | None = None
        """Those with this prefix."""
        self.any_host: list[Rule[T]] = []
        self.hosts: dict[bytes, list[Rule[T]]] = {}
        self.suffixes: dict[bytes, list[Rule[T]]] = {}
        self.anywhere = [self.any_host]
        self.rules = self.narrows = self.reads_fields = False

    def add(self, rule: Rule[T]) -> None:
        self.rules = True
        self.narrows = self.narrows or bool(rule.hosts)
        self.reads_fields = self.reads_fields or bool(rule.headers or rule.query)
        if not rule.hosts:
            _insert(self.any_host, rule)
        for host in rule.hosts:
            if host.startswith("*."):
                _insert(self.suffixes.setdefault(host[1:].encode(), []), rule)
            else:
                _insert(self.hosts.setdefault(host.encode(), []), rule)

    def candidates(self, host_field: bytes) -> list[list[Rule[T]]]:
        """The lists of rules that a Host field admits, the most specific host first."""
        if not self.narrows:
            return self.anywhere
        host = _host_name(host_field)
        found = [self.hosts[host]] if host in self.hosts else []
        if self.suffixes:
            dot = host.find(b".")
            while dot >= 0:
                if host[dot:] in self.suffixes:
                    found.append(self.suffixes[host[dot:]])
                dot = host.find(b".", dot + 1)
        found.append(self.any_host)
        return found


class _Patterns(Generic[T]):
    """Patterns with one prefix, compared with what follows it: each with its turn, and a node with its rules."""

    __slots__ = ("rests", "together", "turns")

    def __init__(self, alone: PatternSet, rest: Pattern, turn: tuple[int, _Node[T]]) -> None:
        self.together = alone
        """While there is one, that of all patterns with the same rest: thousands may be alike."""
        self.rests = [rest]
        self.turns = [turn]

    def add(self, rest: Pattern, turn: tuple[int, _Node[T]]) -> None:
        if len(self.rests) == 1:
            self.together = PatternSet(self.rests)
        self.together.add(rest)
        self.rests.append(rest)
        self.turns.append(turn)

    def matching(self, segments: Sequence[bytes]) -> list[tuple[int, _Node[T]]]:
        """The turns of those that match."""
        return [self.turns[index] for index in self.together.matches(path_text(segments))]


def _insert(rules: list[Rule[T]], rule: Rule[T]) -> None:
    """Keep rules with more conditions first; equal ones stay in the order of the configuration."""
    rules.append(rule)
    if len(rules) > 1:
        rules.sort(key=lambda each: (each.fallback, -len(each.headers) - len(each.query), each.methods is None))


class Router(Generic[T]):
    """Finds the target of a request among any number of rules.

    `read` cuts their paths into segments, and `form` makes of their patterns what such segments are compared with.
    """

    def __init__(
        self,
        rules: Iterable[Rule[T]] = (),
        read: Callable[[bytes], Iterable[bytes]] = segments_of,
        form: Callable[[Pattern], Pattern] = lambda pattern: pattern,
    ) -> None:
        self._root: _Node[T] = _Node()
        self._exact: dict[tuple[bytes, ...], _Node[T]] = {}
        self._patterns: dict[str, _Node[T]] = {}
        """The rules of each pattern."""
        self._groups: list[_Patterns[T]] = []
        self._alone: dict[tuple[Branch, ...], PatternSet] = {}
        self._others: _Node[T] = _Node()
        self._read, self._form = read, form
        self._encoded: list[Rule[T]] = []
        self._reads_fields = False
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule[T]) -> None:
        """Add a rule, before the first match."""
        self._node(rule).add(rule)
        self._reads_fields = self._reads_fields or bool(rule.headers or rule.query)
        if "%" in rule.path:
            self._encoded.append(rule)

    def warming(self) -> Steps[None]:
        """Prepare in steps for the first requests, which would have to wait for what many patterns have in common."""
        for group in self._groups:
            for rest in group.rests:
                group.together.matches(rest.opening)
                yield

    def _node(self, rule: Rule[T]) -> _Node[T]:
        if rule.pattern is not None:
            if rule.path not in self._patterns:
                self._add_pattern(rule.path, rule.pattern)
            return self._patterns[rule.path]
        if rule.exact:
            return self._exact.setdefault(tuple(self._read(rule.path.encode())), _Node())
        return self._others if rule.fallback else self._at(rule.path)

    def _at(self, prefix: str) -> _Node[T]:
        node = self._root
        for segment in self._read(prefix.encode()) if prefix != "/" else ():
            node = node.children.setdefault(segment, _Node())
        return node

    def _add_pattern(self, path: str, pattern: Pattern) -> None:
        place, rest = self._at(pattern.prefix), self._form(pattern.rest)
        turn = len(self._patterns), self._patterns.setdefault(path, _Node())
        if place.patterns is not None:
            place.patterns.add(rest, turn)
            return
        alone = self._alone.get(rest.branches)
        if alone is None:
            alone = self._alone[rest.branches] = PatternSet([rest])
        place.patterns = _Patterns(alone, rest, turn)
        self._groups.append(place.patterns)

    def decoded(self) -> Router[T] | None:
        """The rules whose paths are written percent-encoded, by what they are once decoded; None without any."""
        return Router(self._encoded, decoded_segments, Pattern.decoded) if self._encoded else None

    def parts(self) -> Iterator[object]:
        """All objects that it is made of."""
        nodes = [self._root, self._others, *self._exact.values(), *self._patterns.values()]
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            yield node
            for rules in (node.any_host, *node.hosts.values(), *node.suffixes.values()):
                yield from rules
                yield from (rule.target for rule in rules)

    def match(
        self, segments: Sequence[bytes], host: bytes, method: bytes, fields: Fields, query: bytes = b""
    ) -> tuple[T, int] | None:
        """The target, and how many segments its path took; None where no rule matches.

        Raises MessageError where a rule's field or parameter comes more than once and may or may not have its value.
        """
        for node, depth in self._places(segments):
            for rules in node.candidates(host):
                for rule in rules:
                    if (
                        (rule.methods is None or method in rule.methods)
                        and (not rule.headers or fields_fit(rule.headers, fields))
                        and (not rule.query or query_fits(rule.query, query))
                    ):
                        return rule.target, depth
        return None

    def reads_fields(self, segments: Sequence[bytes]) -> bool:
        """Whether a match for this path depends on header fields or the query."""
        return self._reads_fields and any(node.reads_fields for node, _ in self._places(segments))

    def allowed_methods(
        self, segments: Sequence[bytes], host: bytes, fields: Fields, query: bytes = b""
    ) -> list[bytes]:
        """The methods with which this request would have matched: what `Allow` says; empty where none would.

        Raises MessageError as `match` does.
        """
        methods: set[bytes] = set()
        for node, _ in self._places(segments):
            for rules in node.candidates(host):
                for rule in rules:
                    if fields_fit(rule.headers, fields) and query_fits(rule.query, query):
                        methods |= rule.methods or set()
        return sorted(methods)

    def _places(self, segments: Sequence[bytes]) -> list[tuple[_Node[T], int]]:
        """The nodes whose rules are for this path, in the order in which they are asked, each with its depth."""
        found = self._prefixes(segments)
        if self._groups:
            matching = sorted(self._matching(segments))
            found = [*((node, len(segments)) for _, node in matching), *found]
        exact = self._exact.get(tuple(segments))
        if exact is not None:
            found = [(exact, len(segments)), *found]
        if self._others.rules:
            found.append((self._others, 0))
        return found

    def _matching(self, segments: Sequence[bytes]) -> list[tuple[int, _Node[T]]]:
        """The patterns that match, in no order."""
        found: list[tuple[int, _Node[T]]] = []
        node: _Node[T] | None = self._root
        depth = 0
        while node is not None:
            if node.patterns is not None:
                found += node.patterns.matching(segments[depth:])
            node = node.children.get(segments[depth]) if depth < len(segments) else None
            depth += 1
        return found

    def _prefixes(self, segments: Sequence[bytes]) -> list[tuple[_Node[T], int]]:
        """The nodes with rules along the path, the deepest first."""
        node = self._root
        found = [(node, 0)] if node.rules else []
        for depth, segment in enumerate(segments, 1):
            child = node.children.get(segment)
            if child is None:
                break
            node = child
            if node.rules:
                found.append((node, depth))
        found.reverse()
        return found


def _host_name(host: bytes) -> bytes:
    """The name in a Host field, lower-cased, without port and without the root's trailing dot."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()
