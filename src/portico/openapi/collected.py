"""What becomes part of the merged document of one service: the operations that clients get to, and what those need."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias
from urllib.parse import urljoin, urlsplit

from portico.core.fields import OWN_FAMILY, plain_name
from portico.openapi.document import Document, pointed_at
from portico.openapi.lifting import OPERATIONS, lifted
from portico.openapi.objects import COMPONENTS, Object, changed
from portico.openapi.references import Name, heirs, referred, settled
from portico.openapi.ways import Part, Requirement, Way

MOST_OPERATIONS: Final = 20_000
"""Of one service, on all its routes."""
_TEMPLATE: Final = re.compile(r"\{[^{}]*\}")
BY_AUTHORIZATION: Final = ("http", "oauth2", "openIdConnect")
"""The types of security schemes whose credentials are in `Authorization`, of which a request has one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation where clients find it; names in it are still those of its own document."""

    path: str
    method: str
    value: Object
    route: str
    security: tuple[Requirement, ...]
    servers: tuple[Object, ...]
    origin: tuple[str, str]
    """The name of its part, and its path there."""

    @property
    def shape(self) -> str:
        """What it matches: equal for two paths that differ in the names of their parameters."""
        return _TEMPLATE.sub("{}", self.path)

    def at(self, path: str) -> Operation:
        """The same with other names for the parameters of its path: a document has one spelling of each."""
        if path == self.path:
            return self
        names = dict(zip(_TEMPLATE.findall(self.path), _TEMPLATE.findall(path), strict=True))
        value = dict(self.value)
        if "parameters" in value:
            value["parameters"] = [
                {**each, "name": names[f"{{{each['name']}}}"][1:-1]} if _is_named(each, names) else each
                for each in value["parameters"]
            ]
        return replace(self, path=path, value=value)

    def is_same(self, other: Operation) -> bool:
        """Whether the other is the very same operation of the same service."""
        return self.origin == other.origin


def _is_named(parameter: Object, templates: Collection[str]) -> bool:
    """Whether a parameter is one of those in a path."""
    return parameter.get("in") == "path" and f"{{{parameter.get('name')}}}" in templates


@dataclass(frozen=True, slots=True)
class Collected:
    """All of one part. `components` are those that its operations need, by their own names."""

    part: Part
    operations: list[Operation]
    components: dict[Name, Any]
    webhooks: dict[str, Object]
    tags: list[Object] = field(default_factory=list)


def collected(part: Part, document: Document, ids: set[str], in_authorization: Collection[str]) -> Collected:
    """Collect what clients get to.

    `ids` are the operation ids that are taken; those of this part are added. `in_authorization` are the gateway's
    security schemes whose credentials are in that field.
    """
    content = settled(lifted(document))
    named = [_ids(content, way, ids) for way in part.ways]
    operations = list(_operations(part, content, named, in_authorization))
    own_webhooks = (content.get("webhooks") or {}).items() if operations else ()
    webhooks = {name: _nameless("path_item", item) for name, item in own_webhooks if isinstance(item, dict)}
    components = _needed(content, operations, webhooks)
    by_document = {own_id: new for (own_id, _, _), new in reversed([each for ids in named for each in ids.items()])}
    for name, value in components.items():
        match name[0]:
            case "securitySchemes":
                components[name] = _reachable_scheme(value, part.ways)
            case "responses":
                components[name] = _linked(value, by_document)
            case "links" if isinstance(value, dict):
                own_id = by_document.get(str(value.get("operationId")), "unknown")
                components[name] = {key: each for key, each in value.items() if key != "operationRef"}
                components[name]["operationId"] = own_id
            case "callbacks":
                components[name] = _nameless("callback", value)
    return Collected(part, operations, components, webhooks, _tags(part, content, operations))


def _operations(
    part: Part, content: Object, ids: Sequence[_Ids], in_authorization: Collection[str]
) -> Iterator[Operation]:
    schemes = (content.get("components") or {}).get("securitySchemes") or {}
    count = 0
    for way, named in zip(part.ways, ids, strict=True):
        links = {own_id: new for (own_id, _, _), new in reversed(named.items())}
        for path, item in (content.get("paths") or {}).items():
            for method in OPERATIONS if path.startswith("/") else ():
                own = item.get(method)
                public = way.public(path, method.upper()) if isinstance(own, dict) else None
                if public is None:
                    continue
                count += 1
                if count > MOST_OPERATIONS:
                    raise ValueError(f"it has more than {MOST_OPERATIONS} operations on all its routes")
                value = _shown(own, item, way, links)
                if (own_id := named.get((str(own.get("operationId")), path, method))) is not None:
                    value["operationId"] = own_id
                if parameters := list(_parameters(own, item, way, content, _TEMPLATE.findall(public))):
                    value["parameters"] = parameters
                needs = _needs(own.get("security", content.get("security")), schemes)
                security = tuple(_security(needs, schemes, way, in_authorization))
                yield Operation(public, method, value, way.route, security, way.servers, (part.name, path))


_Ids: TypeAlias = dict[tuple[str, str, str], str]
"""The ids of operations on one way, by those of the document, which may have one twice, with paths and methods."""


def _ids(content: Object, way: Way, taken: set[str]) -> _Ids:
    named: _Ids = {}
    for path, item in (content.get("paths") or {}).items():
        for method in OPERATIONS if path.startswith("/") else ():
            own = item.get(method)
            own_id = own.get("operationId") if isinstance(own, dict) else None
            if isinstance(own_id, str) and way.public(path, method.upper()) is not None:
                new, number = f"{way.label}_{own_id}", 1
                while new in taken:
                    number += 1
                    new = f"{way.label}_{own_id}_{number}"
                taken.add(new)
                named[own_id, path, method] = new
    return named


def _shown(own: Object, item: Object, way: Way, ids: Mapping[str, str]) -> Object:
    """An operation with what its path item says of all, and what the way says, but for its id and parameters."""
    value = {key: each for key, each in own.items() if key not in ("servers", "security", "parameters")}
    for key in ("summary", "description"):
        if key in item:
            value.setdefault(key, item[key])
    value.pop("operationId", None)
    value["tags"] = _tags_of(own, way)
    if isinstance(value.get("callbacks"), dict):
        value["callbacks"] = {name: _nameless("callback", each) for name, each in value["callbacks"].items()}
    if way.deprecated:
        value["deprecated"] = True
    if way.servers:
        value["servers"] = list(way.servers)
    if isinstance(value.get("responses"), dict):
        value["responses"] = {status: _linked(each, ids) for status, each in value["responses"].items()}
    return value


def _parameters(own: Object, item: Object, way: Way, content: Object, templates: Sequence[str]) -> Iterator[Any]:
    """Those of an operation, of its path, and of the way to it; what comes first in this order holds.

    Those in the path, which are the `templates`, are there themselves, so that they can have other names, and all of
    them: a function of FastAPI's need not take those that stand in its path. Those that only the gateway writes are
    left out.
    """
    found: dict[tuple[str, str], Any] = {}
    for each in (*(own.get("parameters") or ()), *(item.get("parameters") or ()), *way.parameters):
        if isinstance(each, dict):
            whole = pointed_at(content, each["$ref"]) if isinstance(each.get("$ref"), str) else each
            name, place = str(whole.get("name")), str(whole.get("in"))
            found.setdefault((place, name.lower() if place == "header" else name), whole if place == "path" else each)
    for template in templates:
        missing = {"name": template[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        found.setdefault(("path", template[1:-1]), missing)
    for place, name in found:
        if place == "path":
            is_sent = f"{{{name}}}" in templates
        else:
            is_sent = place != "header" or not plain_name(name.encode(errors="replace")).startswith(OWN_FAMILY)
        if is_sent:
            yield found[place, name]


def _nameless(kind: str, value: Any) -> Any:
    """What clients receive rather than call, without the ids of operations, which would have to be unique."""
    return changed(kind, value, lambda _, each: {key: held for key, held in each.items() if key != "operationId"})


def _linked(response: Any, ids: Mapping[str, str]) -> Any:
    """A response whose links name operations by their new ids; those that lead elsewhere go."""
    links = response.get("links") if isinstance(response, dict) else None
    if not isinstance(links, dict):
        return response
    kept = {
        name: {**link, "operationId": ids[link["operationId"]]} if "operationId" in link else link
        for name, link in links.items()
        if isinstance(link, dict) and (link.get("operationId") in ids or "$ref" in link)
    }
    return {**response, "links": kept}


# ---- tags


def _tags_of(own: Object, way: Way) -> list[str]:
    tags = [tag for tag in own.get("tags") or () if isinstance(tag, str)]
    return list(dict.fromkeys(_tag(way.tag, tag) for tag in tags)) or [way.tag]


def _tag(way: str, own: str) -> str:
    """A tag of the service's, below that of the way to it; one that only repeats the service's name is the way's."""
    return way if own.lower() == way.partition(" ")[0].lower() else f"{way}: {own}"


def _tags(part: Part, content: Object, operations: Sequence[Operation]) -> list[Object]:
    """The tags of the operations, with what the service says of them."""
    said = {tag.get("name"): tag for tag in content.get("tags") or () if isinstance(tag, dict)}
    info = content.get("info")
    title = info.get("title") if isinstance(info, dict) else None
    known: dict[str, Object] = {}
    for way in part.ways:
        known[way.tag] = {"name": way.tag, **({"description": title} if isinstance(title, str) else {})}
        for name, tag in said.items():
            about = {key: tag[key] for key in ("description", "externalDocs") if key in tag}
            known[_tag(way.tag, str(name))] = {"name": _tag(way.tag, str(name)), **about}
    used = dict.fromkeys(tag for operation in operations for tag in operation.value["tags"])
    return [known.get(tag, {"name": tag}) for tag in used]


# ---- security


def _needs(own: Any, schemes: Mapping[str, Any]) -> list[Requirement]:
    """What the service asks for."""
    needs = [each for each in own if isinstance(each, dict)] if isinstance(own, list) else []
    return [{name: scopes for name, scopes in each.items() if name in schemes} for each in needs]


def _security(
    needs: Sequence[Requirement], schemes: Mapping[str, Any], way: Way, in_authorization: Collection[str]
) -> Iterator[Requirement]:
    """What a request needs: what the gateway asks for, and what the service does.

    Where both are about the token in `Authorization`, there is one: the scheme is the gateway's.
    """
    if not way.security:
        yield from needs
        return
    seen = []
    for gateway in way.security:
        uses_it = not gateway.keys().isdisjoint(in_authorization)
        for each in needs or [{}]:
            others = {name: scopes for name, scopes in each.items() if not (uses_it and _uses_it(schemes[name]))}
            both = {**gateway, **others}
            if both not in seen:
                seen.append(both)
                yield both


def _uses_it(scheme: Any) -> bool:
    """Whether the credentials of a scheme are in `Authorization`."""
    return isinstance(scheme, dict) and scheme.get("type") in BY_AUTHORIZATION


def _reachable_scheme(scheme: Any, ways: Iterable[Way]) -> Any:
    """A security scheme whose addresses are those by which clients get there."""
    flows = scheme.get("flows") if isinstance(scheme, dict) else None
    if not isinstance(flows, dict):
        return scheme
    return {
        **scheme,
        "flows": {
            name: {key: _address(key, each, ways) for key, each in flow.items()} if isinstance(flow, dict) else flow
            for name, flow in flows.items()
        },
    }


def _address(key: str, value: Any, ways: Iterable[Way]) -> Any:
    if not (key.endswith("Url") and isinstance(value, str)) or urlsplit(value).scheme or urlsplit(value).netloc:
        return value
    path = urlsplit(urljoin("/", value)).path
    method = "GET" if key == "authorizationUrl" else "POST"
    public = next((found for way in ways if (found := way.public(path, method)) is not None), None)
    return value if public is None else f".{public}"


# ---- components


def _needed(content: Object, operations: Sequence[Operation], webhooks: Mapping[str, Object]) -> dict[Name, Any]:
    """The components that these need, and those that the needed ones need, in the order of the document."""
    known = content.get("components") or {}
    building_on = heirs(known.get("schemas") or {})
    coming: deque[Name] = deque()
    for operation in operations:
        coming.extend(referred("operation", operation.value))
        coming.extend(("securitySchemes", name) for each in operation.security for name in each)
    for item in webhooks.values():
        coming.extend(referred("path_item", item))
    found: set[Name] = set()
    while coming:
        kind, name = place = coming.popleft()
        if place in found or name not in (known.get(kind) or {}):
            continue
        found.add(place)
        coming.extend(referred(COMPONENTS[kind], known[kind][name]))
        if kind == "schemas":
            coming.extend(("schemas", heir) for heir in building_on.get(name, ()))
    return {
        (kind, name): value for kind, own in known.items() if kind in COMPONENTS for name, value in own.items()
        if (kind, name) in found
    }  # fmt: skip
