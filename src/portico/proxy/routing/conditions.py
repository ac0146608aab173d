"""What a rule asks of header fields and query parameters."""

from __future__ import annotations

from typing import TypeAlias

from portico.core.conditions import Condition, meets, parameter_values
from portico.core.errors import MessageError
from portico.core.messages import Fields

Conditions: TypeAlias = "tuple[tuple[bytes, Condition], ...]"
"""Each with the name of a field, in lower case, or of a parameter, decoded."""


def fields_fit(conditions: Conditions, fields: Fields) -> bool:
    """Whether the fields have these values; a field on several lines is one value.

    Raises MessageError where it is in doubt which of its lines a service takes.
    """
    for name, condition in conditions:
        value = fields.get(name)
        fits = value is not None and meets(condition, value)
        if fields.names.count(name) > 1:
            each = {meets(condition, line) for line in fields.all(name)}
            if (True in each and not fits) or (False in each and fits and callable(condition)):
                shown = name.decode("latin-1")
                raise MessageError("malformed_request", f"{shown} comes more than once, and a route depends on it")
        if not fits:
            return False
    return True


def query_fits(conditions: Conditions, query: bytes) -> bool:
    """Whether a query has these parameters.

    Raises MessageError where one comes more than once, and it is in doubt which of its values a service takes.
    """
    for name, condition in conditions:
        found = {meets(condition, value) for value in parameter_values(query, name)}
        if len(found) > 1:
            shown = ascii(name.decode("utf-8", "replace"))[1:-1]
            raise MessageError(
                "malformed_request", f"{shown} comes more than once in the query, and a route depends on it"
            )
        if found != {True}:
            return False
    return True
