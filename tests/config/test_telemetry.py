"""Where traces, metrics and logs go: what may be written, and what the variables of OpenTelemetry say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portico.config import Config
from portico.config.load import load_config
from portico.config.problems import ConfigError
from portico.config.telemetry import CollectorSettings

START = "services: {s: {url: http://127.0.0.1:9}}\n"
Loader = Callable[..., Config]


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    def loading(gateway: str = "", **env: str) -> Config:
        file = tmp_path / "portico.yaml"
        file.write_text(START + (f"gateway: {gateway}\n" if gateway else ""))
        return load_config(file, env)

    return loading


def test_without_any_word_of_it_nothing_is_sent(loaded: Loader) -> None:
    gateway = loaded().gateway
    assert [gateway.tracing, gateway.metrics_export, gateway.log_export] == [None] * 3


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("true", "http://localhost:4318/v1/traces"),
        ("{endpoint: 'http://c:4318'}", "http://c:4318/v1/traces"),
        ("{endpoint: 'http://c:4318/'}", "http://c:4318/v1/traces"),
        ("{endpoint: 'http://c:4318/v1/traces'}", "http://c:4318/v1/traces"),
        ("{endpoint: 'https://c/otlp/'}", "https://c/otlp/v1/traces"),
        ("{endpoint: 'http://[::1]:4318', path: /in}", "http://[::1]:4318/in"),
    ],
)
def test_both_spellings_of_an_endpoint(loaded: Loader, written: str, url: str) -> None:
    tracing = loaded(f"{{tracing: {written}}}").gateway.tracing
    assert tracing is not None
    assert tracing.collector("traces").url == url


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{endpoint: 'http://c:4317'}", "4317 is where collectors speak gRPC"),
        ("{endpoint: 'c:4318'}", "expected a URL such as http://collector:4318"),
        ("{endpoint: 'grpc://c:4317'}", "expected a URL such as http://collector:4318"),
        ("{endpoint: 'http://c:port'}", "expected a URL such as http://collector:4318"),
        ("{endpoint: 'http://me:secret@c:4318'}", "a URL has no place for a password"),
        ("{endpoint: 'http://c:4318?key=1'}", "expected no query"),
        ("{path: v1}", "expected the path of a URL"),
        ("{protocol: grpc}", "grpc is not spoken: write http/protobuf"),
        ("{sample: 50}", "write 50% or 0.5"),
        ("{sample: -1}", "sample"),
        ("{clients: all}", "clients"),
        ("{certificate: a.pem}", "certificate and key go together"),
        ('{headers: {A: "x\\r\\ny"}}', "no header field can carry"),
        ("{headers: {content-Length: 5}}", "which the gateway knows"),
        ("{resource: {'a b': c}}", "expected the name of an attribute"),
        ("{queue: 1KiB}", "queue"),
        ("{endpoints: 'http://c:4318'}", "endpoint"),
        ("{timeout: 0}", "timeout"),
    ],
)
def test_what_cannot_be_meant_is_refused(loaded: Loader, written: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(f"{{tracing: {written}}}")
    text = str(caught.value)
    assert said in text
    assert "gateway.tracing" in text
    assert "secret" not in text.replace("me:secret", "")


def test_metrics_and_logs_go_where_traces_go_but_for_what_they_say(loaded: Loader) -> None:
    gateway = loaded(
        "{tracing: {endpoint: 'http://c:4318/v1/traces', headers: {A: b}, service_name: edge},"
        " metrics: {otlp: {interval: 5}}, log: {otlp: {endpoint: 'http://d:4318', records: [events]}}}"
    ).gateway
    metrics, logs = gateway.metrics_export, gateway.log_export
    assert metrics is not None
    assert logs is not None
    assert (metrics.interval, metrics.service_name, logs.records) == (5, "edge", ("events",))
    assert metrics.collector("metrics").url == "http://c:4318/v1/metrics"
    assert logs.collector("logs").url == "http://d:4318/v1/logs"
    assert metrics.collector("metrics").headers == logs.collector("logs").headers == {"A": "b"}
    assert "'b'" not in repr(metrics) + repr(metrics.collector("metrics"))


# ---- the environment


ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("env", "values"),
    [
        ({ENDPOINT: "http://c:4318"}, {"endpoint": "http://c:4318", "sample": 1.0, "parent_based": True}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {"endpoint": "http://localhost:4318"}),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/own", ENDPOINT: "http://d"}, {"path": "/own"}),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, {"path": None}),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}, {"timeout": 2.5}),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, {"compression": "gzip"}),
        ({ENDPOINT: "http://c", "OTEL_SERVICE_NAME": "a"}, {"service_name": "a"}),
        ({ENDPOINT: "http://c", "OTEL_RESOURCE_ATTRIBUTES": "service.name=b,x.y=z%20"}, {"resource": {"x.y": "z "}}),
        ({ENDPOINT: "http://c", "OTEL_TRACES_SAMPLER": "always_off"}, {"sample": 0, "parent_based": False}),
        (
            {
                ENDPOINT: "http://c",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.25",
            },
            {"sample": 0.25, "parent_based": True},
        ),
        ({ENDPOINT: "http://c", "OTEL_BSP_SCHEDULE_DELAY": "500"}, {"delay": 0.5}),
    ],
)
def test_variables_of_opentelemetry(loaded: Loader, env: dict[str, str], values: dict[str, Any]) -> None:
    tracing = loaded("", **env).gateway.tracing
    assert tracing is not None
    assert {name: getattr(tracing, name) for name in values} == values


@pytest.mark.parametrize(
    ("gateway", "env"),
    [
        ("", {"OTEL_SERVICE_NAME": "a", "OTEL_TRACES_SAMPLER": "always_on"}),
        ("{tracing: false}", {ENDPOINT: "http://c"}),
        ("{tracing: true}", {"OTEL_SDK_DISABLED": "true"}),
        ("{tracing: {endpoint: 'http://c'}}", {"OTEL_TRACES_EXPORTER": "none"}),
        ("", {ENDPOINT: ""}),
    ],
)
def test_what_leaves_it_off(loaded: Loader, gateway: str, env: dict[str, str]) -> None:
    assert loaded(gateway, **env).gateway.tracing is None


def test_the_file_goes_before_the_environment(loaded: Loader) -> None:
    env = {ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a=b", "OTEL_TRACES_SAMPLER": "always_off"}
    tracing = loaded("{tracing: {endpoint: 'http://d', sample: 0.5}}", **env).gateway.tracing
    assert tracing is not None
    assert (tracing.endpoint, tracing.sample) == ("http://d", 0.5)
    assert tracing.headers["a"].get_secret_value() == "b"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({ENDPOINT: "c:4318"}, "expected a URL"),
        ({ENDPOINT: "http://[", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://["}, "expected a URL"),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc is not spoken"),
        ({ENDPOINT: "http://c", "OTEL_TRACES_SAMPLER": "jaeger_remote"}, "jaeger_remote"),
        ({ENDPOINT: "http://c", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, "SAMPLER_ARG"),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "nonsense only"}, "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_a_variable_that_is_wrong_is_named(loaded: Loader, env: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("", **env)
    assert said in str(caught.value)


def test_collectors_are_equal_where_nothing_about_them_differs() -> None:
    one, same, other = (CollectorSettings(endpoint=url) for url in ("http://a", "http://a/", "http://b"))
    assert one.collector("traces") == same.collector("traces")
    assert one.collector("traces") != other.collector("traces")
    assert one.collector("traces") != one.collector("logs")
