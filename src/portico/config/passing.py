"""How a configuration is passed from one process to another, and copies of one that differ in a part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from pydantic import SecretStr, TypeAdapter

from portico.config.consumers import ConsumerSettings, directory_of
from portico.config.document import Document
from portico.config.gateway import GatewaySettings
from portico.config.instances import InstanceField, InstanceSettings
from portico.config.model import CHECKED, POLICY_DEFAULTS, Config, Moment
from portico.config.origin import Origin
from portico.config.resolve import resolving
from portico.config.routes import RouteSettings
from portico.config.section import Section
from portico.config.services import ServiceSettings
from portico.config.source import Source
from portico.core.slices import Steps, at_once
from portico.policies.plugins.imports import Code

_INSTANCE: Final[TypeAdapter[InstanceSettings]] = TypeAdapter(InstanceField)
_IN_A_LINE: Final = 100
"""Consumers that are read in one step: half a millisecond at most."""


class _Tree(msgspec.Struct):
    gateway: dict[str, Any] | None = None


class _Envelope(msgspec.Struct):
    tree: _Tree


def dump_config(config: Config) -> bytes:
    """A configuration for another process of this gateway. It holds the secrets: keep it out of files and logs.

    The first line is all but the consumers, who may be very many: each further one has some.
    """
    tree, consumers = config._tree, config._tree.get("consumers") or ()
    envelope = {
        "tree": {key: value for key, value in tree.items() if key != "consumers"},
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
    lines = [envelope, *(consumers[first : first + _IN_A_LINE] for first in range(0, len(consumers), _IN_A_LINE))]
    return b"\n".join(json.dumps(line, default=_plain).encode() for line in lines)


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


def load_dumped(data: bytes, *, serves: bool = False) -> Config:
    """The configuration that `dump_config` dumped. It was validated as a whole before: here only its parts are.

    One that only `serves` has the directory of consumers, and not what they are written as.
    """
    return at_once(loading(data, serves=serves))


def gateway_of(data: bytes) -> GatewaySettings:
    """The `gateway` section of the configuration that `dump_config` dumped."""
    written = msgspec.json.decode(data.partition(b"\n")[0], type=_Envelope).tree.gateway
    return GatewaySettings.model_validate(written or {})


def loading(data: bytes, *, serves: bool = False) -> Steps[Config]:
    """`load_dumped`, in steps."""
    head, *lines = data.split(b"\n")
    envelope = msgspec.json.decode(head)
    tree, defaults = envelope["tree"], envelope[POLICY_DEFAULTS]
    rest = {key: value for key, value in tree.items() if key not in ("services", "routes")}
    consumers: list[ConsumerSettings] = []
    directory = yield from directory_of(_consumers(lines, None if serves else (tree, consumers)))
    services, routes = {}, []
    for name, written in (tree.get("services") or {}).items():
        services[name] = ServiceSettings.model_validate((yield from _with_instances(written or {})))
        yield
    for written in tree.get("routes") or ():
        routes.append(RouteSettings.model_validate(written).small())
        yield
    whole = Config.model_validate(rest, context={POLICY_DEFAULTS: defaults, CHECKED: True})
    config = whole.model_copy(update={"services": services, "routes": tuple(routes), "consumers": tuple(consumers)})
    config._tree, config._directory_of_consumers = tree, directory
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


def _with_instances(written: dict[str, Any]) -> Steps[dict[str, Any]]:
    """What is written of a service, with its instances read already: of thousands one step would be a long one."""
    instances = written.get("instances")
    if not isinstance(instances, list):
        return written
    read = []
    for each in instances:
        read.append(_INSTANCE.validate_python(each))
        yield
    return {**written, "instances": read}


def _consumers(
    lines: Iterable[bytes], kept: tuple[dict[str, Any], list[ConsumerSettings]] | None
) -> Iterator[ConsumerSettings]:
    """Those in the lines; they are `kept` in a tree as they are written there, and in a list."""
    for line in lines:
        written = msgspec.json.decode(line)
        if kept is not None:
            kept[0].setdefault("consumers", []).extend(written)
        for each in written:
            consumer = ConsumerSettings.model_validate(each)
            if kept is not None:
                kept[1].append(consumer)
            yield consumer


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
