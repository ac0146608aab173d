"""What a new document breaks for clients that were made for the one before it.

The rules are the main ones of oasdiff (https://github.com/oasdiff/oasdiff/blob/main/docs/BREAKING-CHANGES.md): what was
there is gone, requests have to say more than they did or may say less, and responses lack something, or have something
that nobody has reckoned with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portico.openapi.document import Document, pointed_at
from portico.openapi.lifting import OPERATIONS, lifted
from portico.openapi.objects import Object

MOST: Final = 1000
_DEEPEST: Final = 24
_TEMPLATE: Final = re.compile(r"\{[^{}]*\}")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaking_changes(old: Document, new: Document) -> list[str]:
    """A line for each change that breaks a client, in the order of the old document."""
    comparing = _Comparing(lifted(old), lifted(new))
    found: dict[str, None] = {}
    for line in comparing.paths():
        found[line] = None
        if len(found) >= MOST:
            break
    return list(found)


class _Comparing:
    def __init__(self, old: Object, new: Object) -> None:
        self.old, self.new = old, new
        self.seen: set[tuple[int, int, bool]] = set()
        """Pairs of schemas that are compared, in requests or in responses: each is, where it is met first."""

    def paths(self) -> Iterator[str]:
        others = {_TEMPLATE.sub("{}", path): item for path, item in _map(self.new, "paths").items()}
        for path, item in _map(self.old, "paths").items():
            if not path.startswith("/"):
                continue
            other = _object(self.new, others.get(_TEMPLATE.sub("{}", path)))
            own = _object(self.old, item)
            methods = [method for method in OPERATIONS if isinstance(own.get(method), dict)]
            if other is _NOTHING and methods:
                yield f"{path}: the path is gone"
                continue
            for method in methods:
                where = f"{method.upper()} {path}"
                if not isinstance(other.get(method), dict):
                    yield f"{where}: the operation is gone"
                else:
                    yield from self.operation(where, own, other, method)

    def operation(self, where: str, old: Object, new: Object, method: str) -> Iterator[str]:
        own, other = old[method], new[method]
        yield from self.parameters(where, _parameters(self.old, old, method), _parameters(self.new, new, method))
        yield from self.body(
            where, _object(self.old, own.get("requestBody")), _object(self.new, other.get("requestBody"))
        )
        yield from self.responses(where, _map(own, "responses"), _map(other, "responses"))
        yield from self.security(where, own, other)

    def parameters(self, where: str, old: Mapping[Any, Object], new: Mapping[Any, Object]) -> Iterator[str]:
        for key, parameter in new.items():
            place, name = key
            if place == "path":  # its name means nothing to clients
                continue
            known = old.get(key)
            if parameter.get("required") is True and (known is None or known.get("required") is not True):
                yield f"{where}: the {place} parameter {name} is required now"
            if known is not None:
                schemas = _schema_of(known), _schema_of(parameter)
                yield from self.schema(f"{where}: the {place} parameter {name}", *schemas, in_request=True)
        for place, name in old:
            if place != "path" and (place, name) not in new:
                yield f"{where}: the {place} parameter {name} is gone"

    def body(self, where: str, old: Object, new: Object) -> Iterator[str]:
        if new.get("required") is True and old.get("required") is not True:
            yield f"{where}: a body is required now"
        if new is _NOTHING:
            if old is not _NOTHING:
                yield f"{where}: the body is gone"
            return
        yield from self.content(f"{where}: the body", _map(old, "content"), _map(new, "content"), in_request=True)

    def responses(self, where: str, old: Object, new: Object) -> Iterator[str]:
        for status, response in old.items():
            if not status.startswith("2"):
                continue
            other = _object(self.new, new.get(status))
            if other is _NOTHING:
                if not {status[0] + "XX", "default"} & new.keys():
                    yield f"{where}: the response {status} is gone"
                continue
            own = _object(self.old, response)
            for name in _map(own, "headers"):
                if name.lower() not in {each.lower() for each in _map(other, "headers")}:
                    yield f"{where}: the header {name} of the response {status} is gone"
            contents = _map(own, "content"), _map(other, "content")
            yield from self.content(f"{where}: the response {status}", *contents, in_request=False)

    def content(self, where: str, old: Object, new: Object, *, in_request: bool) -> Iterator[str]:
        for kind, media in old.items():
            if kind not in new:
                yield f"{where} has no {kind} any more"
            else:
                yield from self.schema(where, _schema_of(media), _schema_of(new[kind]), in_request=in_request)

    def security(self, where: str, old: Object, new: Object) -> Iterator[str]:
        """Each of the old ways to be let in has to be one still: with the schemes and scopes of some new one."""
        before, after = _needs(old, self.old), _needs(new, self.new)
        for own in before:
            if not any(_suffices(own, other) for other in after):
                needed = " or ".join(filter(None, map(_shown, after))) or "credentials"
                yield f"{where}: {needed} is needed now" + (f", where {_shown(own)} sufficed" if own else "")
                return

    # ---- schemas

    def schema(self, where: str, old: Any, new: Any, *, in_request: bool, depth: int = 0) -> Iterator[str]:
        own, other = _resolved(self.old, old), _resolved(self.new, new)
        if not isinstance(own, dict) or not isinstance(other, dict) or depth > _DEEPEST:
            return
        pair = id(own), id(other), in_request
        if pair in self.seen:
            return
        self.seen.add(pair)
        yield from _types(where, own, other, in_request=in_request)
        yield from _values(where, own, other, in_request=in_request)
        yield from self.properties(where, own, other, in_request=in_request, depth=depth)
        for key, what in (("items", "each item of "), ("additionalProperties", "each value of ")):
            if key in own and key in other:
                inner = where.replace(": the", f": {what}the", 1) if depth == 0 else f"{where}[]"
                yield from self.schema(inner, own[key], other[key], in_request=in_request, depth=depth + 1)
        yield from self.alternatives(where, own, other, in_request=in_request, depth=depth)

    def properties(self, where: str, old: Object, new: Object, *, in_request: bool, depth: int) -> Iterator[str]:
        own, other = _map(old, "properties"), _map(new, "properties")
        were, are = set(_strings(old.get("required"))), set(_strings(new.get("required")))
        for name in own:
            if name not in other:
                if not in_request:
                    yield f"{where} has no {name} any more"
                elif new.get("additionalProperties") is False:
                    yield f"{where} may have no {name} any more"
                continue
            if not in_request and name in were and name not in are:
                yield f"{where} may lack {name} now"
            yield from self.schema(f"{where}/{name}", own[name], other[name], in_request=in_request, depth=depth + 1)
        if in_request:
            for name in sorted(are - were):
                if not _is_read_only(_resolved(self.new, other.get(name))):
                    yield f"{where} has to have {name} now"

    def alternatives(self, where: str, old: Object, new: Object, *, in_request: bool, depth: int) -> Iterator[str]:
        """Fewer of them in requests, more in responses; those that are there in both are compared in their order."""
        for key in ("oneOf", "anyOf", "allOf"):
            own, other = (each[key] if isinstance(each.get(key), list) else [] for each in (old, new))
            names = [[_name_of(each) for each in parts] for parts in (own, other)]
            if key != "allOf" and own and other:
                lost = [name for name in names[0] if name not in names[1]]
                added = [name for name in names[1] if name not in names[0]]
                if in_request and lost and len(own) > len(other):
                    yield f"{where} may not be {' or '.join(lost)} any more"
                if not in_request and added and len(other) > len(own):
                    yield f"{where} may be {' or '.join(added)} now"
            for name, one in zip(names[0], own, strict=True):
                if name in names[1]:
                    same = other[names[1].index(name)]
                    yield from self.schema(where, one, same, in_request=in_request, depth=depth + 1)


_NOTHING: Final[Object] = {}
"""What stands for an object that is not there."""


def _map(value: Object, key: str) -> Object:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _strings(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _object(content: Object, value: Any) -> Object:
    found = _resolved(content, value)
    return found if isinstance(found, dict) else _NOTHING


def _resolved(content: Object, value: Any) -> Any:
    """What an object is once references are followed."""
    for _ in range(_DEEPEST):
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            return value
        try:
            value = pointed_at(content, reference)
        except (LookupError, ValueError, TypeError):
            return None
    return None


def _parameters(content: Object, item: Object, method: str) -> dict[tuple[str, str], Object]:
    found: dict[tuple[str, str], Object] = {}
    for part in (item.get("parameters"), item[method].get("parameters")):
        for each in part if isinstance(part, list) else ():
            parameter = _object(content, each)
            place, name = str(parameter.get("in")), str(parameter.get("name"))
            found[place, name.lower() if place == "header" else name] = parameter
    return found


def _schema_of(value: Any) -> Any:
    """That of a media type, or of a parameter, which may have it in its content."""
    if not isinstance(value, dict) or "schema" in value:
        return value.get("schema") if isinstance(value, dict) else None
    return next((_schema_of(each) for each in _map(value, "content").values()), None)


def _types(where: str, old: Object, new: Object, *, in_request: bool) -> Iterator[str]:
    """What is sent has to be of a type that is accepted, in either direction."""
    before, after = _type(old), _type(new)
    sent, accepted = (before, after) if in_request else (after, before)
    if accepted is not None and (sent is None or not all(_fits(each, accepted) for each in sent)):
        yield f"{where} is {_words(after)} now, and was {_words(before)}"


def _type(schema: Object) -> set[str] | None:
    """The types that a value may have; None for any."""
    written = schema.get("type")
    if isinstance(written, str):
        return {written}
    if isinstance(written, list):
        return set(_strings(written))
    for key in ("anyOf", "oneOf"):  # as Pydantic writes `int | None`
        parts = schema.get(key)
        types = [_type(part) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if types and all(each is not None for each in types):
            return {name for each in types for name in each or ()}
    return None


def _fits(kind: str, kinds: set[str]) -> bool:
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _words(kinds: set[str] | None) -> str:
    return "of any type" if kinds is None else " or ".join(sorted(kinds)) or "nothing"


def _values(where: str, old: Object, new: Object, *, in_request: bool) -> Iterator[str]:
    """Values that may not be sent any more, or that may come now."""
    before, after = old.get("enum"), new.get("enum")
    if isinstance(before, list) and isinstance(after, list):
        if in_request:
            lost = [each for each in before if each not in after]
            yield from (f"{where} may not be {each!r} any more" for each in lost)
        else:
            yield from (f"{where} may be {each!r} now" for each in after if each not in before)
            yield from (f"{where} is never {each!r} any more" for each in before if each not in after)
    elif in_request and isinstance(after, list):
        yield f"{where} has to be one of {', '.join(map(repr, after))} now"
    elif not in_request and isinstance(before, list):
        yield f"{where} may be something else than {', '.join(map(repr, before))} now"
    if not in_request:
        return
    for sign, keys in ((1, _LOWER), (-1, _UPPER)):
        for key in keys:
            was, now = old.get(key), new.get(key)
            if isinstance(now, (int, float)) and (not isinstance(was, (int, float)) or sign * now > sign * was):
                yield f"{where} has {key} {now} now" + (f", and had {was}" if isinstance(was, (int, float)) else "")
    if isinstance(new.get("pattern"), str) and old.get("pattern") != new["pattern"]:
        yield f"{where} has to match {new['pattern']!r} now"


def _is_read_only(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("readOnly") is True


def _name_of(schema: Any) -> str:
    """What an alternative is called, the same in both documents."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            return str(schema["$ref"]).rpartition("/")[2]
        if isinstance(schema.get("type"), str):
            return str(schema["type"])
        if isinstance(schema.get("title"), str):
            return str(schema["title"])
    return "something else"


def _needs(operation: Object, content: Object) -> list[Object]:
    written = operation.get("security", content.get("security"))
    needs: list[Object] = [each for each in written if isinstance(each, dict)] if isinstance(written, list) else []
    return needs or [{}]


def _suffices(own: Object, needed: Object) -> bool:
    return all(name in own and set(_strings(scopes)) <= set(_strings(own[name])) for name, scopes in needed.items())


def _shown(need: Object) -> str:
    parts = (f"{name} ({', '.join(each)})" if (each := _strings(scopes)) else name for name, scopes in need.items())
    return " and ".join(parts)
