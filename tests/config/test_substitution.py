from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config.document import parse_document
from portico.config.substitution import plain_data


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


@pytest.mark.parametrize("text", ["${", "${1}", "${A", "${A-b}", "${A:-${B}}", "x ${} y"])
def test_what_is_no_variable(text: str) -> None:
    _, findings = plain_data(parse_document(f'k: "{text}"', "f"), {"A": "a"})
    assert [finding.message for finding in findings] == [
        "`${` starts a variable: write ${NAME} or ${NAME:-default}, and $$ for a dollar sign"
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
