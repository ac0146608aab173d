from __future__ import annotations

import re
from pathlib import Path

import pytest

from portico.cli.init import services_of, starting_file, write_starting_file
from portico.config import load_text, warnings_for


@pytest.mark.parametrize("arguments", [[], ["shop=http://localhost:8001", "blog=https://blog.internal"]])
def test_the_file_is_a_configuration_without_warnings(arguments: list[str]) -> None:
    config = load_text(starting_file(services_of(arguments)), "portico.yaml", {})
    expected = {"shop": "http://localhost:8001", "blog": "https://blog.internal"} if arguments else None
    assert {name: service.url for name, service in config.services.items()} == (
        expected or {"example": "http://localhost:8001"}
    )
    assert warnings_for(config) == []


OFF = re.compile(r"^( *)#(?=\w+:)", re.MULTILINE)
SECRET = {"SECRET_KEY": "s" * 32}


def test_what_is_commented_out_can_be_used_as_it_is() -> None:
    config = load_text(OFF.sub(r"\1", starting_file({})), "portico.yaml", SECRET)
    assert config.gateway.host == "127.0.0.1"
    assert set(config.all_routes[0].policies) == {"auth", "cors", "headers", "plugins", "rate_limit"}
    service = config.services["example"]
    assert service.health is not None
    assert service.health.path == "/health"


def test_each_line_that_is_commented_out_can_be_used_by_itself() -> None:
    lines = starting_file({"a": "http://localhost:8001", "b": "http://localhost:8002"}).splitlines()
    off = [index for index, line in enumerate(lines) if OFF.match(line)]
    assert len(off) == 9
    before = load_text("\n".join(lines), "portico.yaml", SECRET)
    for index in off:
        alone = [*lines[:index], OFF.sub(r"\1", lines[index]), *lines[index + 1 :]]
        assert load_text("\n".join(alone), "portico.yaml", SECRET).model_dump() != before.model_dump()


def test_what_is_no_key_to_use_is_set_off_by_a_space() -> None:
    for line in starting_file({}).splitlines():
        if line.lstrip().startswith("#") and not OFF.match(line):
            assert line.startswith("# ")


@pytest.mark.parametrize("name", ["on", "null", "1", "1e5", "a-", "0x1f"])
def test_a_name_is_text_whatever_it_looks_like(name: str) -> None:
    assert list(load_text(starting_file({name: "http://[::1]:8001"}), "f", {}).services) == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop"], "expected NAME=URL, such as shop=http://localhost:8001"),
        (["=http://h"], "expected NAME=URL, such as shop=http://localhost:8001"),
        (["a b=http://h"], "'a b' is no name of a service: letters, digits, and within it also . _ -"),
        (["shop=localhost:8001"], "shop: a url starts with http:// or https:// and a host"),
        (["shop=http://h/api"], "shop: a url of an instance ends after the port"),
        (["none=http://h"], "none: metrics use this word"),
        (["a=http://h", "a=http://i"], "a is there twice"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        services_of(arguments)


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("mine")
    with pytest.raises(FileExistsError):
        write_starting_file(file, {})
    assert file.read_text() == "mine"
