"""Traefik's dynamic configuration: of the file provider, or in the labels of a Compose file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portico.imports.draft import Draft
from portico.imports.located import Value
from portico.imports.remarks import SourceError
from portico.imports.traefik.routers import Routers
from portico.imports.traefik.source import find, read_source, text, texts


def import_traefik(file: Path, *, prefix: Path | None = None) -> Draft:  # noqa: ARG001
    """A file of Traefik's, in YAML or TOML, or a Compose file. Raises SourceError, with file and line."""
    source = read_source(file)
    draft = Draft(str(file), "traefik")
    draft.gateway.data["endpoints"] = dict.fromkeys(("root", "health", "docs", "auth", "metrics"), False)
    for where, what, why in source.remarks:
        draft.left(where, what, why)
    http = find(source.root, "http")
    for kind in ("tcp", "udp"):
        value = find(source.root, kind)
        if value.raw:
            draft.left(value.where, kind, "only http is proxied")
    for key, value in http.entries().items():
        if key.lower() not in ("routers", "services", "middlewares", "serverstransports") and value.raw:
            draft.left(value.where, key, "there is no counterpart")
    if not find(http, "routers").entries():
        raise SourceError(http.where, "it has no routers of http")
    options = _tls(find(source.root, "tls"), file.parent, draft)
    Routers(http, options, source, draft).write()
    return draft


def _tls(tls: Value, directory: Path, draft: Draft) -> dict[str, bool]:
    """Take the certificates that are there; gives the names of options, and whether they ask for clients' ones."""
    pairs: list[dict[str, str]] = []
    for pair in find(tls, "certificates").items():
        files = {"certificate": text(pair, "certFile"), "key": text(pair, "keyFile")}
        if all(name and (directory / name).is_file() for name in files.values()):
            pairs.append({key: str((directory / name).absolute()) for key, name in files.items()})
        else:
            why = f"{files['certificate']} is not here: write it as gateway.tls, with its key"
            draft.left(pair.where, "tls.certificates", why)
    settings: dict[str, Any] = dict(pairs[0]) if pairs else {}
    if pairs[1:]:
        settings["certificates"] = pairs[1:]
    asking = {"default": False}
    for name, options in find(tls, "options").entries().items():
        client = find(options, "clientAuth")
        asking[name] = bool(texts(client, "caFiles") or text(client, "clientAuthType"))
        version = text(options, "minVersion")
        if pairs and name == "default" and version in ("VersionTLS12", "VersionTLS13"):
            settings["min_version"] = version[-2] + "." + version[-1]
        for key, value in options.entries().items():
            if key.lower() not in ("minversion", "clientauth") and value.raw:
                draft.left(value.where, f"tls.options.{name}.{key}", "suites and curves are chosen by the gateway")
    if settings:
        draft.gateway.data["tls"] = settings
    return asking
