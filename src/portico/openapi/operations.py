"""Which operation of a document a request is, by its method and its path as the service sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from portico.core.caches import ages
from portico.core.paths import folded, readings, segments_of
from portico.core.slices import Steps
from portico.openapi.document import Document, pointed_at
from portico.openapi.errors import DocumentError
from portico.openapi.objects import METHODS, Object
from portico.openapi.templates import Segment, Segments, Templates, segments_of_template

_REMEMBERED: Final = 4096
_REMEMBERED_SIZE: Final = 256
"""Requests of which a document remembers what they are, and bytes of the path of one."""
_LONGEST_CHAIN: Final = 20
"""References that lead to one another."""
_SERVER: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?]*")
_EXPRESSION: Final = re.compile(r"\{[^{}/]*\}")

T = TypeVar("T")
Security: TypeAlias = tuple[frozenset[str] | None, ...]
"""Alternatives, of which one has to be met: all of these scopes, and somebody who has them; None: nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An operation: its `method`, its `path` as a template, and what the document says of it.

    `parameters` are its own and those of its path, resolved. `security` is None where the document says nothing of it.
    """

    id: str | None
    method: str
    path: str
    segments: tuple[Segment, ...]
    security: Security | None
    parameters: tuple[Object, ...]
    body: Object | None
    """Its request body, resolved."""

    @property
    def name(self) -> str:
        """How it is shown, and may be written."""
        return f"{self.method} {self.path}"


class Operations:
    """The operations of a document, compiled."""

    def __init__(self, document: Document, operations: Iterable[Operation]) -> None:
        self.document = document
        self.all = tuple(operations)
        self._names: dict[str, list[Operation]] = {}
        for each in self.all:
            for name in (each.id, _nameless(each.name)):
                if name is not None:
                    self._names.setdefault(name, []).append(each)
        self._bases = _bases(document)
        self._templates = _compiled(self.all, lambda segment: segment)
        self._folded: Templates[Operation] | None = None
        self._known: dict[tuple[bytes, bytes, bool, bool], tuple[Operation | None, ...]] = {}
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop what is remembered: it is soon found anew."""
        self._known.clear()

    def named(self, name: str) -> list[Operation]:
        """Those with an operationId, or with a method and path; the names in a template mean nothing."""
        return self._names.get(name) or self._names.get(_nameless(name), [])

    @property
    def names(self) -> list[str]:
        """All that `named` knows."""
        return [known for each in self.all for known in (each.id, each.name) if known is not None]

    @property
    def declare_security(self) -> bool:
        """Whether the document says of any of them that somebody is needed."""
        return any(each.security for each in self.all)

    def find(
        self, method: bytes, path: bytes, *, encoded_slashes: bool = False, case_insensitive: bool = False
    ) -> tuple[Operation | None, ...]:
        """All that a service may take a request for, as a rule one; None: for none that the document names.

        `encoded_slashes` and `case_insensitive` are those of its route. A path that ends with a slash is one without
        it, unless the document has both; HEAD is GET. Raises MessageError for a path in which it may go upwards.
        """
        key = (method, path, encoded_slashes, case_insensitive)
        found = self._known.get(key)
        if found is None:
            found = self._find(method, path, encoded_slashes, case_insensitive)
            if len(path) <= _REMEMBERED_SIZE:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = found
        return found

    def _find(
        self, method: bytes, path: bytes, encoded_slashes: bool, case_insensitive: bool
    ) -> tuple[Operation | None, ...]:
        if not path.startswith(b"/"):
            return (None,)
        segments = segments_of(path)
        paths = {segments}
        if b"%" in path or b"//" in path or b";" in path or b"\\" in path:
            paths |= readings(segments, encoded_slashes)
        names = _methods(method.decode("latin-1"))
        found: dict[Operation | None, None] = {}
        for reading in paths:
            decoded = tuple(map(unquote_to_bytes, reading))
            found |= dict.fromkeys(self._at(self._templates, decoded, names))
            if case_insensitive:
                found |= dict.fromkeys(self._at(self._folding(), folded(decoded), names))
        return tuple(found)

    def _at(
        self, templates: Templates[Operation], segments: Segments, names: Sequence[str]
    ) -> Sequence[Operation | None]:
        """The operations at a path, which may begin with that of a server, as may the service's own paths."""
        found = _at(templates, segments, names)
        for base in self._bases:
            if segments[: len(base)] == base and len(segments) > len(base):
                found += _at(templates, segments[len(base) :], names)
        return found or (None,)

    def _folding(self) -> Templates[Operation]:
        if self._folded is None:
            self._folded = _compiled(self.all, _folded_segment)
        return self._folded


def _compiled(operations: Iterable[Operation], form: Any) -> Templates[Operation]:
    templates: Templates[Operation] = Templates()
    for each in operations:
        templates.add([form(segment) for segment in each.segments], each)
    return templates


def _folded_segment(segment: Segment) -> Segment:
    if segment.names:
        return Segment(tuple(piece.lower() for piece in segment.pieces), segment.names)
    return Segment(folded(segment.pieces), ())


def _methods(method: str) -> tuple[str, ...]:
    """The methods of which an operation may be meant, the likeliest first: frameworks run GET for HEAD.

    Some take `post` for POST; and where it is refused, it should be for the same reason.
    """
    capitals = method.upper()
    return (method, capitals, "GET") if capitals == "HEAD" else (method, capitals)


def _bases(document: Document) -> tuple[Segments, ...]:
    """The paths of the document's servers."""
    servers = document.content.get("servers")
    urls = [each.get("url") for each in servers if isinstance(each, dict)] if isinstance(servers, list) else []
    paths = [_SERVER.sub("", url).partition("?")[0].strip("/") for url in urls if isinstance(url, str)]
    return tuple(dict.fromkeys(tuple(map(unquote_to_bytes, path.split("/"))) for path in paths if path))


def _at(templates: Templates[Operation], segments: Segments, methods: Sequence[str]) -> list[Operation | None]:
    """The operations at a path: one, unless it cannot be told which of several a service takes.

    For HEAD that may be one of a concrete template's GET, or of a less concrete one's own HEAD.
    """
    other = segments[:-1] if segments[-1] == b"" and len(segments) > 1 else (*segments, b"")
    for path in (segments, other):
        matches = templates.find(path)
        found: dict[Operation | None, None] = {}
        for count in range(len(methods)):
            found |= dict.fromkeys(_most_concrete(matches, methods[: count + 1]))
        if found:
            return list(found)
    return []


def _most_concrete(
    matches: Sequence[tuple[tuple[int, ...], list[Operation]]], methods: Sequence[str]
) -> Iterator[Operation]:
    """Of each template the operations with the first of these methods that it has; of these the more concrete."""
    fitting = []
    for kinds, values in matches:
        own = next((each for method in methods if (each := [one for one in values if one.method == method])), None)
        if own is not None:
            fitting.append((kinds, own))
    for kinds, values in fitting:
        first = fitting[0][0]
        if kinds == first or any(own < its for own, its in zip(kinds, first, strict=True)):
            yield from values


def _nameless(path: str) -> str:
    return _EXPRESSION.sub("{}", path)


# ---- from the document


def operations_of(document: Document) -> Steps[Operations]:
    """Compile the operations of a document. Raises DocumentError where one cannot be understood."""
    found: list[Operation] = []
    for path, item in document.paths.items():
        found += _of_item(document, path, _resolved(document, item, path))
        yield
    return Operations(document, found)


def _of_item(document: Document, path: str, item: Object) -> Iterator[Operation]:
    segments = segments_of_template(path)
    written = {method.upper(): item[method] for method in METHODS if method in item}
    written |= _held(item, "additionalOperations", dict, path)
    for method, operation in written.items():
        where = f"{method} {path}"
        if not isinstance(operation, dict):
            raise DocumentError(f"{where} is no object")
        body = operation.get("requestBody")
        yield Operation(
            id=name if isinstance(name := operation.get("operationId"), str) else None,
            method=method,
            path=path,
            segments=segments,
            security=_security(operation.get("security", document.content.get("security")), where),
            parameters=_parameters(document, item, operation, where),
            body=_resolved(document, body, where) if body is not None else None,
        )


def _held(value: Object, key: str, kind: type[T], where: str) -> T:
    """The list or object that a field holds, an empty one where it is not there."""
    held = value.get(key) or kind()
    if not isinstance(held, kind):
        raise DocumentError(f"{key} of {where} is no {'list' if kind is list else 'object'}")
    return held


def _parameters(document: Document, item: Object, operation: Object, where: str) -> tuple[Object, ...]:
    """Those of an operation; one of its own replaces one of its path with the same name and place."""
    found: dict[tuple[str, str], Object] = {}
    for each in (*_held(item, "parameters", list, where), *_held(operation, "parameters", list, where)):
        parameter = _resolved(document, each, where)
        found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    return tuple(found.values())


def _security(written: Any, where: str) -> Security | None:
    """What is required: the scopes of schemes that are required together are required together."""
    if written is None:
        return None
    if not isinstance(written, list):
        raise DocumentError(f"the security of {where} is no list")
    return tuple(_alternative(each, where) for each in written)


def _alternative(written: Any, where: str) -> frozenset[str] | None:
    if not isinstance(written, Mapping):
        raise DocumentError(f"an alternative of the security of {where} is no object")
    scopes: set[str] = set()
    for scheme, needed in written.items():
        if not isinstance(needed, list) or not all(isinstance(scope, str) for scope in needed):
            raise DocumentError(f"the scopes of {scheme}, in the security of {where}, are no list of names")
        scopes.update(needed)
    return frozenset(scopes) if written else None


def _resolved(document: Document, written: Any, where: str) -> Object:
    """An object of the document, or what it refers to."""
    for _ in range(_LONGEST_CHAIN):
        if not isinstance(written, dict):
            raise DocumentError(f"something of {where} is no object")
        reference = written.get("$ref")
        if not isinstance(reference, str):
            return written
        written = pointed_at(document.content, reference)
    raise DocumentError(f"a $ref of {where} leads to others without end")
