"""What is sent to collectors of OpenTelemetry: traces, and, where that is wanted, metrics and logs."""

from __future__ import annotations

import re
import ssl
from functools import partial
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from portico.config.otel_environment import SAMPLERS
from portico.config.section import FilePath, Section, Share, is_word
from portico.core.settings import Duration, HeaderName, Size
from portico.observe.otlp.collector import Collector

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
"""Where collectors listen for OTLP over HTTP, unless they are told otherwise."""
_GRPC_PORT: Final = 4317
_SIGNAL_PATH: Final = re.compile(r"/v1/(?:traces|metrics|logs)/?$")
_WRITTEN: Final = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding", "connection"})
_ATTRIBUTE: Final = re.compile(r"[!-~]{1,255}")


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("expected a URL such as http://collector:4318") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("expected a URL such as http://collector:4318, of OTLP over HTTP")
    if "@" in parts.netloc:
        raise ValueError("a URL has no place for a password: write headers: {Authorization: ...}")
    if parts.query or parts.fragment:
        raise ValueError("expected no query; what the collector asks for goes into headers")
    if port == _GRPC_PORT:
        raise ValueError("4317 is where collectors speak gRPC; they take OTLP over HTTP on 4318")
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or "?" in text or "#" in text:
        raise ValueError("expected the path of a URL, such as /v1/traces")
    return text


def _protocol(value: Any) -> Any:
    if value in ("grpc", "http/json"):
        raise ValueError(f"{value} is not spoken: write http/protobuf, which collectors take on port 4318")
    return value


def _own_header(name: str) -> str:
    if name.lower() in _WRITTEN:
        raise ValueError("says what is in the request, which the gateway knows: leave it out")
    return name


_OwnHeader = Annotated[HeaderName, AfterValidator(_own_header)]


def _header_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not re.fullmatch(r"[ -~]*", text) or text != text.strip():
        raise ValueError("holds what no header field can carry: control characters, spaces at an end, or not ASCII")
    return secret


def _attribute_name(text: str) -> str:
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError("expected the name of an attribute, such as deployment.environment.name")
    return text


def short(value: Any) -> Any:
    """`true` for all defaults, `false` for none of it."""
    return None if is_word(value, False) else {} if is_word(value, True) else value


class CollectorSettings(Section):
    """Where a signal goes, and what is said of this gateway with it."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = DEFAULT_ENDPOINT
    """The collector: a URL to which `/v1/traces`, `/v1/metrics` or `/v1/logs` is added, unless it ends so already."""
    path: Annotated[str, AfterValidator(_path)] | None = None
    """The path that is asked in place of that one, where a collector has another."""
    protocol: Annotated[Literal["http/protobuf"], BeforeValidator(_protocol)] = "http/protobuf"
    """What is spoken there: OTLP over HTTP in its binary form. There is no other."""
    headers: dict[_OwnHeader, Annotated[SecretStr, AfterValidator(_header_value)]] = {}
    """Fields of each request, such as `Authorization`; their values are secret."""
    compression: Literal["gzip", "none"] = "none"
    """Whether requests are compressed, to a tenth or less; that takes a few microseconds for each exchange."""
    timeout: Annotated[Duration, Field(le=60)] = 10.0
    """How long one request may take; then it is sent again."""
    ca: FilePath | None = None
    """The authorities that sign the collector's certificate, as a PEM file; without it, those of the system."""
    certificate: FilePath | None = None
    """The certificate that is shown to the collector, as a PEM file."""
    key: FilePath | None = None
    """Its key, as a PEM file that is not encrypted."""
    delay: Annotated[Duration, Field(le=60)] = 1.0
    """How long something waits for more that goes into the same request."""
    queue: Annotated[Size, Field(ge=1 << 20)] = 32 << 20
    """Bytes of each worker that wait while the collector is away; what is more is dropped and counted."""
    service_name: Annotated[str, Field(min_length=1, max_length=255)] = "portico"
    """What the gateway is called there (`service.name`)."""
    resource: dict[Annotated[str, AfterValidator(_attribute_name)], str] = {}
    """What else is said of it, such as `deployment.environment.name`."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    def collector(self, signal: str) -> Collector:
        """The same for one signal: `traces`, `metrics` or `logs`."""
        parts = urlsplit(self.endpoint)
        path = self.path or _SIGNAL_PATH.sub("", parts.path).rstrip("/") + f"/v1/{signal}"
        files = tuple(str(file) for file in (self.ca, self.certificate, self.key) if file is not None)
        return Collector(
            signal,
            f"{parts.scheme}://{parts.netloc}{path}",
            {name: value.get_secret_value() for name, value in self.headers.items()},
            self.compression == "gzip",
            self.timeout,
            self.delay,
            self.queue,
            partial(_context, self) if parts.scheme == "https" else None,
            files,
        )


def _context(settings: CollectorSettings) -> ssl.SSLContext:
    """Made anew for each connection: files may have been renewed. Raises OSError."""
    context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
    if settings.certificate is not None and settings.key is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context


def _sample(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\s*[0-9.]+\s*%?\s*", value):
        known = ", ".join(SAMPLERS)
        raise ValueError(f"{value!r} is no share, such as 1% or 0.01; OTEL_TRACES_SAMPLER may be {known}")
    return value


class TracingSettings(CollectorSettings):
    """Spans of exchanges, sent to a collector of OpenTelemetry; `true` is the one on this machine.

    Services get the gateway's span as their parent, in `traceparent`. What is written here holds for `metrics.otlp` and
    `log.otlp`, too, unless they say otherwise.
    """

    sample: Annotated[Share, BeforeValidator(_sample, json_schema_input_type=float | str)] = 1.0
    """Of the exchanges whose caller does not decide that, how many are recorded: `1%`, or 0.01."""
    parent_based: bool = True
    """Whether the sampled flag of trusted proxies decides. With `false` it is `sample` for all."""
    clients: Literal["restart", "join", "follow"] = "restart"
    """What becomes of the trace context of a client that is no trusted proxy. `restart` drops it, and begins a new
    trace; `join` goes on with its trace, of which `sample` decides what is recorded; `follow` has its sampled flag
    decide, too: then clients decide how much is recorded.
    """


class MetricsExportSettings(CollectorSettings):
    """What `/metrics` has, sent to a collector of OpenTelemetry."""

    interval: Annotated[Duration, Field(ge=1)] = 60.0
    """How long there is between two of them."""


class LogExportSettings(CollectorSettings):
    """Logs, sent to a collector of OpenTelemetry beside where they go otherwise."""

    records: tuple[Literal["events", "access"], ...] = ("events", "access")
    """Which of them: events, lines of the access log, or both."""


MetricsExport = Annotated[
    MetricsExportSettings | None, BeforeValidator(short, json_schema_input_type=bool | MetricsExportSettings)
]
LogExport = Annotated[LogExportSettings | None, BeforeValidator(short, json_schema_input_type=bool | LogExportSettings)]
Tracing = Annotated[TracingSettings | None, BeforeValidator(short, json_schema_input_type=bool | TracingSettings)]


def like_tracing(own: Any, tracing: TracingSettings | None) -> Any:
    """`own`, with what it leaves unwritten taken from what is written for traces."""
    if tracing is None:
        return own
    shared = {key: getattr(tracing, key) for key in CollectorSettings.model_fields if key not in own.model_fields_set}
    if "endpoint" in own.model_fields_set or shared.get("path"):
        shared.pop("path", None)
    return own.model_copy(update=shared)
