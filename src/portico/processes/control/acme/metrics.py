"""Certificates for clients on the `/metrics` page, ordered ones and those of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from portico.config import Config
from portico.net.tls.certificates import CertificateError, names_of, read_certificate


def certificate_metrics(config: Config, ordered: Mapping[str, float]) -> list[Metric]:
    """When each expires, by its first name; nothing where the gateway has none. Reads files."""
    expiries = {**dict(_in_files(config)), **ordered}
    if not expiries:
        return []
    text = "When a certificate for clients expires, in seconds since the epoch; 0: there is none yet"
    family = GaugeMetricFamily("gateway_certificate_expiry_timestamp_seconds", text, labels=["name"])
    for name, expires in expiries.items():
        family.add_metric([name], expires)
    return [family]


def _in_files(config: Config) -> Iterator[tuple[str, float]]:
    for listener in config.gateway.listeners:
        for pair in listener.tls.files if listener.tls is not None else ():
            try:
                certificate = read_certificate(pair.certificate)
            except CertificateError:
                continue  # an event has said so
            names = names_of(certificate)
            yield names[0] if names else pair.certificate.name, certificate.not_valid_after_utc.timestamp()
