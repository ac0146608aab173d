"""Which route a request takes: an exact path, then patterns, then the longest prefix; then host, headers and the rest.

Exact paths are a dictionary, prefixes a tree of segments, and hosts dictionaries. Patterns stand in that tree too, at
the segments with which they begin, and those in one place are one automaton. Many rules for one path are found by the
values of fields and parameters that they ask for. So the cost of a match depends on the length of the path, not on the
number of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Generic, TypeAlias, TypeVar

from portico.core.messages import Fields
from portico.core.paths import decoded_segments, segments_of
from portico.core.patterns.pattern import Pattern, path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.patterns.syntax import Branch
from portico.core.slices import Steps
from portico.proxy.routing.conditions import Conditions, fit
from portico.proxy.routing.many import Many, rank

T = TypeVar("T")
_Rules: TypeAlias = "tuple[Rule[T], ...] | Many[T]"
_MOST_IN_TURN: Final = 8
"""More rules for one path and host are found by their values."""
_NOTHING: Final[dict[bytes, Any]] = {}
"""What nodes without children share: nothing may be put into it."""


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

    @property
    def is_open(self) -> bool:
        """Whether it takes whatever its hosts and path admit."""
        return self.methods is None and not (self.headers or self.query)


class _Node(Generic[T]):
    """The rules for one path, pattern or prefix, by host; with the children of a prefix it is a node of the tree.

    Thousands of them are not in the processor's caches: so a match reads few objects of each.
    """

    __slots__ = ("always", "any_host", "children", "has_rules", "hosts", "patterns", "reads_fields", "turn")

    def __init__(self, turn: int = 0) -> None:
        self.turn = turn
        """Which of the patterns it is."""
        self.children: dict[bytes, _Node[T]] = _NOTHING
        self.patterns: _Patterns[T] | None = None
        """Those with this prefix."""
        self.any_host: _Rules[T] = ()
        self.hosts: _Hosts[T] | None = None
        self.always: T | None = None
        """The target of all requests, if it is the same."""
        self.has_rules = self.reads_fields = False

    def child(self, segment: bytes) -> _Node[T]:
        """The node for the paths that go on with this segment."""
        if self.children is _NOTHING:
            self.children = {}
        return self.children.setdefault(segment, _Node())

    def add(self, rule: Rule[T]) -> None:
        self.has_rules = True
        self.reads_fields = self.reads_fields or bool(rule.headers or rule.query)
        if rule.hosts:
            self.hosts = self.hosts or _Hosts()
            self.hosts.add(rule)
        else:
            self.any_host = _with(rule, self.any_host)
        self.always = _takes_all(self.any_host) if self.hosts is None else None

    def candidates(self, host_field: bytes) -> Sequence[_Rules[T]]:
        """The rules that a Host field admits, those of the most specific host first."""
        if self.hosts is None:
            return (self.any_host,)
        return [*self.hosts.candidates(host_name(host_field)), self.any_host]

    def rules(self) -> Iterator[Rule[T]]:
        """All of them; one with several hosts comes several times."""
        yield from self.any_host
        if self.hosts is not None:
            yield from self.hosts.rules()


class _Hosts(Generic[T]):
    """The rules of one node for certain hosts."""

    __slots__ = ("names", "suffixes")

    def __init__(self) -> None:
        self.names: dict[bytes, _Rules[T]] = {}
        self.suffixes: dict[bytes, _Rules[T]] = {}

    def add(self, rule: Rule[T]) -> None:
        for host in rule.hosts:
            known, name = (self.suffixes, host[1:]) if host.startswith("*.") else (self.names, host)
            known[name.encode()] = _with(rule, known.get(name.encode(), ()))

    def candidates(self, host: bytes) -> list[_Rules[T]]:
        found = [self.names[host]] if host in self.names else []
        if self.suffixes:
            dot = host.find(b".")
            while dot >= 0:
                if host[dot:] in self.suffixes:
                    found.append(self.suffixes[host[dot:]])
                dot = host.find(b".", dot + 1)
        return found

    def rules(self) -> Iterator[Rule[T]]:
        for rules in (*self.names.values(), *self.suffixes.values()):
            yield from rules


def _with(rule: Rule[T], rules: _Rules[T]) -> _Rules[T]:
    """Rules with more conditions are first; equal ones stay in the order of the configuration."""
    if isinstance(rules, Many):
        rules.add(rule)
        return rules
    if len(rules) == _MOST_IN_TURN:
        return Many((*rules, rule))
    return tuple(sorted((*rules, rule), key=rank)) if rules else (rule,)


def _takes_all(rules: _Rules[T]) -> T | None:
    """The target of all requests, if it is the same."""
    first = rules[0] if isinstance(rules, tuple) else rules.first
    return first.target if first.is_open else None


class _Patterns(Generic[T]):
    """Patterns with one prefix, compared with what follows it, and for each a node with its rules."""

    __slots__ = ("nodes", "rests", "together")

    def __init__(self, alone: PatternSet, rest: Pattern, node: _Node[T]) -> None:
        self.together = alone
        """While there is one, that of all patterns with the same rest: thousands may be alike."""
        self.rests = [rest]
        self.nodes = [node]

    def add(self, rest: Pattern, node: _Node[T]) -> None:
        if len(self.rests) == 1:
            self.together = PatternSet(self.rests)
        self.together.add(rest)
        self.rests.append(rest)
        self.nodes.append(node)

    def matching(self, segments: Sequence[bytes]) -> list[_Node[T]]:
        """The nodes of those that match."""
        nodes = self.nodes
        return [nodes[index] for index in self.together.matches(path_text(segments))]


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
            node = node.child(segment)
        return node

    def _add_pattern(self, path: str, pattern: Pattern) -> None:
        place, rest = self._at(pattern.prefix), self._form(pattern.rest)
        node = self._patterns[path] = _Node(len(self._patterns))
        if place.patterns is not None:
            place.patterns.add(rest, node)
            return
        alone = self._alone.get(rest.branches)
        if alone is None:
            alone = self._alone[rest.branches] = PatternSet([rest])
        place.patterns = _Patterns(alone, rest, node)
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
            for rule in node.rules():
                yield rule
                yield rule.target

    def match(
        self, segments: Sequence[bytes], host: bytes, method: bytes, fields: Fields, query: bytes = b""
    ) -> tuple[T, int] | None:
        """The target, and how many segments its path took; None where no rule matches.

        Raises MessageError where a rule's field or parameter comes more than once and may or may not have its value.
        """
        for node, depth in self.places(segments):
            if node.always is not None:
                return node.always, depth
            for rules in node.candidates(host):
                for rule in rules if isinstance(rules, tuple) else rules.among(fields, query):
                    if (rule.methods is None or method in rule.methods) and (
                        not (rule.headers or rule.query) or fit(rule.headers, rule.query, fields, query)
                    ):
                        return rule.target, depth
        return None

    def reads_fields(self, segments: Sequence[bytes]) -> bool:
        """Whether a match for this path depends on header fields or the query."""
        return self._reads_fields and any(node.reads_fields for node, _ in self.places(segments))

    def allowed_methods(
        self, segments: Sequence[bytes], host: bytes, fields: Fields, query: bytes = b""
    ) -> list[bytes]:
        """The methods with which this request would have matched: what `Allow` says; empty where none would.

        Raises MessageError as `match` does.
        """
        methods: set[bytes] = set()
        for node, _ in self.places(segments):
            for rules in node.candidates(host):
                for rule in rules if isinstance(rules, tuple) else rules.among(fields, query):
                    if fit(rule.headers, rule.query, fields, query):
                        methods |= rule.methods or set()
        return sorted(methods)

    def asked(self, segments: Sequence[bytes], host: bytes) -> Iterator[tuple[Rule[T], int, bool]]:
        """The rules for this path as `match` asks them: each with its depth, and whether it is for this host.

        Those for other hosts are not asked: they follow those of the same path.
        """
        for node, depth in self.places(segments):
            admitted = {id(rule): rule for rules in node.candidates(host) for rule in rules}
            others = {id(rule): rule for rule in node.rules() if id(rule) not in admitted}
            yield from ((rule, depth, True) for rule in admitted.values())
            yield from ((rule, depth, False) for rule in others.values())

    def rules(self) -> Iterator[Rule[T]]:
        """All of them, each once."""
        seen: set[int] = set()
        for part in self.parts():
            if isinstance(part, Rule) and id(part) not in seen:
                seen.add(id(part))
                yield part

    def places(self, segments: Sequence[bytes]) -> list[tuple[_Node[T], int]]:
        """The nodes whose rules are for this path, in the order in which they are asked, each with its depth."""
        prefixes: list[tuple[_Node[T], int]] = []
        patterns: list[_Node[T]] = []
        last, depth = len(segments), 0
        node: _Node[T] | None = self._root
        while node is not None:
            if node.has_rules:
                prefixes.append((node, depth))
            if node.patterns is not None:
                patterns += node.patterns.matching(segments[depth:])
            node = node.children.get(segments[depth]) if depth < last else None
            depth += 1
        prefixes.reverse()  # the longest first
        if len(patterns) > 1:
            patterns.sort(key=attrgetter("turn"))
        found = [(node, last) for node in patterns] + prefixes if patterns else prefixes
        exact = self._exact.get(tuple(segments))
        if exact is not None:
            found.insert(0, (exact, last))
        if self._others.has_rules:
            found.append((self._others, 0))
        return found


def takes_host(rule: Rule[Any], host: bytes) -> bool:
    """Whether a rule is for a Host field, whatever else it asks for."""
    node: _Node[Any] = _Node()
    node.add(rule)
    return any(node.candidates(host))


def host_name(host: bytes) -> bytes:
    """The name in a Host field, lower-cased, without port and without the root's trailing dot."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()
