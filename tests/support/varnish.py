"""Varnish, where it is installed."""

from __future__ import annotations

import re

from .site import Site, output_of, program


def command(site: Site, vcl: str, *parameters: str) -> list[str]:
    """Writes the VCL and gives the command that serves it: `parameters` are those of `-p`; it keeps 256 MiB."""
    file, place = site.write("cache.vcl", vcl), site.directory / "varnish"
    options = [part for parameter in parameters for part in ("-p", parameter)]
    where = ["-n", str(place), "-a", f"127.0.0.1:{site.port}", "-f", str(file), "-s", "malloc,256M"]
    return [program("varnishd") or "varnishd", "-F", "-j", "none", *where, *options]


def version() -> str | None:
    """Varnish's version, or None where it is not installed."""
    varnish = program("varnishd")
    found = re.search(r"varnish-([0-9.]+)", output_of(varnish, "-V")) if varnish else None
    return found[1] if found else None
