"""A certificate for this machine and this run."""

from __future__ import annotations

from pathlib import Path

from support.authority import Authority
from support.site import Site


def certificate(site: Site) -> Path:
    """One PEM file with a certificate and its P-256 key; all gateways here take both from one file."""
    leaf = Authority(site.directory / "authority").leaf("tls", "localhost")
    return site.write("tls.pem", leaf.certificate.read_text() + leaf.key.read_text())
