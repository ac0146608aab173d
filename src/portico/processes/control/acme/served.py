"""The files from which workers take ordered certificates: they are there before the first handshake."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from portico.config import Config
from portico.net.tls.self_signed import self_signed
from portico.processes.control.acme.records import Record, nearest
from portico.processes.control.acme.store import last_kept
from portico.processes.control.state_file import state_path
from portico.processes.ipc.runtime import Runtime


def records_file(config: Config, config_path: Path | None) -> Path | None:
    """The file of a configuration in which certificates are kept."""
    return state_path(config, config_path, "certificates")


def serve_last(config: Config, config_path: Path | None, runtime: Runtime) -> None:
    """Have workers begin with what was there when a gateway with this configuration ended."""
    if config.gateway.ordered_certificates:
        serve(config, last_kept(records_file(config, config_path)).records, runtime)


def serve(config: Config, records: Mapping[str, Record], runtime: Runtime) -> None:
    """Have workers use the newest certificates.

    Where there is none yet, that is one which is good for some of its names; else one that nobody has signed.
    """
    for name, settings in config.gateway.ordered_certificates.items():
        record = records.get(name)
        certificate = record.certificate if record is not None else None
        if certificate is None and not runtime.has_certificate(settings):
            certificate = nearest(settings.domains, list(records.values()), time.time())
            if certificate is None:
                runtime.store_certificate(settings, self_signed(settings.domains))
        if certificate is not None:
            runtime.store_certificate(settings, certificate.pem)
