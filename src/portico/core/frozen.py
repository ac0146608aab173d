"""JSON values that several exchanges share, in a form that none of them can change."""

from __future__ import annotations

from sys import getsizeof, intern
from types import MappingProxyType
from typing import Any


def frozen(value: Any) -> tuple[Any, int]:
    """Lists as tuples, mappings read-only and with names that are shared; and how many bytes it takes, about.

    Raises RecursionError for what is nested too deeply.
    """
    if isinstance(value, dict):
        members = {intern(name): frozen(member) for name, member in value.items()}
        copy = {name: member for name, (member, _) in members.items()}
        proxy = MappingProxyType(copy)
        size = getsizeof(proxy) + getsizeof(copy) + sum(len(name) + size for name, (_, size) in members.items())
        return proxy, size
    if isinstance(value, list):
        pairs = [frozen(member) for member in value]
        made = tuple(member for member, _ in pairs)
        return made, getsizeof(made) + sum(size for _, size in pairs)
    return value, getsizeof(value)
