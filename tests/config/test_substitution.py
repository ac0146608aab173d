from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from config.conftest import Load, Report
from portico.config import dump_config, load_dumped, named_files
from portico.config.document import parse_document
from portico.config.secret_files import SecretFiles
from portico.config.substitution import plain_data
from portico.policies.templates import Template


def substituted(text: str, **environ: str) -> object:
    data, findings = plain_data(parse_document(text, "f"), environ)
    assert findings == []
    return data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}y${B}z", "xoneytwoz"),
        ("${NO:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${A:-default}", "one"),
        ("'${A}'", "one"),
        ("${NO:-}", None),
        ("'${NO:-}'", ""),
        ("x${NO:-}", "x"),
        ("${NO:-redis://h:6379/0}", "redis://h:6379/0"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("'$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA'", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"),
    ],
)
def test_variables_in_values(text: str, value: object) -> None:
    assert substituted(f"k: {text}", A="one", B="two", EMPTY="") == {"k": value}


def test_structure_is_never_altered() -> None:
    assert substituted("k: ${A}", A="{x: [1, 2]}") == {"k": "{x: [1, 2]}"}
    assert substituted("k: ${A}", A="1\nother: 2") == {"k": "1\nother: 2"}
    assert substituted("${A}: 1", A="x") == {"${A}": 1}
    assert substituted("k: ${A}", A="${B}", B="never") == {"k": "${B}"}


def test_a_missing_variable_is_reported_with_its_position(report: Report) -> None:
    text = """\
    services:
      a:
        url: ${URL}
    """
    assert report(text) == [
        "portico.yaml:3:10: services.a.url: the environment variable URL is not set; set it or write ${URL:-default}"
    ]
    assert report(text, {"URL": ""}) == report(text)


@pytest.mark.parametrize("text", ["${", "${1}", "${A", "${A-b}", "${A:-${B}}", "x ${} y", "${file:"])
def test_what_is_no_variable(text: str) -> None:
    _, findings = plain_data(parse_document(f'k: "{text}"', "f"), {"A": "a"})
    assert [finding.message for finding in findings] == [
        "`${` starts a variable: write ${NAME}, ${NAME:-default} or ${file:PATH}, and $$ for a dollar sign"
    ]


def test_numbers_and_words_from_variables(load: Load) -> None:
    config = load(
        """\
        gateway: {port: "${PORT}", workers: "${N}", log: {access: "${LOG}"}, limits: {body_size: "${SIZE:-1MiB}"}}
        services:
          a:
            url: http://h
            retries: ${R}
            timeout: ${T:-1.5}
            health_check: ${H}
            preserve_host: ${P}
        policies: {rate_limit: "${RL}", cors: "${CORS}"}
        """,
        {"PORT": "81", "N": "2", "LOG": "off", "R": "0", "H": "false", "P": "true", "RL": "on", "CORS": "off"},
    )
    service = config.services["a"]
    assert (config.gateway.port, config.gateway.workers, config.gateway.log.access) == (81, 2, "off")
    assert config.gateway.limits.body_size == 1 << 20
    assert (service.retry.attempts, service.timeouts.response) == (0, 1.5)
    assert service.health is None
    assert service.preserve_host
    assert set(config.all_routes[0].policies) == {"rate_limit"}


def test_a_secret_that_looks_like_a_number_stays_as_it_is(load: Load) -> None:
    text = "services: {a: {url: http://h}}\npolicies: {auth: {jwt: {secret: ${KEY}}}}"
    for secret in ("12345" * 7, "0" * 31 + "1", "1" * 31 + "e5", "1." + "10" * 16):
        settings, _ = load(text, {"KEY": secret}).all_routes[0].policies["auth"]
        assert settings.jwt.secret.get_secret_value() == secret


# ---- files


KEY = "k" * 31 + "{1}"


def test_a_value_from_a_file(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{KEY}\n")
    text = f"""\
    services: {{a: {{url: http://h}}}}
    policies:
      auth: {{jwt: {{secret: ${{file:{secret}}}}}}}
      headers: {{request: {{set: {{Authorization: "Bearer ${{file:{secret}}}"}}}}}}
    """
    config = load(text)
    settings, _ = config.all_routes[0].policies["auth"]
    assert settings.jwt.secret.get_secret_value() == KEY
    headers, _ = config.all_routes[0].policies["headers"]
    assert Template(headers.request.set["Authorization"][0]).fixed == f"Bearer {KEY}", "its braces are no name"
    assert config.secret_files == (secret,)
    assert secret in named_files(config), "run --reload sees it change"
    assert load_dumped(dump_config(config)).secret_files == (secret,)


def test_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123\r\n")
    data, findings = plain_data(parse_document("k: ${file:secret}", "f"), {}, SecretFiles(tmp_path))
    assert (data, findings) == ({"k": "0123"}, [])


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no file {path}"),
        (Path.mkdir, "{path} is not a regular file"),
        (_fifo, "{path} is not a regular file"),
        (lambda path: path.write_bytes(b"\n"), "the file {path} is empty"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "the file {path} is not UTF-8 text"),
        (
            lambda path: path.write_bytes(b"x" * 65537),
            "the file {path} is larger than 64 KiB: it holds more than a value",
        ),
    ],
)
def test_a_file_that_is_no_value(report: Report, tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    file = tmp_path / "secret"
    make(file)
    (line,) = report(f"services: {{a: {{url: http://h}}}}\npolicies: {{auth: {{jwt: {{secret: ${{file:{file}}}}}}}}}")
    assert line == f"portico.yaml:2:33: policies.auth.jwt.secret: {message.format(path=file)}"


def test_what_is_wrong_with_a_file_says_which_and_nothing_of_it(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("first\nsecond\n")
    (line,) = report(f"services: {{a: {{url: http://h}}}}\npolicies: {{auth: {{jwt: {{secret: ${{file:{file}}}}}}}}}")
    assert line.endswith(f"which belongs to no secret (from the file {file})")
    assert "second" not in line
