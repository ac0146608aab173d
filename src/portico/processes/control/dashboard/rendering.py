"""The templates, and the files beside them whose addresses change with their content."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from portico.processes.control.dashboard.charts import bar, chart
from portico.processes.control.dashboard.words import FILTERS, latency, number, share

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def rendered(template: str, context: dict[str, Any]) -> str:
    """A page of a template; every value in it is escaped."""
    return str(_environment().get_template(template).render(context))


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """Content and type of a file. Raises KeyError for what is none."""
    kind = _TYPES[name.rpartition(".")[2]]
    if name not in _names():
        raise KeyError(name)
    return _static().joinpath(name).read_bytes(), kind


@cache
def _names() -> frozenset[str]:
    return frozenset(each.name for each in _static().iterdir())


def _static() -> Any:
    return files("portico.processes.control.dashboard").joinpath("static")


@cache
def _version() -> str:
    """What the addresses of the files end with."""
    found = hashlib.sha256()
    for name in sorted(_names()):
        found.update(_static().joinpath(name).read_bytes())
    return found.hexdigest()[:12]


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader  # at the first visit: most gateways are never visited

    environment = Environment(
        loader=PackageLoader("portico.processes.control.dashboard"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= FILTERS
    environment.globals |= {"chart": chart, "bar": bar, "number": number, "latency": latency, "share": share}
    environment.globals |= {"version": _version()}
    return environment
