"""Services, routes and consumers from several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config import Config, ConfigError, dump_config, included_files, load_config, load_dumped

ONE = "services:\n  one: {url: http://one}\nroutes:\n  - {service: one, path: /one}\nconsumers: [{name: ann}]\n"
TWO = "services:\n  two: {url: http://two}\nroutes:\n  - {service: two, path: /two}\n  - {service: main, path: /2}\n"
MAIN = "include: conf.d/*.yaml\nservices:\n  main: {url: http://main}\nroutes:\n  - {service: main, path: /main}\n"


def write(directory: Path, files: dict[str, str]) -> Path:
    """Files by name; the first one."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory / next(iter(files))


def load(path: Path, **environ: str) -> Config:
    return load_config(path, environ)


def problems(path: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, **environ)
    return [line.removeprefix(f"{path.parent}/") for line in str(caught.value).splitlines()]


def test_what_files_have_stands_as_in_one(tmp_path: Path) -> None:
    path = write(tmp_path, {"portico.yaml": MAIN, "conf.d/b.yaml": TWO, "conf.d/a.yaml": ONE, "conf.d/.c.yaml": "?"})
    config = load(path)
    assert list(config.services) == ["main", "one", "two"]
    assert [route.path for route in config.routes] == ["/main", "/one", "/two", "/2"]
    assert [consumer.name for consumer in config.consumers] == ["ann"]
    other = load_dumped(dump_config(config))
    assert (other.services, other.routes, other.consumers) == (config.services, config.routes, config.consumers)
    assert included_files(other.include, other.directory) == [
        tmp_path / "conf.d/a.yaml",
        tmp_path / "conf.d/b.yaml",
        tmp_path / "conf.d",
    ]


def test_a_file_that_several_patterns_name_is_read_once(tmp_path: Path) -> None:
    text = "include: [a.yaml, '[ab].yaml', /nowhere/*.yaml]\n"
    path = write(tmp_path, {"portico.yaml": text, "a.yaml": ONE, "b.yaml": "# nothing yet\n"})
    assert list(load(path).services) == ["one"]


def test_names_of_files_from_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, {"portico.yaml": "include: ${STAGE}/*.yaml\n", "prod/a.yaml": ONE})
    assert list(load(path, STAGE="prod").services) == ["one"]
    assert problems(path) == [
        "portico.yaml:1:10: include: the environment variable STAGE is not set; set it or write ${STAGE:-default}"
    ]


def test_problems_name_the_file_and_line(tmp_path: Path) -> None:
    bad = "services:\n  two: {url: http://two, timeut: 1}\nroutes:\n  - {service: three, path: /x}\n"
    path = write(tmp_path, {"portico.yaml": MAIN, "conf.d/a.yaml": ONE, "conf.d/b.yaml": bad})
    assert problems(path) == [
        'conf.d/b.yaml:2:26: services.two.timeut: unknown key; did you mean "timeout"?',
        'conf.d/b.yaml:4:15: routes[2].service: there is no service "three"',
    ]
    write(tmp_path, {"portico.yaml": MAIN.replace("/main}", "/one}"), "conf.d/b.yaml": ""})
    assert problems(path)[0].startswith("conf.d/a.yaml:4:5: routes[1]: the route main matches the very same requests")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gateway: {port: 1}", "1:1: gateway: an included file has services, routes, consumers; all else is for"),
        ("service: {}", "1:1: service: an included file has services, routes, consumers; all else is for"),
        ("include: x.yaml", "1:1: include: an included file includes no others"),
        ("services: [a]", "1:11: services: expected names and their settings"),
        ("routes: {a: 1}", "1:9: routes: expected a list"),
        ("- a", "1:1: expected keys and values at the top"),
        ("services: {main: {url: http://x}}", "1:12: services.main: is written at "),
        ("services: {a: {", "2:1: not valid YAML"),
    ],
)
def test_what_an_included_file_cannot_have(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, {"portico.yaml": MAIN, "conf.d/a.yaml": text})
    (line,) = problems(path)
    assert line.startswith(f"conf.d/a.yaml:{message}"), line


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    path = write(tmp_path, {"portico.yaml": "include: '*.yaml'\nservices: {a: {url: http://a}}\n"})
    assert problems(path)[0].startswith("portico.yaml:1:1: include: an included file includes no others")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, {"portico.yaml": "include: [none.yaml, no/*.yaml]\nservices: {a: {url: http://a}}\n"})
    assert problems(path) == ["portico.yaml:1:11: include[0]: there is no file none.yaml"]
    path.write_text("include: 5\nservices: {a: {url: http://a}}\n")
    (line,) = problems(path)
    assert line.startswith("portico.yaml:1:10: include: ")
    (tmp_path / "latin.yaml").write_bytes(b"services: {caf\xe9: {url: http://a}}\n")
    path.write_text("include: latin.yaml\n")
    assert problems(path) == ["latin.yaml:1:15: not UTF-8 text: the byte 0xe9 does not belong there"]
