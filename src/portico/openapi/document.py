"""A document that has been judged: its version is known, its references lead somewhere, its paths are paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from portico.core.slices import Steps, at_once
from portico.openapi.errors import DocumentError
from portico.openapi.objects import METHODS, Keys, Object, each_object, keys_of, pointer
from portico.openapi.text import reading

__all__ = ["Document", "DocumentError", "judged", "pointed_at", "read_document", "reading_document"]

_VERSION: Final = re.compile(r"3\.([0-2])(?:\.\d+)?(?:-[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Document:
    """An OpenAPI document of version 3.`minor` as plain data, which nobody changes."""

    minor: int
    content: Object

    @property
    def paths(self) -> dict[str, Object]:
        """Its path items, without extensions."""
        paths = self.content.get("paths") or {}
        return {path: item for path, item in paths.items() if path.startswith("/")}


def read_document(text: bytes) -> Document:
    """The document that a text, JSON or YAML, is. Raises DocumentError."""
    return at_once(reading_document(text))


def reading_document(text: bytes) -> Steps[Document]:
    """The same in steps. Raises DocumentError."""
    return (yield from _judging((yield from reading(text))))


def judged(content: Any) -> Document:
    """The document that plain data is. Raises DocumentError."""
    return at_once(_judging(content))


def _judging(content: Any) -> Steps[Document]:
    if not isinstance(content, dict):
        raise DocumentError("it is no OpenAPI document: an object is expected, with openapi: 3.1.0 in it")
    document = Document(_minor(content), content)
    _check_parts(document)
    for kind, value, where in each_object("document", content):
        if kind == "path_item":
            _check_path_item(value, where)
        for reference in _references(kind, value):
            _check_reference(content, reference, where)
        yield
    return document


def pointed_at(content: Object, reference: str) -> Any:
    """What a local reference leads to. Raises LookupError, or ValueError for one that is not local."""
    found: Any = content
    for key in keys_of(reference):
        found = found[int(str(key))] if isinstance(found, list) else found[key]
    return found


def _minor(content: Object) -> int:
    if "swagger" in content:
        raise DocumentError("it is Swagger 2.0: OpenAPI 3.0, 3.1 and 3.2 are read")
    version = content.get("openapi")
    if version is None:
        raise DocumentError("it is no OpenAPI document: openapi, the version, is not in it")
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise DocumentError(f"openapi is {_shown(version)}, where 3.0, 3.1 and 3.2 are read, such as the text 3.1.0")
    return int(match[1])


def _shown(value: Any) -> str:
    return ascii(value)[:40]


def _check_parts(document: Document) -> None:
    content = document.content
    for key in ("info", "paths", "webhooks", "components"):
        if not isinstance(content.get(key, {}), dict):
            raise DocumentError(f"{key} is no object")
    if "paths" not in content and (document.minor == 0 or not {"webhooks", "components"} & content.keys()):
        raise DocumentError("paths is not in it")
    for path, item in (content.get("paths") or {}).items():
        if path.startswith("x-"):
            continue
        if not path.startswith("/"):
            raise DocumentError(f"the path {_shown(path)} does not begin with /")
        if not isinstance(item, dict):
            raise DocumentError(f"{pointer(('paths', path))} is no object")


def _check_path_item(item: Object, where: Keys) -> None:
    for name in METHODS:
        if not isinstance(item.get(name, {}), dict):
            raise DocumentError(f"{pointer((*where, name))} is no object")
        for key, kind in (("parameters", list), ("responses", dict)):
            if not isinstance(item.get(name, {}).get(key, kind()), kind):
                raise DocumentError(f"{pointer((*where, name, key))} is no {'list' if kind is list else 'object'}")


def _references(kind: str, value: Object) -> Iterator[str]:
    reference = value.get("$ref")
    if isinstance(reference, str):
        yield reference
    elif reference is not None:
        yield ""
    mapping = value.get("discriminator")
    mapping = mapping.get("mapping") if kind == "schema" and isinstance(mapping, dict) else None
    if isinstance(mapping, dict):
        yield from (each for each in mapping.values() if isinstance(each, str) and each.startswith("#"))


def _check_reference(content: Object, reference: str, where: Keys) -> None:
    try:
        pointed_at(content, reference)
    except ValueError:
        message = "is not in this document: only references that begin with #/ are followed"
    except (LookupError, TypeError):
        message = "leads nowhere"
    else:
        return
    raise DocumentError(f"the $ref {_shown(reference)} in {pointer(where)} {message}")
