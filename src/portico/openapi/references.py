"""What refers to what in a document: to components by `$ref`, to schemas by `discriminator` too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from portico.openapi.document import pointed_at
from portico.openapi.objects import COMPONENTS, Keys, Object, changed, each_object, keys_of, pointer

Name: TypeAlias = tuple[str, str]
"""A component: the field of `components` that it is in, and its name there."""

_FIELDS: Final = {kind: field for field, kind in COMPONENTS.items()}
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@lru_cache(maxsize=4096)
def component_of(reference: str) -> tuple[Name, Keys] | None:
    """The component that a local reference leads to, or into, and the keys behind that; None for another place."""
    match keys_of(reference):
        case ("components", str(field), str(name), *rest):
            return (field, name), tuple(rest)
    return None


def reference_to(name: Name, rest: Keys = ()) -> str:
    """The reference to a component, or into it."""
    return pointer(("components", *name, *rest))


# ---- a document whose references all lead to components


def settled(content: Object) -> Object:
    """The same document with components for what is referred to elsewhere in it, and path items as they are."""
    moved: dict[tuple[str, str], Name] = {}

    def change(kind: str, value: Object) -> Object:
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return value
        if kind == "path_item":
            return _path_item(content, value)
        if kind in _FIELDS and component_of(reference) is None:
            key = (kind, reference)
            if key not in moved:
                moved[key] = _free(content, moved.values(), _FIELDS[kind], reference)
            value["$ref"] = reference_to(moved[key])
        return value

    new: Object = changed("document", content, change)
    done: set[Name] = set()
    while waiting := [(key, name) for key, name in moved.items() if name not in done]:
        for (kind, reference), (field, name) in waiting:
            done.add((field, name))
            part = changed(kind, pointed_at(content, reference), change)
            new = {**new, "components": _with(new.get("components") or {}, field, name, part)}
    return new


def _path_item(content: Object, item: Object) -> Object:
    """A path item with that which it refers to in it."""
    for _ in range(10):
        reference = item.pop("$ref", None)
        if not isinstance(reference, str):
            break
        found = pointed_at(content, reference)
        item = {**(found if isinstance(found, dict) else {}), **item}
    item.pop("$ref", None)
    return item


def _free(content: Object, taken: Iterable[Name], field: str, reference: str) -> Name:
    known = {name for own, name in taken if own == field} | {*((content.get("components") or {}).get(field) or {})}
    wanted = name = _NO_NAME.sub("_", "_".join(map(str, keys_of(reference)))).strip("_") or "document"
    number = 1
    while name in known:
        number += 1
        name = f"{wanted}_{number}"
    return field, name


def _with(components: Object, field: str, name: str, part: Any) -> Object:
    return {**components, field: {**(components.get(field) or {}), name: part}}


# ---- what an object refers to


def referred(kind: str, value: Any) -> Iterator[Name]:
    """The components that an object and all in it refer to; one may come more than once."""
    for inner, each, _ in each_object(kind, value):
        reference = each.get("$ref")
        if isinstance(reference, str) and (found := component_of(reference)) is not None:
            yield found[0]
        if inner == "schema":
            yield from (name for _, name, _ in _mapped(each))


def _mapped(schema: Object) -> Iterator[tuple[str, Name, Keys]]:
    """What the values of a discriminator stand for: schemas by their names, or by references."""
    discriminator = schema.get("discriminator")
    mapping = discriminator.get("mapping") if isinstance(discriminator, dict) else None
    for value, target in mapping.items() if isinstance(mapping, dict) else ():
        if isinstance(target, str) and target.startswith("#"):
            if (found := component_of(target)) is not None:
                yield value, *found
        elif isinstance(target, str) and "/" not in target:
            yield value, ("schemas", target), ()


def heirs(schemas: Mapping[str, Any]) -> dict[str, list[str]]:
    """The schemas that build on each one that has a `discriminator`: its values may be their names."""
    found: dict[str, list[str]] = {}
    for name, schema in schemas.items():
        parts = schema.get("allOf") if isinstance(schema, dict) else None
        for part in parts if isinstance(parts, list) else ():
            reference = part.get("$ref") if isinstance(part, dict) else None
            target = component_of(reference) if isinstance(reference, str) else None
            parent = schemas.get(target[0][1]) if target is not None and target[0][0] == "schemas" else None
            if target is not None and isinstance(parent, dict) and "discriminator" in parent:
                found.setdefault(target[0][1], []).append(name)
    return found


# ---- other names


def renamed(kind: str, value: Any, names: Mapping[Name, str], heirs: Iterable[str] = ()) -> Any:
    """A copy that refers to components by their new names.

    A value of a discriminator that was the name of a schema still means that schema. `heirs` are the names of those
    that build on this one.
    """

    own = [heirs]

    def change(inner: str, each: Object) -> Object:
        building_on = own.pop() if own else ()  # the first that is changed is the whole
        reference = each.get("$ref")
        if isinstance(reference, str) and (found := component_of(reference)) is not None:
            (field, name), rest = found
            each["$ref"] = reference_to((field, names.get((field, name), name)), rest)
        if inner == "schema" and isinstance(each.get("discriminator"), dict):
            each["discriminator"] = _discriminator(each, names, building_on)
        return each

    return changed(kind, value, change)


def _discriminator(schema: Object, names: Mapping[Name, str], heirs: Iterable[str]) -> Object:
    written = schema["discriminator"].get("mapping")
    mapping = dict(written) if isinstance(written, dict) else {}
    for value, (field, name), rest in list(_mapped(schema)):
        mapping[value] = reference_to((field, names.get((field, name), name)), rest)
    meant = [*mapping.values()]
    for name in (*_alternatives(schema), *heirs):
        new = names.get(("schemas", name), name)
        if new != name and reference_to(("schemas", new)) not in meant:
            mapping.setdefault(name, reference_to(("schemas", new)))
    return {**schema["discriminator"], "mapping": mapping} if mapping else schema["discriminator"]


def _alternatives(schema: Object) -> Iterator[str]:
    """The schemas that this one is one of, by their names."""
    for key in ("oneOf", "anyOf"):
        for part in schema[key] if isinstance(schema.get(key), list) else ():
            reference = part.get("$ref") if isinstance(part, dict) else None
            found = component_of(reference) if isinstance(reference, str) else None
            if found is not None and found[0][0] == "schemas" and not found[1]:
                yield found[0][1]
