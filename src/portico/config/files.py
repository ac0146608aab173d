"""The files that a configuration names: whether they can be used, found out before anything is started."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from portico.config.model import Config


def file_problems(config: Config) -> list[str]:
    """What is wrong with certificates, keys and the access log's place, in sentences; empty where nothing is."""
    return [*_listening(config), *_upstreams(config), *_access_log(config)]


def _listening(config: Config) -> Iterator[str]:
    tls = config.gateway.tls
    if tls is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        missing = [str(path) for path in (tls.certificate, tls.key) if not Path(path).is_file()]
        reason = f"no such file: {', '.join(missing)}" if missing else error.strerror or str(error)
        yield f"gateway.tls: the certificate and key cannot be used: {reason}"


def _upstreams(config: Config) -> Iterator[str]:
    for name, service in config.services.items():
        for version in (None, *service.versions):
            ca = service.upstream(version).tls.ca
            if ca is None:
                continue
            try:
                ssl.create_default_context(cafile=str(ca))
            except OSError as error:
                yield f"services.{name}: the CA file {ca} cannot be used: {error.strerror or error}"


def _access_log(config: Config) -> Iterator[str]:
    target = config.gateway.log.access
    if target in ("stdout", "stderr", "off"):
        return
    path = Path(target)
    writable = os.access(path, os.W_OK) if path.exists() else os.access(path.parent, os.W_OK | os.X_OK)
    if not writable or path.is_dir():
        yield f"gateway.log.access: {target} cannot be written; name a file in a folder that this user may write to"
