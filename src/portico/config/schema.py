"""The JSON Schema of the file, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from portico.config.meanings import DescribedSchema
from portico.config.model import Config
from portico.config.shapes import alternatives
from portico.policies import POLICY_SETTINGS

_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}"}
_SCALARS = ("integer", "number", "boolean")


def json_schema() -> dict[str, Any]:
    """A schema of draft 2020-12. Numbers and yes/no also allow `${NAME}`; policies may be written in part."""
    body: dict[str, Any] = _with_variables(plain_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}


def plain_schema() -> dict[str, Any]:
    """The same without `${NAME}`."""
    schema = Config.model_json_schema(schema_generator=DescribedSchema)
    for kind in POLICY_SETTINGS.values():
        for member in alternatives(kind):
            schema["$defs"].get(getattr(member, "__name__", ""), {}).pop("required", None)
    return schema


def _with_variables(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_variables(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in _SCALARS:
        notes = {key: schema[key] for key in ("title", "description", "default") if key in schema}
        rest = {key: value for key, value in schema.items() if key not in notes}
        return {**notes, "anyOf": [rest, _FROM_ENVIRONMENT]}
    return {key: value if key == "default" else _with_variables(value) for key, value in schema.items()}
