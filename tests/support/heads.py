"""A message's head split the quick way, for ends that trust each other; `messages` and `strict` read exactly."""

from __future__ import annotations


def split_head(head: bytes) -> tuple[list[str], dict[str, str]]:
    """The three parts of the start line, and the fields by name in lower case: of those that repeat the last."""
    line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    return line.split(" ", 2), fields
