"""`docs/reference/configuration.md`: every key with its type, default and meaning, from the schema of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from portico.config.schema import plain_schema

from .markdown import anchors

_HEAD: Final = """\
# All keys

<!-- Written by make docs from the models: what a key means stands below it in the code. -->

Every key of the file, section by section. [How the file works](../configuration.md) has examples, and how values such
as durations and sizes are written; `portico schema` prints the same for editors. `NAME` stands for a name of your own.
A section that may stand at several places is here once.
"""

MORE: Final = {
    "gateway.limits": "overload.md",
    "gateway.listen": "listeners.md",
    "gateway.tls": "tls.md",
    "gateway.tls.acme": "acme.md",
    "gateway.tokens": "sign-in.md",
    "gateway.cache": "caching.md",
    "gateway.log": "reference/log.md",
    "gateway.endpoints": "configuration.md#gatewayendpoints",
    "services.NAME": "configuration.md#services",
    "services.NAME.health_check": "health.md",
    "services.NAME.passive_health": "health.md#failing-instances",
    "services.NAME.circuit_breaker": "health.md#failing-instances",
    "services.NAME.timeout": "failover.md#timeouts",
    "services.NAME.retries": "failover.md#retries",
    "services.NAME.hedge": "failover.md#hedging",
    "services.NAME.sticky": "balancing.md#sticky-sessions",
    "services.NAME.load_balancing": "balancing.md",
    "services.NAME.versions.NAME": "configuration.md#versions",
    "services.NAME.discover": "discovery.md",
    "services.NAME.discover.kubernetes": "discovery.md#services-of-kubernetes",
    "services.NAME.discover.dns": "discovery.md#services-in-dns",
    "gateway.kubernetes": "discovery.md#services-of-kubernetes",
    "services.NAME.maintenance": "errors.md#maintenance",
    "routes": "routing.md",
    "routes.split": "split.md",
    "routes.canary": "canary.md",
    "routes.mirror": "mirror.md",
    "discover": "discovery.md",
    "policies": "configuration.md#policies",
    "policies.auth": "configuration.md#auth-authorize",
    "policies.auth.jwt": "tokens.md",
    "policies.auth.api_key": "keys.md",
    "policies.auth.introspection": "tokens.md#tokens-that-only-their-issuer-can-read",
    "policies.auth.client_certificate": "access.md#certificates-of-clients",
    "policies.auth.forward": "forward-auth.md",
    "policies.auth.resource": "tokens.md#where-tokens-come-from",
    "policies.authorize": "configuration.md#auth-authorize",
    "policies.cache": "caching.md",
    "policies.compress": "compression.md",
    "policies.cors": "configuration.md#cors",
    "policies.decompress": "compression.md#requests",
    "policies.deny": "configuration.md#deny",
    "policies.errors.NAME": "errors.md#own-pages",
    "policies.headers": "configuration.md#policiesheaders",
    "policies.identity": "services.md",
    "policies.ip_filter": "configuration.md#ip_filter",
    "policies.plugins": "policies.md",
    "policies.rate_limit": "configuration.md#rate_limit",
    "policies.rewrite_cookies": "configuration.md#rewrite_location-rewrite_cookies",
    "policies.transform": "transform.md",
    "consumers": "configuration.md#consumers",
}
"""Pages that show what a section is for, below `docs`."""

_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_DURATIONS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))


class _Section:
    """What may stand at one path: the objects of the schema that have their first place there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.objects: list[dict[str, Any]] = []
        self.elsewhere: list[str] = []


class Reference:
    """All sections, in the order of the file."""

    def __init__(self) -> None:
        self._objects: dict[str, _Section] = {}
        self._sections: dict[str, _Section] = {}
        schema = plain_schema()
        self._defined: dict[str, dict[str, Any]] = {"": schema, **schema["$defs"]}
        waiting = [("", "")]
        while waiting:  # what is nearest to the top first: that is where a section has its place
            name, path = waiting.pop(0)
            if name in self._objects:
                self._objects[name].elsewhere.append(path)
            elif "properties" in self._defined[name]:
                waiting += self._placed(name, path)

    def _placed(self, name: str, path: str) -> Iterator[tuple[str, str]]:
        """The objects in an object, each with its path, once that has its place."""
        section = self._objects[name] = self._sections.setdefault(path, _Section(path))
        section.objects.append(self._defined[name])
        for key, value in self._defined[name]["properties"].items():
            for found, inner in _references(value):
                yield found, ".".join(filter(None, (path, key, inner)))

    def text(self) -> str:
        """The whole page: what is in a section follows it."""
        waiting, parts = [""], [_HEAD]
        while waiting:
            path = waiting.pop(0)
            parts.append(self._part(self._sections[path]))
            waiting[:0] = [each for each in self._sections if each and _above(each, self._sections) == path]
        return "\n".join(parts)

    def paths(self) -> list[str]:
        """Of all sections."""
        return [*self._sections]

    def _part(self, section: _Section) -> str:
        lines = [f"## {section.path or 'The file'}", ""]
        if more := MORE.get(section.path):
            lines += [f"Shown in [{more.partition('#')[0]}](../{more}).", ""]
        if others := [path for path in dict.fromkeys(section.elsewhere) if path != section.path]:
            lines += [f"Also at {', '.join(f'`{path}`' for path in others)}.", ""]
        rows = [row for each in section.objects for row in self._rows(each)]
        head = ["| key | type | default | meaning |", "|---|---|---|---|"] if rows else ["There is nothing to set."]
        return "\n".join([*lines, *head, *rows, ""])

    def _rows(self, schema: dict[str, Any]) -> Iterator[str]:
        for key, value in schema["properties"].items():
            default = "required" if key in schema.get("required", []) else _default(value)
            cells = (f"`{key}`", self._type(value), default, value.get("description", ""))
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def _type(self, schema: dict[str, Any]) -> str:
        if _is_duration(schema):
            return "duration" + _between(schema, 1000, _DURATIONS)
        if _is_size(schema):
            return "size" + _between(schema, 1, _SIZES)
        if "anyOf" in schema:
            words = [word for each in _alternatives(schema) if (word := self._type(each))]
            return ", ".join(dict.fromkeys(words))
        if "$ref" in schema:
            return self._linked(schema["$ref"].rpartition("/")[2])
        if "const" in schema:
            return f"`{_written(schema['const'])}`"
        if "enum" in schema:
            return ", ".join(f"`{_written(word)}`" for word in schema["enum"])
        kind = schema.get("type")
        if isinstance(kind, list):
            return ", ".join(self._type({"type": each}) for each in kind)
        if kind in (None, "null"):
            return ""
        if kind == "array":
            return f"list of {self._type(schema.get('items', {})) or 'values'}"
        if kind == "object":
            values = _values(schema)
            return f"names to {(self._type(values) if isinstance(values, dict) else '') or 'values'}"
        return {"boolean": "`true`, `false`", "string": "text"}.get(kind) or _number(schema)

    def _linked(self, name: str) -> str:
        section = self._objects.get(name)
        if section is None:
            return "section"
        (anchor,) = anchors(f"## {section.path}")
        return f"[section](#{anchor})"


def _references(schema: Any, inner: str = "") -> Iterator[tuple[str, str]]:
    """The sections that a value may be, each with what stands between the key and its own keys."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2], inner
        for key in ("anyOf", "oneOf"):
            for each in schema.get(key, []):
                yield from _references(each, inner)
        yield from _references(schema.get("items"), inner)
        yield from _references(_values(schema), "NAME")


def _values(schema: dict[str, Any]) -> Any:
    """What the values under names of one's own are."""
    patterns = schema.get("patternProperties", {})
    return next(iter(patterns.values()), None) or schema.get("additionalProperties")


def _above(path: str, sections: Mapping[str, Any]) -> str:
    """The nearest section that this one is in."""
    while path:
        path = path.rpartition(".")[0]
        if path in sections:
            return path
    return ""


def _alternatives(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Flattened, so that text which may be a duration is one."""
    for each in schema["anyOf"]:
        if "anyOf" in each and not _is_duration(each) and not _is_size(each):
            yield from _alternatives(each)
        else:
            yield each


def _patterns(schema: dict[str, Any]) -> str:
    return " ".join(each.get("pattern", "") for each in schema.get("anyOf", []))


def _is_duration(schema: dict[str, Any]) -> bool:
    return "(ms|s|m|h|d)" in _patterns(schema) and not any("$ref" in each for each in schema["anyOf"])


def _is_size(schema: dict[str, Any]) -> bool:
    return "|KiB|MiB|" in _patterns(schema)


def _number(schema: dict[str, Any]) -> str:
    kind = "number" if schema["type"] == "number" else "whole number"
    low = schema.get("minimum", schema.get("ge", schema.get("exclusiveMinimum")))
    high = schema.get("maximum", schema.get("le"))
    if low is None:
        return kind if high is None else f"{kind}, to {_written(high)}"
    return f"{kind}, from {_written(low)}" if high is None else f"{kind}, {_written(low)} to {_written(high)}"


def _between(schema: dict[str, Any], scale: int, units: Sequence[tuple[int, str]]) -> str:
    low, high = (
        _scaled(round(schema[bound] * scale), units) if schema.get(bound) else "" for bound in ("minimum", "maximum")
    )
    return f", {low} to {high}" if low and high else f", from {low}" if low else f", to {high}" if high else ""


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value is None or isinstance(value, dict) or value == []:
        return ""
    if _is_size(schema) and value:
        return f"`{_scaled(value, _SIZES)}`"
    if _is_duration(schema) and value:
        return f"`{_scaled(round(value * 1000), _DURATIONS)}`"
    return f"`{_written(value)}`"


def _scaled(value: int, units: Sequence[tuple[int, str]]) -> str:
    return next(f"{value // unit}{name}" for unit, name in units if value % unit == 0)


def _written(value: Any) -> str:
    """As it is written in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, list):
        pairs = all(isinstance(each, list) and len(each) == 2 for each in value)
        parts = [f"{each[0]}-{each[1]}" if pairs else _written(each) for each in value]
        return f"[{', '.join(parts)}]"
    return " ".join(str(value).split()) or '""'
