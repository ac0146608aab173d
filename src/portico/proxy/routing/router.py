"""Which route a request takes: the longest path prefix, then host, headers and method narrow.

Prefixes are a tree of segments and hosts are dictionaries, so that the cost of a match depends on the depth of the
path that matched, not on the number of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.core.paths import decoded_segments, segments_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """What a request must look like to reach `target`.

    `path` is a prefix by whole segments, or with `exact` the whole path; hosts are lower-case names or
    `*.example.com`; `methods` None admits all; `headers` are pairs of lower-case name and exact value; a field on
    several lines is one value. A `fallback` comes after all other rules for the same path and hosts.
    """

    path: str
    target: T
    hosts: tuple[str, ...] = ()
    methods: frozenset[bytes] | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    exact: bool = False
    fallback: bool = False


class _Node(Generic[T]):
    """One segment of the tree with the rules that end there, by host."""

    __slots__ = ("any_host", "anywhere", "children", "hosts", "narrows", "reads_fields", "rules", "suffixes")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[T]] = {}
        self.any_host: list[Rule[T]] = []
        self.hosts: dict[bytes, list[Rule[T]]] = {}
        self.suffixes: dict[bytes, list[Rule[T]]] = {}
        self.anywhere = [self.any_host]
        self.rules = self.narrows = self.reads_fields = False

    def add(self, rule: Rule[T]) -> None:
        self.rules = True
        self.narrows = self.narrows or bool(rule.hosts)
        self.reads_fields = self.reads_fields or bool(rule.headers)
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


def _insert(rules: list[Rule[T]], rule: Rule[T]) -> None:
    """Keep rules with more conditions first; equal ones stay in the order of the configuration."""
    rules.append(rule)
    if len(rules) > 1:
        rules.sort(key=lambda each: (each.fallback, -each.exact, -len(each.headers), each.methods is None))


class Router(Generic[T]):
    """Finds the target of a request among any number of rules, whose paths `read` cuts into segments."""

    def __init__(self, rules: Iterable[Rule[T]] = (), read: Callable[[bytes], Iterable[bytes]] = segments_of) -> None:
        self._root: _Node[T] = _Node()
        self._read = read
        self._encoded: list[Rule[T]] = []
        self._reads_fields = False
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule[T]) -> None:
        """Add a rule, before the first match."""
        node = self._root
        for segment in self._read(rule.path.encode()) if rule.path != "/" or rule.exact else ():
            node = node.children.setdefault(segment, _Node())
        node.add(rule)
        self._reads_fields = self._reads_fields or bool(rule.headers)
        if "%" in rule.path:
            self._encoded.append(rule)

    def decoded(self) -> Router[T] | None:
        """The rules whose paths are written percent-encoded, by what they are once decoded; None without any."""
        return Router(self._encoded, decoded_segments) if self._encoded else None

    def parts(self) -> Iterator[object]:
        """All objects that it is made of."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            yield node
            for rules in (node.any_host, *node.hosts.values(), *node.suffixes.values()):
                yield from rules
                yield from (rule.target for rule in rules)

    def match(self, segments: Sequence[bytes], host: bytes, method: bytes, fields: Fields) -> tuple[T, int] | None:
        """The target, and how many segments its prefix took; None where no rule matches.

        Raises MessageError where a rule's field comes more than once and may or may not have its value.
        """
        for node, depth in self._prefixes(segments):
            for rules in node.candidates(host):
                for rule in rules:
                    if (
                        (rule.methods is None or method in rule.methods)
                        and (not rule.exact or depth == len(segments))
                        and (not rule.headers or _fits(rule.headers, fields))
                    ):
                        return rule.target, depth
        return None

    def reads_fields(self, segments: Sequence[bytes]) -> bool:
        """Whether a match for this path depends on header fields."""
        return self._reads_fields and any(node.reads_fields for node, _ in self._prefixes(segments))

    def allowed_methods(self, segments: Sequence[bytes], host: bytes, fields: Fields) -> list[bytes]:
        """The methods with which this request would have matched: what `Allow` says; empty where none would.

        Raises MessageError as `match` does.
        """
        methods: set[bytes] = set()
        for node, depth in self._prefixes(segments):
            for rules in node.candidates(host):
                for rule in rules:
                    if (not rule.exact or depth == len(segments)) and _fits(rule.headers, fields):
                        methods |= rule.methods or set()
        return sorted(methods)

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


def _fits(headers: Sequence[tuple[bytes, bytes]], fields: Fields) -> bool:
    """Whether the fields have these values; raises MessageError where it is in doubt which line of one counts."""
    for name, value in headers:
        if fields.get(name) != value:
            if fields.names.count(name) > 1 and value in fields.all(name):
                shown = name.decode("latin-1")
                raise MessageError("malformed_request", f"{shown} comes more than once, and a route depends on it")
            return False
    return True


def _host_name(host: bytes) -> bytes:
    """The name in a Host field, lower-cased, without port and without the root's trailing dot."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1].lower()
    return host.partition(b":")[0].rstrip(b".").lower()
