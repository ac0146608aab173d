"""What a rule asks of header fields and query parameters."""

from __future__ import annotations

from typing import TypeAlias

from portico.core.conditions import Condition, meets, parameter_values
from portico.core.errors import MessageError
from portico.core.messages import Fields

Conditions: TypeAlias = "tuple[tuple[bytes, Condition], ...]"
"""Each with the name of a field, in lower case, or of a parameter, decoded."""


def fit(headers: Conditions, parameters: Conditions, fields: Fields, query: bytes) -> bool:
    """Whether fields and query have these values; a field on several lines is one value.

    Raises MessageError where all depends on a field or parameter that comes more than once, and it is in doubt which of
    its values a service takes.
    """
    doubt, names = "", fields.names
    for name, condition in headers:
        count = names.count(name)
        if count == 1:
            value = fields.lines[names.index(name)][len(name) + 1 :].strip()
            if not (value == condition if type(condition) is bytes else meets(condition, value)):
                return False
        elif not count:
            return False
        else:
            fits = meets(condition, fields.get(name) or b"")
            if _is_in_doubt(condition, fields.all(name), fits=fits):
                doubt = doubt or f"{name.decode('latin-1')} comes more than once"
            elif not fits:
                return False
    for name, condition in parameters:
        found = {meets(condition, value) for value in parameter_values(query, name)}
        if len(found) > 1:
            doubt = doubt or f"{ascii(name.decode('utf-8', 'replace'))[1:-1]} comes more than once in the query"
        elif found != {True}:
            return False
    if doubt:
        raise MessageError("malformed_request", f"{doubt}, and a route depends on it")
    return True


def _is_in_doubt(condition: Condition, lines: list[bytes], *, fits: bool) -> bool:
    """Whether a service that reads one of the lines may see another value than one that reads them all."""
    each = {meets(condition, line) for line in lines}
    return (True in each and not fits) or (False in each and fits and callable(condition))
