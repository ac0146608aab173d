"""The documents of many services as one, under the paths by which clients get to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portico.openapi.collected import BY_AUTHORIZATION, Collected, Operation, collected
from portico.openapi.lifting import VERSION
from portico.openapi.objects import COMPONENTS, Object
from portico.openapi.references import Name, heirs, renamed
from portico.openapi.sharing import new_names
from portico.openapi.ways import Part

_MOST_NOTED: Final = 100
"""Lines about one matter."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The document, and what a reader of it should know.

    `left_out` has a line for each operation that would have taken the place of another; `apart` the new names of
    components by `FIELD/NAME`; `failed` what was wrong with a part, by its name.
    """

    content: Object
    left_out: tuple[str, ...]
    apart: Mapping[str, Sequence[str]]
    failed: Mapping[str, str]


def merge(parts: Sequence[Part], title: str, schemes: Mapping[str, Object]) -> Merged:
    """Merge the documents of these parts. `schemes` are the gateway's own security schemes, by the names that the ways
    have for them.
    """
    return _Merging(title, schemes).merged(parts)


@dataclass
class _Merging:
    title: str
    schemes: Mapping[str, Object]
    paths: dict[str, Object] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    """The templates in `paths`, by what they match."""
    owners: dict[tuple[str, str], Operation] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    @property
    def in_authorization(self) -> Collection[str]:
        """The gateway's schemes whose credentials are in `Authorization`, of which a request has one."""
        return {name for name, scheme in self.schemes.items() if scheme["type"] in BY_AUTHORIZATION}

    def merged(self, parts: Sequence[Part]) -> Merged:
        whole = [found for part in parts if (found := self._collected(part)) is not None]
        names = self._names(whole)
        components: Object = {}
        webhooks: Object = {}
        for index, found in enumerate(whole):
            own = {name: new for (place, name), new in names.items() if place == index}
            for operation in found.operations:
                self._add(operation, own)
            self._add_components(components, found, own)
            for name, item in found.webhooks.items():
                webhooks[name if name not in webhooks else f"{found.part.label}_{name}"] = renamed(
                    "path_item", item, own
                )
        used = {name for each in self.owners.values() for needed in each.security for name in needed}
        gateway = {name: scheme for name, scheme in self.schemes.items() if name in used}
        if gateway:
            components["securitySchemes"] = {**gateway, **components.get("securitySchemes", {})}
        apart = _apart(names)
        content: Object = {"openapi": VERSION, "info": self._info(parts, apart), "servers": [{"url": "./"}]}
        content |= {"paths": self.paths}
        content |= {"webhooks": webhooks} if webhooks else {}
        content |= {"components": components} if components else {}
        content |= {"tags": tags} if (tags := _tags(whole)) else {}
        return Merged(content, tuple(self.left_out), apart, self.failed)

    def _collected(self, part: Part) -> Collected | None:
        """What is to be merged of a part; None where there is nothing. One that is wrong takes no other with it."""
        if part.document is None:
            return None
        try:
            return collected(part, part.document, self.ids, self.in_authorization)
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            self.failed[part.name] = f"its document cannot be merged: {type(error).__name__}: {error}"
            return None

    def _names(self, whole: Sequence[Collected]) -> Mapping[tuple[int, Name], str]:
        labels = [found.part.label for found in whole]
        return new_names([found.components for found in whole], labels, {("securitySchemes", n) for n in self.schemes})

    def _add(self, operation: Operation, names: Mapping[Name, str]) -> None:
        operation = operation.at(self.shapes.setdefault(operation.shape, operation.path))
        key = (operation.path, operation.method)
        known = self.owners.get(key)
        if known is None:
            self.owners[key] = operation
            value = renamed("operation", operation.value, names)
            security = [
                {names.get(("securitySchemes", name), name): scopes for name, scopes in needed.items()}
                for needed in operation.security
            ]
            if security:
                value["security"] = security
            self.paths.setdefault(operation.path, {})[operation.method] = value
        elif known.is_same(operation):
            shown = self.paths[operation.path][operation.method]
            if "servers" in shown:
                shown["servers"] += [each for each in operation.servers if each not in shown["servers"]]
        elif not self._is_alike(operation, names):
            self._leave_out(operation, f"the route {known.route} has it")

    def _leave_out(self, operation: Operation, reason: str) -> None:
        self.left_out.append(f"{operation.method.upper()} {operation.path} of the route {operation.route}: {reason}")

    def _is_alike(self, operation: Operation, names: Mapping[Name, str]) -> bool:
        """Whether nothing is lost without it: what is there says the same, as with the sides of a split."""
        shown, other = self.paths[operation.path][operation.method], renamed("operation", operation.value, names)
        keys = (shown.keys() | other.keys()) - {"operationId", "tags", "security", "servers"}
        return all(shown.get(key) == other.get(key) for key in keys)

    def _add_components(self, components: Object, found: Collected, names: Mapping[Name, str]) -> None:
        building_on = heirs({name: each for (kind, name), each in found.components.items() if kind == "schemas"})
        for (kind, name), value in found.components.items():
            known = components.setdefault(kind, {})
            if names[kind, name] not in known:
                own = building_on.get(name, ()) if kind == "schemas" else ()
                known[names[kind, name]] = _titled(
                    renamed(COMPONENTS[kind], value, names, own), name, names[kind, name]
                )

    def _info(self, parts: Sequence[Part], apart: Mapping[str, Sequence[str]]) -> Object:
        about = {part.name: dict(part.about) for part in parts}
        for name in self.failed:
            about[name] |= {"state": "unusable"}
        said: Object = {"services": about}
        for key, lines in (("left_out", self.left_out), ("apart", apart)):
            if lines:
                said[key] = lines[:_MOST_NOTED] if isinstance(lines, list) else dict(list(lines.items())[:_MOST_NOTED])
        return {
            "title": self.title,
            "version": "1",
            "description": "\n".join(_sentence(name, each) for name, each in about.items()) or "No services.",
            "x-portico": said,
        }


def _titled(component: Any, name: str, new: str) -> Any:
    """A component whose title is as much its own as its name: generators of clients name classes by titles."""
    is_apart = isinstance(component, dict) and isinstance(component.get("title"), str) and new.endswith(f"_{name}")
    return {**component, "title": new.removesuffix(name) + component["title"]} if is_apart else component


_STATES: Final = {
    "last known": "last known: it does not answer at the moment",
    "missing": "no document is known yet",
    "unusable": "its document cannot be used",
}


def _sentence(name: str, about: Mapping[str, Any]) -> str:
    title = " ".join(str(about.get(key, "")) for key in ("title", "version")).strip()
    state = _STATES.get(str(about.get("state")), "")
    return f"- **{name}**" + (f": {' '.join(title.split())}" if title else "") + (f" ({state})" if state else "")


def _apart(names: Mapping[tuple[int, Name], str]) -> dict[str, list[str]]:
    """The components that have other names than in their services' documents."""
    found: dict[str, dict[str, None]] = {}
    for (_, (kind, name)), new in names.items():
        if new != name:
            found.setdefault(f"{kind}/{name}", {})[new] = None
    return {name: list(new) for name, new in found.items()}


def _tags(whole: Sequence[Collected]) -> list[Object]:
    tags: dict[str, Object] = {}
    for found in whole:
        for tag in found.tags:
            tags.setdefault(tag["name"], tag)
    return list(tags.values())
