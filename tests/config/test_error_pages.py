"""Error pages and maintenance in the configuration: files are read with it, and what is wrong with them is said."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from portico.config import Config, ConfigError, dump_config, load_dumped, load_text, named_files

from .conftest import Load, Report

SERVICE = "services: {a: {url: http://h}}\n"
PREFIX = "portico.yaml:4:17: policies.errors."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages").mkdir()
    for name, text in (
        ("404.html", "<h1>{title}</h1><style>p{color: red}</style>"),
        ("error.json", '{"code": "{status}"}'),
        ("typo.html", "<p>{request-id} {requets_id} {unrelated}"),
        ("list.json", "[]"),
        ("broken.json", '{"code": '),
        ("large.html", "x" * (64 * 1024 + 1)),
    ):
        (tmp_path / "pages" / name).write_text(text)
    (tmp_path / "pages" / "latin.html").write_bytes(b"\xff<h1>")
    return tmp_path


def load_in(folder: Path, text: str) -> Config:
    return load_text(dedent(text), str(folder / "portico.yaml"), {})


def problems(folder: Path, errors: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_in(folder, SERVICE + f"policies:\n  errors:\n    {errors}\n")
    return [line.replace(f"{folder}/", "").removeprefix(PREFIX) for line in str(caught.value).splitlines()]


def test_files_are_read_with_the_configuration_and_passed_on_with_it(folder: Path) -> None:
    """Relative to it; a worker never looks at the files."""
    config = load_in(
        folder,
        """
        policies: {errors: {4xx: {html: pages/404.html}}}
        services:
          a: {url: http://h, policies: {errors: {5XX: {json: pages/error.json, html: {body: "<p>{status}"}}}}}
          b: {url: http://h, maintenance: {html: pages/404.html}}
          c: {url: http://h, versions: {v1: {maintenance: {retry_after: 5}}}}
        routes:
          - {service: a, path: /a, policies: {errors: {404: false}}}
          - {service: b, path: /b, maintenance: false}
          - {service: c, path: /c, maintenance: true, name: closed}
        """,
    )
    assert set(config.page_texts) == {"pages/404.html", "pages/error.json"}
    (folder / "pages" / "404.html").unlink()
    passed = load_dumped(dump_config(config))
    assert passed.page_texts == config.page_texts
    assert {str(each.relative_to(folder)) for each in named_files(config)} == set(config.page_texts)
    by_name = {route.name: route for route in passed.all_routes}
    settings, scope = by_name["a"].policies["errors"]
    assert (scope, sorted(settings), settings["404"]) == ("route:a", ["404", "4xx", "5xx"], None)
    assert {name for name, route in by_name.items() if route.maintenance is not None} == {"b-2", "c-v1", "closed"}
    assert config.in_maintenance == ["b", "c@v1", "route closed"]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (
            "404: {html: pages/405.html}",
            '404.html: there is no file pages/405.html; did you mean "pages/404.html"?',
        ),
        (
            "404: {html: {file: nowhere/at-all.html}}",
            "404.html: there is no file nowhere/at-all.html",
        ),
        ("404: {html: pages}", "404.html: pages is not a file"),
        (
            "404: {html: pages/large.html}",
            "404.html: pages/large.html has more than 64 KiB: a page that says what is wrong has to be small",
        ),
        (
            "404: {text: pages/latin.html}",
            "404.text: pages/latin.html is not UTF-8 text: the byte 0xff does not belong there",
        ),
        (
            "5xx: {html: pages/typo.html}",
            "5xx.html: {requets_id} is none of {status}, {title}, {reason}, {detail}, "
            '{request_id}; did you mean "{request_id}"?',
        ),
        (
            '404: {json: {id: "{request_Id} {stauts}"}}',
            "404.json: {stauts} is none of {status}, {title}, {reason}, {detail}, "
            '{request_id}; did you mean "{status}"?',
        ),
        (
            '404: {json: {id: "{path}"}}',
            "404.json: {path} is none of {status}, {title}, {reason}, {detail}, {request_id}",
        ),
        (
            "404: {json: pages/list.json}",
            "404.json: pages/list.json: the JSON of an error is an object, in braces",
        ),
        (
            "404: {json: pages/broken.json}",
            "404.json: pages/broken.json: not JSON: Input data was truncated",
        ),
    ],
)
def test_what_is_wrong_with_a_page(folder: Path, errors: str, expected: str) -> None:
    assert expected in problems(folder, errors)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("404: {htm: x.html}", 'policies.errors.404.htm: unknown key; did you mean "html"?'),
        ("4xy: {html: x.html}", "expected a status such as 404, or 4xx or 5xx for all that begin so"),
        ("200: {html: x.html}", "expected a status such as 404, or 4xx or 5xx for all that begin so"),
        ("404: error.html", "policies.errors.404: expected keys and values"),
        ("404: ", "nothing is written after the colon: write {html: FILE}, or false for the usual answer"),
        ("404: {html: }", "nothing is written after the colon: write the path of a file, or leave it out"),
        ("404: {html: {}}", "policies.errors.404.html: write the path of a file, or body and the text itself"),
        ("404: {html: {file: a, body: b}}", "write the path of a file, or body and the text itself"),
        ("404: {html: ''}", "policies.errors.404.html: has to be 1 character(s) or longer"),
        ("404: {json: '{'}", "policies.errors.404.json: not JSON: Input data was truncated"),
        (
            "404: {intercept: true}",
            "404 has intercept, and no html, json or text to take the place of a service's errors",
        ),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    lines = report(SERVICE + f"policies:\n  errors:\n    {written}\n")
    assert any(line.endswith(message) for line in lines), lines


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("maintenance: yes", None),
        ("maintenance: false", None),
        ("maintenance: {retry_after: 1h, detail: back at ten, text: {body: soon}}", None),
        ("maintenance: soon", "services.a.maintenance: expected keys and values"),
        ("maintenance: {retryafter: 5}", 'services.a.maintenance.retryafter: unknown key; did you mean "retry_after"?'),
        ("maintenance: {html: nowhere.html}", "nowhere.html"),
        ("maintenance: ", "nothing is written after the colon: write maintenance: true, or false"),
        ("maintenence: true", 'services.a.maintenence: unknown key; did you mean "maintenance"?'),
    ],
)
def test_maintenance(load: Load, report: Report, written: str, message: str | None) -> None:
    text = f"services:\n  a: {{url: http://h, {written}}}\n"
    if message is None:
        load(text)
    else:
        (line,) = report(text)
        assert line.endswith(message)
