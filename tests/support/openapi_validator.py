"""OpenAPI documents, judged by others."""

from __future__ import annotations

from typing import Any


def validate(document: dict[str, Any]) -> None:
    """Raises openapi_spec_validator's error for what is no valid document, of any version."""
    import openapi_spec_validator  # it takes seconds, which every process of the tests would pay

    openapi_spec_validator.validate(document)
