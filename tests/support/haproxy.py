"""HAProxy, where it is installed."""

from __future__ import annotations

from .site import Site, output_of, program


def command(site: Site, text: str) -> list[str]:
    """Writes the configuration and gives the command that serves it."""
    return run(str(site.write("haproxy.cfg", text)))


def run(file: str) -> list[str]:
    """The command that serves a file."""
    return [program("haproxy") or "haproxy", "-db", "-f", file]


def version() -> str | None:
    """HAProxy's version, or None where it is not installed."""
    haproxy = program("haproxy")
    return output_of(haproxy, "-v").split()[2] if haproxy else None
