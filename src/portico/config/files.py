"""The files that a configuration names: whether they can be used, checked before anything is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from portico.config.acme import AcmeSettings
from portico.config.model import Config
from portico.config.problems import Finding, KeyPath, Problem
from portico.config.resolve import scope_path
from portico.config.services import UpstreamTlsSettings
from portico.config.tls import TlsSettings
from portico.net.redis.connection import missing_library, tls_files
from portico.net.tls.certificates import CertificateError, Pair, days_left, read_certificate
from portico.net.tls.contexts import client_context, server_context
from portico.observe.log_targets import has_local_syslog, syslog_address
from portico.policies.asking import AskedSettings
from portico.policies.auth import AuthSettings
from portico.policies.auth.acceptance import AcceptanceSettings
from portico.policies.auth.keys import key_set, public_key


def file_problems(config: Config) -> list[Problem]:
    """What is wrong with the named files and the path of the access log; empty where nothing is."""
    findings = [*_listening(config), *_upstreams(config), *_redis(config), *_keys_of_issuers(config)]
    findings += [*_authorities_of_asked(config), *_acme(config)]
    findings += [*_access_log(config), *_state(config)]
    return [config.problem(finding) for finding in findings]


def expired_certificates(config: Config) -> list[Problem]:
    """Certificates that no peer accepts any more: not a reason to refuse to start, but to be fixed."""
    findings = [Finding(path, f"{file} has expired") for path, file, days in lifetimes(config) if days < 0]
    return [config.problem(finding) for finding in findings]


def named_files(config: Config) -> list[Path]:
    """Every file of certificates, keys, authorities, an issuer's keys, a page, a document, an answer or a secret."""
    pairs = [pair for _, pair in _pairs(config)]
    authorities = [settings.ca for _, settings in _upstream_tls(config) if settings.ca is not None]
    authorities += [tls.client_certificates.ca for _, tls in _own_tls(config) if tls.client_certificates is not None]
    authorities += [acme.ca_file for _, acme in _orders(config) if acme.ca_file is not None]
    certificates = [file for pair in pairs for file in (pair.certificate, pair.key)]
    pages = [config.directory / name for name in config.page_texts]
    answers = [config.directory / name for name in (*config.files, *config.documents)]
    keys = [file for _, file, _ in _key_files(config)]
    asked = [settings.ca for _, settings in _asked(config) if settings.ca is not None]
    return list(dict.fromkeys([*certificates, *authorities, *pages, *answers, *keys, *asked, *config.secret_files]))


def presented_certificates(config: Config) -> Iterator[tuple[KeyPath, Path]]:
    """Every certificate of a file that the gateway presents, to clients or to services: its key and its file."""
    for path, pair in _pairs(config):
        yield (*path, "certificate"), pair.certificate


def lifetimes(config: Config) -> Iterator[tuple[KeyPath, Path, float]]:
    """Every certificate of a file that the gateway presents: its key in the configuration, its file, the days until it
    expires.

    One that cannot be read is left out.
    """
    for path, file in presented_certificates(config):
        try:
            yield path, file, days_left(read_certificate(file))
        except CertificateError:
            continue


def _pairs(config: Config) -> Iterator[tuple[KeyPath, Pair]]:
    yield from _own_pairs(config)
    for path, settings in _upstream_tls(config):
        if settings.pair is not None:
            yield path, settings.pair


def _own_tls(config: Config) -> Iterator[tuple[KeyPath, TlsSettings]]:
    """Every `tls` section of the gateway's own."""
    for path, listener in config.gateway.written_listeners():
        if listener.tls is not None:
            yield (*path, "tls"), listener.tls


def _own_pairs(config: Config) -> Iterator[tuple[KeyPath, Pair]]:
    for path, tls in _own_tls(config):
        if tls.pair is not None:
            yield path, tls.pair
        for index, more in enumerate(tls.certificates):
            yield (*path, "certificates", index), more.pair


def _orders(config: Config) -> Iterator[tuple[KeyPath, AcmeSettings]]:
    """Every `acme` section."""
    for path, tls in _own_tls(config):
        if tls.acme is not None:
            yield (*path, "acme"), tls.acme


def _upstream_tls(config: Config) -> Iterator[tuple[KeyPath, UpstreamTlsSettings]]:
    """Every `tls` section of a service, or of a version of it, that is written."""
    for name, service in config.services.items():
        if "tls" in service.model_fields_set:
            yield ("services", name, "tls"), service.tls
        for version, own in service.versions.items():
            if "tls" in own.model_fields_set:
                yield ("services", name, "versions", version, "tls"), own.tls


def _listening(config: Config) -> Iterator[Finding]:
    for path, pair in _own_pairs(config):
        yield from _problem(path, lambda pair=pair: server_context(pair), _keys(pair))  # type: ignore[misc]
    for path, tls in _own_tls(config):
        if tls.client_certificates is not None:
            ca = tls.client_certificates.ca
            yield from _problem((*path, "client_certificates", "ca"), lambda ca=ca: client_context(ca=ca))  # type: ignore[misc]


def _acme(config: Config) -> Iterator[Finding]:
    for path, acme in _orders(config):
        if find_spec("acme") is None:
            yield Finding(path, "needs what is not installed: pip install 'portico-gateway[acme]'", at_key=True)
        if acme.ca_file is not None:
            yield from _problem((*path, "ca_file"), lambda ca=acme.ca_file: client_context(ca=ca))  # type: ignore[misc]


def _upstreams(config: Config) -> Iterator[Finding]:
    for path, tls in _upstream_tls(config):
        keys = {tls.ca: "ca", **_keys(tls.pair)}
        yield from _problem(path, lambda tls=tls: client_context(tls.verify, tls.ca, tls.pair), keys)  # type: ignore[misc]


def _redis(config: Config) -> Iterator[Finding]:
    url, program = config.gateway.redis_url, config.gateway.embedded_redis
    for key in [*(["redis_url"] if url else []), *(["embedded_redis"] if isinstance(program, Path) else [])]:
        if message := missing_library():
            yield Finding(("gateway", key), message)
    if url is not None:
        files = {name: Path(file) for name, file in tls_files(url.get_secret_value()).items()}
        certificate = files.get("certificate")
        pair = Pair(certificate, files.get("key", certificate)) if certificate else None
        yield from _problem(("gateway", "redis_url"), lambda: client_context(ca=files.get("ca"), pair=pair))
    if isinstance(program, Path) and not (os.access(program, os.X_OK) and program.is_file()):
        message = f"{program} is not an executable; name a redis-server or valkey-server"
        yield Finding(("gateway", "embedded_redis"), message)


def _auths(config: Config) -> Iterator[tuple[KeyPath, AuthSettings]]:
    """What says who may come in, each level once."""
    seen = set()
    for route in config.all_routes:
        settings, scope = route.policies.get("auth", (None, ""))
        if isinstance(settings, AuthSettings) and (scope, id(settings)) not in seen:
            seen.add((scope, id(settings)))
            yield (*scope_path(route, scope), "auth"), settings


def _acceptances(config: Config) -> Iterator[tuple[KeyPath, AcceptanceSettings]]:
    """Where the keys of tokens are."""
    for path, settings in _auths(config):
        if settings.jwt is not None:
            yield (*path, "jwt"), settings.jwt
            for index, each in enumerate(settings.jwt.issuers):
                yield (*path, "jwt", "issuers", index), each


def _asked(config: Config) -> Iterator[tuple[KeyPath, AskedSettings]]:
    """The services that are asked who may come in."""
    for path, settings in _auths(config):
        for name, each in (("introspection", settings.introspection), ("forward", settings.forward)):
            if each is not None:
                yield (*path, name), each


def _authorities_of_asked(config: Config) -> Iterator[Finding]:
    for path, settings in _asked(config):
        if settings.ca is not None:
            yield from _problem((*path, "ca"), lambda ca=settings.ca: client_context(ca=ca))  # type: ignore[misc]


def _key_files(config: Config) -> Iterator[tuple[KeyPath, Path, Callable[[bytes], object]]]:
    for path, settings in _acceptances(config):
        if settings.jwks_file is not None:
            yield (*path, "jwks_file"), settings.jwks_file, key_set
        if settings.public_key_file is not None:
            yield (*path, "public_key_file"), settings.public_key_file, public_key


def _keys_of_issuers(config: Config) -> Iterator[Finding]:
    for path, file, read in _key_files(config):
        try:
            read(file.read_bytes())
        except OSError as error:
            yield Finding(path, f"{file} cannot be read: {error.strerror}")
        except ValueError as error:
            yield Finding(path, f"{file}: {error}")


def _keys(pair: Pair | None) -> dict[Path | None, str]:
    """The key under which each file of a pair is written."""
    return {pair.key: "key", pair.certificate: "certificate"} if pair is not None else {}


def _problem(
    path: KeyPath, use: Callable[[], object], keys: Mapping[Path | None, str] = MappingProxyType({})
) -> Iterator[Finding]:
    try:
        use()
    except CertificateError as error:
        yield Finding((*path, keys[error.file]) if error.file in keys else path, str(error))
    except ValueError as error:  # a NUL in the query of a redis_url
        yield Finding(path, str(error))


def _access_log(config: Config) -> Iterator[Finding]:
    target = config.gateway.log.access
    if target == "syslog" and not has_local_syslog():
        message = "there is no syslog on this machine (/dev/log); name a server: syslog://host:port"
        yield Finding(("gateway", "log", "access"), message)
    if target in ("stdout", "stderr", "off") or syslog_address(target) is not None:
        if config.gateway.log.rotate is not None:
            yield Finding(("gateway", "log", "rotate"), f"only a file is rotated, and access is {target}")
        return
    path = Path(target)
    exists = os.access(path, os.F_OK)  # unlike Path.exists it raises nothing where a folder may not be entered
    writable = os.access(path, os.W_OK) if exists else os.access(path.parent, os.W_OK | os.X_OK)
    if not writable or (exists and path.is_dir()):
        message = f"{target} cannot be written; name a file in a folder that this user may write to"
        yield Finding(("gateway", "log", "access"), message)


def _state(config: Config) -> Iterator[Finding]:
    directory = config.gateway.state_dir
    if directory is None:
        return
    above = (directory, *directory.absolute().parents)
    nearest = next((each for each in above if os.access(each, os.F_OK)), directory)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        message = f"{directory} cannot be written to; name a directory that this user may write to, or create"
        yield Finding(("gateway", "state_dir"), message)
