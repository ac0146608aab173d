"""What importers put together is written as YAML that means the same, with its comments in their places."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from portico.imports import Draft, Part, Variable, Where

LINE = Where("source.conf", 7)


def draft() -> Draft:
    made = Draft("source.conf", "nginx")
    made.gateway.data = {"port": 8080, "endpoints": False}
    made.services["shop"] = Part(LINE, {"url": "http://127.0.0.1:9001"})
    made.routes.append(Part(LINE, {"name": "shop", "path": "/shop", "service": "shop"}))
    return made


def test_what_fits_is_on_one_line() -> None:
    assert draft().text() == (
        "# Written by portico import nginx from source.conf.\n"
        "\n"
        "gateway:\n"
        "  port: 8080\n"
        "  endpoints: false\n"
        "\n"
        "services:\n"
        '  shop: {url: "http://127.0.0.1:9001"}\n'
        "\n"
        "routes:\n"
        "  - {name: shop, path: /shop, service: shop}\n"
    )


def test_comments_stand_above_what_they_are_about() -> None:
    made = draft()
    made.left(LINE, "sendfile on", "Portico sends no files")
    route = made.routes[0]
    made.changed(LINE, "location /shop", "by whole segments", route)
    route.data["policies"] = {"cors": {"allow_origins": ["*"]}}
    made.left(LINE, "add_header X 1", "a reason", route, ("policies", "cors"))
    assert made.text().partition("routes:\n")[2] == (
        "  # source.conf:7: location /shop: by whole segments\n"
        "  - name: shop\n"
        "    path: /shop\n"
        "    service: shop\n"
        "    policies:\n"
        "      # source.conf:7: add_header X 1: a reason\n"
        '      cors: {allow_origins: ["*"]}\n'
    )
    assert "# source.conf:7: sendfile on: Portico sends no files\n" in made.text()
    assert [remark.kind for remark in made.remarks] == ["left", "changed", "left"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "plain",
            "/a/path",
            "yes",
            "No",
            "null",
            "~",
            "1",
            "012",
            "1e3",
            "a: b",
            "a #b",
            "- a",
            "",
            " a",
            "a ",
            "*x",
            "&x",
        ),
        *(
            '~ ^/a\\.b"c$',
            "it's",
            "tab\there",
            "line\nend",
            "é",
            "\x85",
            "\u2028",
            "x{y}z",
            "[a]",
            "a,b",
            "true",
            "%5B",
            "@x",
        ),
        *(
            1,
            0,
            2.5,
            True,
            False,
            None,
            [],
            {},
            ["a", "b: c"],
            {"a b": {"c": "d"}},
            {"on": "off"},
            ["x" * 150, {"y": ["z" * 150]}],
        ),
    ],
)
def test_yaml_reads_what_was_meant(value: Any) -> None:
    made = draft()
    made.routes[0].data = {"first": value, "several": [value, {"inner": value}]}
    route = yaml.safe_load(made.text())["routes"][0]
    assert route == {"first": value, "several": [value, {"inner": value}]}


def test_a_dollar_sign_is_no_variable_unless_it_is_meant_as_one() -> None:
    made = draft()
    made.services["shop"].data |= {"a": "${HOME}", "b": Variable("TOKEN")}
    assert '"$${HOME}", b: "${TOKEN}"}' in made.text()


def test_a_comment_is_one_line() -> None:
    made = draft()
    made.left(LINE, "evil\n  key: value\r\x85\x1b[2J", "why\nnot")
    text = made.text()
    assert "# source.conf:7: evil key: value \\x1b[2J: why not\n" in text.replace("\\x85", "")
    assert yaml.safe_load(text).keys() == {"gateway", "services", "routes"}
