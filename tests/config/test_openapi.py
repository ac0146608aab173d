"""`openapi` of services: where documents are, and the files that are read with the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from portico.config import (
    Config,
    ConfigError,
    documents_of_files,
    documents_wanted,
    dump_config,
    load_dumped,
    load_text,
    named_files,
    warnings_for,
)
from portico.config.openapi import OpenApiSettings

from .conftest import Load, Report

DOCUMENT = "openapi: 3.1.0\ninfo: {title: Orders, version: '1'}\npaths: {/orders: {get: {responses: {}}}}\n"


def load_in(folder: Path, text: str) -> Config:
    return load_text(dedent(text), str(folder / "portico.yaml"), {})


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        ("", OpenApiSettings()),
        ("openapi: true", OpenApiSettings()),
        ("openapi: /api/v3/openapi.json", OpenApiSettings(path="/api/v3/openapi.json")),
        ("openapi: '/docs?format=json'", OpenApiSettings(path="/docs?format=json")),
        ("openapi: {every: 5m}", OpenApiSettings(every=300)),
        ("openapi: {path: /spec.yaml, every: 10}", OpenApiSettings(path="/spec.yaml", every=10)),
        ("openapi: false", None),
    ],
)
def test_where_a_document_is(load: Load, written: str, settings: OpenApiSettings | None) -> None:
    config = load(f"services:\n  a:\n    url: http://h\n    {written}\n")
    assert config.services["a"].upstream().openapi == settings


def test_versions_have_that_of_their_service_unless_they_say_otherwise(load: Load) -> None:
    service = load(
        """
        services:
          a: {url: http://h, openapi: /a.json, versions: {v1: {}, v2: {openapi: /b.json}, v3: {openapi: false}}}
        """
    ).services["a"]
    found = [service.upstream(version).openapi for version in (None, "v1", "v2", "v3")]
    assert [settings and settings.path for settings in found] == ["/a.json", "/a.json", "/b.json", None]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("openapi:", "nothing is written after the colon: write openapi: /openapi.json, {file: NAME}, or false"),
        (
            "openapi: orders.json",
            "expected a path that starts with /, false, or {file: NAME} for a file of this machine",
        ),
        ("openapi: {path: a}", "path: expected a path that starts with /"),
        ("openapi: {every: 100ms}", "every: has to be 1s or more"),
        ("openapi: {url: /a}", "unknown key"),
        (
            "openapi: {file: a.json, path: /a}",
            "has file, which is read with the configuration, beside path or every: keep one of them",
        ),
    ],
)
def test_what_is_no_place(report: Report, written: str, message: str) -> None:
    (line,) = report(f"services:\n  a:\n    url: http://h\n    {written}\n")
    assert line.startswith("portico.yaml:4:")
    assert message in line


def test_files_are_read_with_the_configuration_and_passed_on_as_json(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(DOCUMENT)
    config = load_in(
        tmp_path,
        """
        services:
          a: {url: http://h, openapi: {file: orders.yaml}}
          b: {url: http://h, versions: {v1: {openapi: {file: orders.yaml}}}}
        """,
    )
    for known in (config, load_dumped(dump_config(config))):
        assert {str(file) for file in known.documents} == {"orders.yaml"}
        assert json.loads(known.documents[Path("orders.yaml")])["paths"] == {"/orders": {"get": {"responses": {}}}}
    assert named_files(config) == [tmp_path / "orders.yaml"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("order.yaml", DOCUMENT, 'there is no file orders.yaml; did you mean "order.yaml"?'),
        ("orders.yaml", "<html>", "orders.yaml: it is HTML or XML, not JSON or YAML"),
        ("orders.yaml", "a: [\n", "orders.yaml: it is not valid YAML"),
        ("orders.yaml", "openapi: 3.1.0\npaths:\n  a: {}", "orders.yaml: the path 'a' does not begin with /"),
        (
            "orders.yaml",
            "openapi: 3.1.0\npaths: {/a: {$ref: other.yaml}}",
            "orders.yaml: the $ref 'other.yaml' in #/paths/~1a is not in this document",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_in(tmp_path, "services:\n  a:\n    url: http://h\n    openapi: {file: orders.yaml}\n")
    line = str(caught.value).replace(f"{tmp_path}/", "")
    assert line.startswith(f"portico.yaml:4:21: services.a.openapi.file: {message}")


def test_operations_that_a_file_lacks_are_errors_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DOCUMENT.replace("{responses", "{operationId: list_orders, responses"))
    (tmp_path / "portico.yaml").touch()
    text = """
        services:
          a:
            url: http://h
            openapi: {file: a.yaml}
            policies: {auth: {api_key: {}}, authorize: {operations: {list_order: {}, GET /order: {}, GET /orders: {}}}}
        routes: [{path: /b, service: a}]
    """
    with pytest.raises(ConfigError) as error:
        load_in(tmp_path, text)
    assert [(each.key, each.message, each.suggestion) for each in error.value.problems] == [
        ("services.a.policies.authorize.operations.list_order", 'a.yaml has no operation "list_order"', "list_orders"),
        ("services.a.policies.authorize.operations.GET /order", 'a.yaml has no operation "GET /order"', "GET /orders"),
    ]
    assert load_in(tmp_path, text.replace("list_order: {}, GET /order: {}, ", ""))


def test_who_reads_a_document_needs_one(tmp_path: Path) -> None:
    text = """
        services: {a: {url: http://h, openapi: false, policies: {auth: {api_key: {}}, authorize: {openapi: true}}}}
    """
    with pytest.raises(ConfigError, match="needs the OpenAPI document of the service a, which is off"):
        load_in(tmp_path, text)


def test_documents_that_policies_read_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DOCUMENT)
    config = load_in(
        tmp_path,
        """
        services:
          a:
            url: http://h
            openapi: {file: a.yaml}
            versions: {v1: {url: http://i, policies: {auth: {api_key: {}}, authorize: {openapi: true}}}}
          b: {url: http://j, policies: {auth: {api_key: {}}, authorize: {operations: {x: {}}}}}
          c: {url: http://k, policies: {auth: {api_key: {}}, authorize: {scopes: [a]}}}
        """,
    )
    assert documents_wanted(config) == {("a", "v1"), ("b", None)}
    assert documents_of_files(config).keys() == {("a", "v1")}


def test_a_file_without_security_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DOCUMENT)
    (tmp_path / "b.yaml").write_text(DOCUMENT + "security: [{oauth: [read]}]\n")
    policies = "policies: {auth: {api_key: {}}, authorize: {openapi: true}}"
    services = [f"{name}: {{url: http://{name}, openapi: {{file: {name}.yaml}}, {policies}}}" for name in "ab"]
    config = load_in(tmp_path, f"services: {{{', '.join(services)}}}\n")
    (warning,) = [each for each in warnings_for(config) if "declares no security" in str(each)]
    assert "services.a.policies.authorize" in str(warning)
    assert "the document of the service a declares no security: nothing is asked for" in str(warning)


def test_who_checks_requests_needs_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "services: {a: {url: http://h, policies: {validate: true}}}"
    assert load_in(tmp_path, text).all_routes[0].policies["validate"][0].request
    monkeypatch.setattr("portico.config.policy_documents.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"services\.a\.policies\.validate: needs jsonschema-rs: pip install"):
        load_in(tmp_path, text)
    assert load_in(tmp_path, text.replace("true", "{request: false}"))
