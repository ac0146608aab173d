"""Where the OpenAPI document of a service is."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.config.section import FilePath, Section, is_word
from portico.core.route_paths import check_characters
from portico.core.settings import Duration, NotEmpty


def _path(text: str) -> str:
    path, _, _ = text.partition("?")  # a query is fine
    check_characters(path)
    return text


class OpenApiSettings(Section):
    """Where the OpenAPI document of a service is: at a `path` of its own, read again `every` so often, or in a `file`
    beside the configuration.
    """

    path: Annotated[str, AfterValidator(_path)] = "/openapi.json"
    """Where the service has it."""
    file: FilePath | None = None
    """A file beside the configuration that holds it, JSON or YAML, in place of `path`."""
    every: Annotated[Duration, Field(ge=1)] = 60.0
    """How often it is fetched again."""

    @property
    def shown_path(self) -> str:
        """The path without a query, which may hold a secret."""
        return self.path.partition("?")[0]

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.file is not None and {"path", "every"} & self.model_fields_set:
            raise ValueError("has file, which is read with the configuration, beside path or every: keep one of them")
        return self


def _long(value: Any) -> Any:
    if is_word(value, False):
        return None
    if is_word(value, True):
        return {}
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError("expected a path that starts with /, false, or {file: NAME} for a file of this machine")
    return {"path": value} if isinstance(value, str) else value


OpenApiField = Annotated[
    OpenApiSettings | None,
    BeforeValidator(_long, json_schema_input_type=bool | str | OpenApiSettings),
    NotEmpty("write openapi: /openapi.json, {file: NAME}, or false"),
]
