"""What the path of a request becomes for its service, as it is written."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from portico.core.placeholders import PATH, names_in
from portico.core.route_paths import check_characters, checked_segments, is_prefix

KEEP: Final = "keep"
"""The rewrite that leaves the path as it is."""


def _rewrite(text: str) -> str:
    if text == KEEP:
        return text
    if re.search(r"\$\d", text):
        raise ValueError("a rewrite has {path}, or {name} for what a pattern captured, and nothing like $1")
    check_characters(text)
    names = names_in(text)
    if names.count("path") > 1:
        raise ValueError("{path} is in a rewrite once at most")
    if re.search(r"[^/]\{path\}", text):
        raise ValueError("{path} begins behind the prefix's slash: write a / before it, or keep for the path as it is")
    checked_segments(re.sub(r"\{\w+\}", "x", text))
    return text


def _version_rewrite(text: str) -> str:
    if text != KEEP and list(names_in(text)) != [PATH]:
        raise ValueError("expected a path with {path} in it, such as /v2/{path}, or keep")
    return text


Rewrite = Annotated[str, AfterValidator(_rewrite)]
"""A route's: `{path}` is what follows its prefix, `{name}` what its pattern captured, `keep` changes nothing."""

VersionRewrite = Annotated[str, AfterValidator(_rewrite), AfterValidator(_version_rewrite)]
"""That of all routes to a version: with `{path}`, or `keep`."""


def strips(path: str, rewrite: str) -> bool:
    """Whether a route takes a prefix off, and so makes the same of `/prefix` and `/prefix/`."""
    return is_prefix(path) and path != "/" and rewrite.endswith("/{path}")
