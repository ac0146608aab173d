"""The variables of OpenTelemetry (`OTEL_...`), as keys of the file. The file goes before them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from portico.config.problems import KeyPath

_SECTIONS: Final[dict[str, KeyPath]] = {
    "TRACES": ("gateway", "tracing"),
    "METRICS": ("gateway", "metrics", "otlp"),
    "LOGS": ("gateway", "log", "otlp"),
}
"""Signals, and their sections."""
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_STANDARD_PATH: Final = re.compile(r"/v1/(?:traces|metrics|logs)/?$")


class Standing(NamedTuple):
    """A value that a variable gives a key; with `overrides` whatever the file says. No variable alone says `{}`."""

    path: KeyPath
    value: Any
    variable: str
    overrides: bool = False


def _seconds(text: str) -> Any:
    """From milliseconds; what is no number is left to the key's own check."""
    return float(text) / 1000 if re.fullmatch(r"[0-9]{1,9}", text) else text


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`, with percent-encoded values."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in pairs}


def _compression(text: str) -> str:
    return text.lower()


_CONNECTION: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "ENDPOINT": ("endpoint", str),
    "PROTOCOL": ("protocol", str),
    "HEADERS": ("headers", _pairs),
    "COMPRESSION": ("compression", _compression),
    "TIMEOUT": ("timeout", _seconds),
    "CERTIFICATE": ("ca", str),
    "CLIENT_CERTIFICATE": ("certificate", str),
    "CLIENT_KEY": ("key", str),
}
"""What comes behind `OTEL_EXPORTER_OTLP_`, or behind the signal there."""
_PACES: Final = {
    "TRACES": ("delay", "OTEL_BSP_SCHEDULE_DELAY"),
    "METRICS": ("interval", "OTEL_METRIC_EXPORT_INTERVAL"),
    "LOGS": ("delay", "OTEL_BLRP_SCHEDULE_DELAY"),
}
"""What says how often a signal is sent, by its key."""
_SAMPLERS: Final[dict[str, tuple[bool, float | None]]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}
"""Whether the parent decides, and the share of the rest; None: it is the sampler's argument."""
SAMPLERS: Final = tuple(_SAMPLERS)

VARIABLES: Final = (
    *(f"{_PREFIX}{middle}{name}" for middle in ("", "TRACES_", "METRICS_", "LOGS_") for name in _CONNECTION),
    *(f"OTEL_{signal}_EXPORTER" for signal in _SECTIONS),
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_METRIC_EXPORT_INTERVAL",
    *("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"),
    "OTEL_SDK_DISABLED",
)
"""All that is read."""


def otel_values(environ: Mapping[str, str], is_written: Callable[[KeyPath], bool]) -> Iterator[Standing]:
    """What the variables say of keys; `is_written` says whether the file has something else than `false` there.

    An endpoint turns traces on, as `OTEL_TRACES_EXPORTER=otlp` does; metrics and logs are only sent where they are
    asked for. `OTEL_SDK_DISABLED=true` turns all of it off, and `none` as its exporter one signal.
    """
    said = {name: environ[name] for name in VARIABLES if environ.get(name)}
    is_disabled = said.get("OTEL_SDK_DISABLED", "").lower() == "true"
    for signal, section in _SECTIONS.items():
        exporter = f"OTEL_{signal}_EXPORTER"
        exporters = [each.strip() for each in said.get(exporter, "").split(",")]
        if is_disabled or exporters == ["none"]:
            if is_written(section):
                yield Standing(section, False, "OTEL_SDK_DISABLED" if is_disabled else exporter, overrides=True)
            continue
        own_endpoint = f"{_PREFIX}{signal}_ENDPOINT"
        is_on = is_written(section) or "otlp" in exporters
        is_on = is_on or (signal == "TRACES" and bool(said.keys() & {own_endpoint, _PREFIX + "ENDPOINT"}))
        if is_on:
            yield Standing(section, {}, "")
            yield from _connection(signal, section, said)
            yield from _resource(section, said)
            yield from _pace(signal, section, said)
            if signal == "TRACES":
                yield from _sampler(section, said)


def _connection(signal: str, section: KeyPath, said: Mapping[str, str]) -> Iterator[Standing]:
    for name, (key, read) in _CONNECTION.items():
        own, common = f"{_PREFIX}{signal}_{name}", _PREFIX + name
        variable = own if own in said else common
        if variable not in said:
            continue
        value = said[variable]
        yield Standing((*section, key), read(value), variable)
        if variable == own and name == "ENDPOINT":  # it is used as it is
            path = urlsplit(value).path if "[" not in value else ""
            if not _STANDARD_PATH.search(path):
                yield Standing((*section, "path"), path or "/", variable)


def _pace(signal: str, section: KeyPath, said: Mapping[str, str]) -> Iterator[Standing]:
    key, variable = _PACES[signal]
    if variable in said:
        yield Standing((*section, key), _seconds(said[variable]), variable)


def _resource(section: KeyPath, said: Mapping[str, str]) -> Iterator[Standing]:
    attributes = _pairs(said.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    name = attributes.pop("service.name", None)
    if own := said.get("OTEL_SERVICE_NAME"):
        yield Standing((*section, "service_name"), own, "OTEL_SERVICE_NAME")
    elif name:
        yield Standing((*section, "service_name"), name, "OTEL_RESOURCE_ATTRIBUTES")
    if attributes:
        yield Standing((*section, "resource"), attributes, "OTEL_RESOURCE_ATTRIBUTES")


def _sampler(section: KeyPath, said: Mapping[str, str]) -> Iterator[Standing]:
    variable = "OTEL_TRACES_SAMPLER"
    sampler = said.get(variable, "").lower()
    if not sampler:
        return
    if sampler not in _SAMPLERS:
        yield Standing((*section, "sample"), sampler, variable)
        return
    follows, share = _SAMPLERS[sampler]
    argument = said.get("OTEL_TRACES_SAMPLER_ARG", "1.0")
    yield Standing((*section, "parent_based"), follows, variable)
    if share is None:
        yield Standing((*section, "sample"), argument, "OTEL_TRACES_SAMPLER_ARG")
    else:
        yield Standing((*section, "sample"), share, variable)
