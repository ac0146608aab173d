"""How a configuration is passed from one process to another, and copies of one that differ in a part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import msgspec
from pydantic import SecretStr

from portico.config.document import Document
from portico.config.gateway import GatewaySettings
from portico.config.model import CHECKED, POLICY_DEFAULTS, Config, Moment
from portico.config.origin import Origin
from portico.config.resolve import resolving
from portico.config.routes import RouteSettings
from portico.config.section import Section
from portico.config.services import ServiceSettings
from portico.config.source import Source
from portico.core.slices import Steps, at_once
from portico.policies.plugins.imports import Code


class _Tree(msgspec.Struct):
    gateway: dict[str, Any] | None = None


class _Envelope(msgspec.Struct):
    tree: _Tree


def dump_config(config: Config) -> bytes:
    """A configuration for another process of this gateway. It holds the secrets: keep it out of files and logs."""
    envelope = {
        "tree": config._tree,
        POLICY_DEFAULTS: config._policy_defaults,
        "admitted": config._admitted,
        "directory": str(config._directory),
        "code": {file: text.decode("latin-1") for file, text in config._code.items()},
        "pages": dict(config._pages),
        "secret_files": [str(file) for file in config._secret_files],
        "read_at": config._read_at.seconds,
        "files": {str(file): content.decode("latin-1") for file, content in config._files.items()},
        "documents": {str(file): content.decode() for file, content in config._documents.items()},
    }
    return json.dumps(envelope, default=_plain).encode()


def with_code(config: Config, code: Code) -> Config:
    """The same configuration with the text of users' policies."""
    changed = config.model_copy()
    changed._code = code
    return changed


def with_source(config: Config, source: Source | None) -> Config:
    """The same configuration with the texts that it was read from."""
    changed = config.model_copy()
    changed._source = source
    return changed


def with_origin(config: Config, document: Document) -> Config:
    """The same configuration with the document that it was read from, so that it knows what is where."""
    changed = config.model_copy()
    changed._origin = Origin(document)
    return changed


def with_redis(config: Config, url: str) -> Config:
    """The same configuration with another `gateway.redis_url`."""
    gateway = config.gateway.model_copy(update={"redis_url": SecretStr(url)})
    changed = config.model_copy(update={"gateway": gateway})
    changed._tree = {**config._tree, "gateway": {**(config._tree.get("gateway") or {}), "redis_url": url}}
    return changed


def load_dumped(data: bytes) -> Config:
    """The configuration that `dump_config` dumped. It was validated as a whole before: here only its parts are."""
    return at_once(loading(data))


def gateway_of(data: bytes) -> GatewaySettings:
    """The `gateway` section of the configuration that `dump_config` dumped."""
    written = msgspec.json.decode(data, type=_Envelope).tree.gateway
    return GatewaySettings.model_validate(written or {})


def loading(data: bytes) -> Steps[Config]:
    """`load_dumped`, in steps."""
    envelope = msgspec.json.decode(data)
    tree, defaults = envelope["tree"], envelope[POLICY_DEFAULTS]
    rest = {key: value for key, value in tree.items() if key not in ("services", "routes")}
    services, routes = {}, []
    for name, written in (tree.get("services") or {}).items():
        services[name] = ServiceSettings.model_validate(written or {})
        yield
    for written in tree.get("routes") or ():
        routes.append(RouteSettings.model_validate(written).small())
        yield
    whole = Config.model_validate(rest, context={POLICY_DEFAULTS: defaults, CHECKED: True})
    config = whole.model_copy(update={"services": services, "routes": tuple(routes)})
    config._tree = tree
    config._directory = Path(envelope.get("directory", ""))
    config._code = {file: text.encode("latin-1") for file, text in envelope.get("code", {}).items()}
    config._pages = envelope.get("pages", {})
    config._secret_files = tuple(map(Path, envelope.get("secret_files", ())))
    config._read_at = Moment(envelope.get("read_at", 0.0))
    config._files = {Path(file): content.encode("latin-1") for file, content in envelope.get("files", {}).items()}
    config._documents = {Path(file): text.encode() for file, text in envelope.get("documents", {}).items()}
    admitted = envelope.get("admitted")
    if admitted:
        return (yield from config._admitting(admitted))
    config._resolved = yield from resolving(services, config.routes, config.policies, config._defaults)
    return config


def forgetting_written(config: Config) -> Steps[None]:
    """Have a configuration that was loaded here forget what its routes were written as, half of what they take.

    They are resolved, and who only serves by it needs no more.
    """
    written = [*config.routes, *(config._tree.pop("routes", None) or ())]
    config.__dict__["routes"] = ()
    while written:
        written.pop()
        yield


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Section):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, (set, frozenset, tuple)):
        return list(cast("set[Any]", value))
    return str(value) if isinstance(value, Path) else repr(value)
