from __future__ import annotations

import pytest

from config.conftest import Load, Report
from portico.config import ConfigError, load_config, warnings_for

ONE = "services: {a: {url: http://h}}\n"
JWT = ONE + "policies: {auth: {jwt: {}}}\n"


def test_the_environment_overrides_the_file(load: Load) -> None:
    text = "gateway: {host: 1.1.1.1, port: 1, workers: 1, admin: 127.0.0.1:1, log: {level: ERROR, format: json}}"
    environ = {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": "8080",
        "GATEWAY_WORKERS": "auto",
        "GATEWAY_ADMIN": "0.0.0.0:9001",
        "ADMIN_TOKEN": "letmein",
        "REDIS_URL": "redis://redis:6379",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "TEXT",
    }
    gateway = load(text, environ).gateway
    assert (gateway.host, gateway.port, gateway.workers, gateway.admin) == (
        "127.0.0.1",
        8080,
        "auto",
        "0.0.0.0:9001",
    )
    assert gateway.admin_token is not None
    assert gateway.admin_token.get_secret_value() == "letmein"
    assert gateway.redis_url is not None
    assert gateway.redis_url.get_secret_value() == "redis://redis:6379"
    assert (gateway.log.level, gateway.log.format) == ("DEBUG", "text")


def test_an_empty_variable_counts_as_unset(load: Load) -> None:
    gateway = load("gateway: {port: 1}", {"GATEWAY_PORT": "", "REDIS_URL": "", "ADMIN_TOKEN": ""}).gateway
    assert (gateway.port, gateway.redis_url, gateway.admin_token) == (1, None, None)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", (90, 7)),
        ("policies: {rate_limit: {burst: 3, by: consumer}}", (90, 7)),
        ("policies: {rate_limit: true}", (90, 7)),
        ("policies:\n", (90, 7)),
        ("policies: {rate_limit: [{burst: 1}, {burst: 2}]}", (90, 7)),
    ],
)
def test_rate_limit_variables_turn_the_limit_on(load: Load, written: str, expected: tuple[int, int]) -> None:
    environ = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "90", "RATE_LIMIT_BURST": "7"}
    settings, scope = load(ONE + written, environ).all_routes[0].policies["rate_limit"]
    first = settings[0] if isinstance(settings, list) else settings
    assert (first.requests_per_minute, first.burst, scope) == (*expected, "gateway")
    if isinstance(settings, list):
        assert settings[1].burst == 2


@pytest.mark.parametrize("word", ["false", "off", "'no'"])
def test_rate_limit_variables_do_not_turn_on_what_the_file_turns_off(load: Load, word: str) -> None:
    config = load(ONE + f"policies: {{rate_limit: {word}}}", {"RATE_LIMIT_BURST": "7"})
    assert "rate_limit" not in config.all_routes[0].policies


def test_a_secret_and_algorithms_fill_in_what_is_not_written(load: Load) -> None:
    settings, _ = load(JWT, {"SECRET_KEY": "s" * 64, "ALGORITHM": "HS384, HS512"}).all_routes[0].policies["auth"]
    assert settings.jwt.secret.get_secret_value() == "s" * 64
    assert settings.jwt.algorithms == ["HS384", "HS512"]

    mine = "m" * 32
    text = ONE + f"policies: {{auth: {{jwt: {{secret: {mine}, algorithms: [HS256]}}}}}}"
    settings, _ = load(text, {"SECRET_KEY": "other", "ALGORITHM": "HS512"}).all_routes[0].policies["auth"]
    assert settings.jwt.secret.get_secret_value() == mine
    assert settings.jwt.algorithms == ["HS256"]


def test_an_empty_secret_counts_as_not_written(load: Load) -> None:
    text = ONE + "policies: {auth: {jwt: {secret: ''}}}"
    settings, _ = load(text, {"SECRET_KEY": "o" * 32}).all_routes[0].policies["auth"]
    assert settings.jwt.secret.get_secret_value() == "o" * 32


def test_a_secret_turns_nothing_on(load: Load) -> None:
    config = load(ONE, {"SECRET_KEY": "s", "ALGORITHM": "HS256"})
    assert "auth" not in config.all_routes[0].policies
    assert config.token_settings is not None
    assert config.token_settings.secret is not None
    assert config.token_settings.secret.get_secret_value() == "s"
    assert load(ONE).token_settings is None


def test_a_short_secret(report: Report) -> None:
    """Also one of several levels: what is wrong with it depends on the algorithms."""
    short = "HS512 needs a secret of 64 bytes or more (RFC 7518, section 3.2), this one has 1; "
    short += "openssl rand -hex 32 makes one"
    assert report(JWT, {"SECRET_KEY": "s", "ALGORITHM": "HS512"}) == [f"environment: SECRET_KEY: {short}"]
    levels = (
        "policies: {auth: {jwt: {algorithms: [HS256, HS512]}}}\n"
        "services: {a: {url: http://h, policies: {auth: {jwt: {secret: s}}}}}"
    )
    assert report(levels) == [f"portico.yaml:2:63: services.a.policies.auth.jwt.secret: {short}"]


def test_jwt_without_any_secret(report: Report) -> None:
    assert report(JWT) == [
        "portico.yaml:2:19: policies.auth.jwt: jwt needs a key: set SECRET_KEY or write secret in it, or name the "
        "issuer with discovery, jwks_url, jwks_file or public_key_file"
    ]


def test_the_lifetime_of_tokens(load: Load) -> None:
    environ = {"ACCESS_TOKEN_EXPIRE_MINUTES": "5"}
    assert load("services:").gateway.access_token_expire_minutes == 30
    assert load("services:", environ).gateway.access_token_expire_minutes == 5
    assert load("gateway: {access_token_expire_minutes: 9}", environ).gateway.access_token_expire_minutes == 9


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GATEWAY_PORT", "abc", "expected a whole number"),
        ("GATEWAY_PORT", "70000", "has to be 65535 or less"),
        ("GATEWAY_WORKERS", "0", "has to be 1 or more"),
        ("GATEWAY_ADMIN", "nowhere", "expected host:port, for example 127.0.0.1:9000"),
        ("LOG_LEVEL", "LOUD", "expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        (
            "GATEWAY_HOST",
            "http://h",
            "expected an address or a name of this machine, without scheme and port; 0.0.0.0 and :: are every address",
        ),
        (
            "ADMIN_TOKEN",
            "s3cret\n\n",
            "holds control characters, or white space at an end, which no header field can carry",
        ),
        ("LOG_FORMAT", "jsn", 'expected one of json, text; did you mean "json"?'),
        ("RATE_LIMIT_BURST", "many", "expected a whole number"),
        ("RATE_LIMIT_REQUESTS_PER_MINUTE", "0", "has to be more than 0"),
        (
            "ALGORITHM",
            "HS256,RS256",
            "RS256 has a public key, and no secret: name the issuer with discovery, jwks_url, jwks_file "
            "or public_key_file",
        ),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "soon", "expected a whole number"),
        (
            "REDIS_URL",
            "http://redis",
            "expected redis://, rediss://, redis+sentinel:// or redis+cluster:// and an address, or unix:// and a path",
        ),
    ],
)
def test_a_wrong_value_names_the_variable(report: Report, variable: str, value: str, message: str) -> None:
    environ = {"SECRET_KEY": "s" * 32, variable: value}
    assert report(JWT, environ) == [f"environment: {variable}: {message}"]


def test_a_wrong_value_in_the_file_names_its_variables(report: Report) -> None:
    text = """\
    gateway: {port: "${PORT}", log: {level: "${LOG:-INFO}"}, workers: "${N:-many}"}
    services: {a: &a {url: "http://${HOST}:${PORT}"}, b: *a}
    policies: {rate_limit: {burst: "${BURST}"}}
    """
    environ = {"PORT": "high", "LOG": "loud", "HOST": "h", "BURST": "0"}
    assert report(text, environ) == [
        "portico.yaml:1:17: gateway.port: expected a whole number (from the environment: PORT)",
        "portico.yaml:1:41: gateway.log.level: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL "
        "(from the environment: LOG)",
        "portico.yaml:1:67: gateway.workers: expected a whole number or auto",
        "portico.yaml:2:24: services.a.url: not a url; write http://host:port (from the environment: HOST, PORT)",
        "portico.yaml:2:24: services.b.url: not a url; write http://host:port (from the environment: HOST, PORT)",
        "portico.yaml:3:32: policies.rate_limit.burst: has to be 1 or more (from the environment: BURST)",
    ]


def test_a_variable_that_is_not_utf_8(report: Report) -> None:
    broken = b"\xff".decode(errors="surrogateescape")
    environ = dict.fromkeys(("GATEWAY_HOST", "SECRET_KEY", "LOG_LEVEL", "NAME", "OTHER"), broken)
    assert report(ONE + "gateway: {title: '${NAME}'}", environ) == [
        "environment: GATEWAY_HOST: is not UTF-8 text",
        "environment: LOG_LEVEL: is not UTF-8 text",
        "environment: SECRET_KEY: is not UTF-8 text",
        "portico.yaml:2:18: gateway.title: the environment variable NAME is not UTF-8 text",
    ]


LINK = {"GATEWAY_PORT": "tcp://10.0.0.1:8000"}


@pytest.mark.parametrize(
    "companion",
    [
        *({}, {"GATEWAY_SERVICE_HOST": "10.0.0.1"}, {"GATEWAY_PORT_8000_TCP": "tcp://10.0.0.1:8000"}),
        *({"GATEWAY_PORT": link} for link in ("tcp://[fd00::1]:8000", "udp://10.0.0.1:53", "sctp://10.0.0.1:80")),
    ],
)
def test_a_service_link_of_kubernetes_is_ignored_and_reported(load: Load, companion: dict[str, str]) -> None:
    environ = {**LINK, **companion}
    for text, port in ((ONE, 8000), ("gateway: {port: 81}\n" + ONE, 81)):
        config = load(text + "policies: {rate_limit: {}}", environ)
        assert config.gateway.port == port
        (warning,) = map(str, warnings_for(config))
        assert warning.startswith("environment: GATEWAY_PORT: ignored: Kubernetes set it")
        assert "enableServiceLinks: false" in warning
    assert load("gateway: {port: '${GATEWAY_PORT:-82}'}\n" + ONE, environ).gateway.port == 82
    assert load_config(None, environ).gateway.port == 8000


@pytest.mark.parametrize("value", ["10.0.0.1:8000", "http://10.0.0.1:8000", "tcp://10.0.0.1", "tcp://", "tcp://a :1"])
def test_what_is_no_service_link_is_wrong(report: Report, value: str) -> None:
    environ = {"GATEWAY_PORT": value, "GATEWAY_SERVICE_HOST": "10.0.0.1"}
    assert report(ONE, environ) == ["environment: GATEWAY_PORT: expected a whole number"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_newline_at_the_end_of_a_variable_is_removed(load: Load, end: str) -> None:
    environ = {
        "GATEWAY_HOST": "127.0.0.1",
        "ADMIN_TOKEN": "s3cret",
        "SECRET_KEY": "s" * 32,
        "ALGORITHM": "HS256",
        "REDIS_URL": "redis://redis",
        "LOG_LEVEL": "INFO",
        "RATE_LIMIT_BURST": "7",
        "ISSUER": "id",
    }
    text = ONE + "policies: {auth: {jwt: {issuer: '${ISSUER}'}}}"
    found, expected = (load(text, {name: value + more for name, value in environ.items()}) for more in (end, ""))
    assert found.gateway == expected.gateway
    assert found.all_routes == expected.all_routes


def test_a_variable_of_one_newline_counts_as_unset(load: Load) -> None:
    assert load("gateway: {port: 1}", {"GATEWAY_PORT": "\n", "ADMIN_TOKEN": "\n"}).gateway.port == 1


def test_the_environment_applies_without_a_file_too() -> None:
    assert load_config(None, {"GATEWAY_PORT": "0"}).gateway.port == 0
    with pytest.raises(ConfigError, match=r"^environment: GATEWAY_PORT: expected a whole number$"):
        load_config(None, {"GATEWAY_PORT": "x"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (" " + "s" * 32, "has white space at an end"),
        ("s" * 32 + "\t", "holds a control character"),
        ("s" * 32 + "\u00a0", "has white space at an end"),
        ("s" * 32 + "\n\n", "holds a control character"),
        ("s" * 20 + "\n" + "s" * 20, "holds a control character"),
        ("s" * 32 + "\x7f", "holds a control character"),
    ],
)
def test_secrets_are_taken_as_they_were_meant_or_not_at_all(report: Report, wrong: str, message: str) -> None:
    auth = "services: {a: {url: http://a}}\npolicies: {auth: {jwt: {}}}"
    assert f"environment: SECRET_KEY: {message}" in report(auth, {"SECRET_KEY": wrong})[0]
    written = auth.replace("jwt: {}", 'jwt: {secret: "${KEY}"}')
    (line,) = report(written, {"KEY": wrong})
    assert f"policies.auth.jwt.secret: {message}" in line
    assert "sss" not in line
    identity = 'services: {a: {url: http://a}}\npolicies: {identity: {keys: ["${KEY}"]}}'
    assert f"policies.identity.keys[0]: {message}" in report(identity, {"KEY": wrong})[0]
    token = 'services: {a: {url: http://a}}\ngateway: {admin_token: "${KEY}"}'
    assert "gateway.admin_token: " in report(token, {"KEY": wrong})[0]
    redis = token.replace("admin_token", "redis_url").replace("${KEY}", "redis://:${KEY}@h")
    if not message.startswith("has"):  # a password may begin and end with a space
        assert f"gateway.redis_url: {message}" in report(redis, {"KEY": wrong})[0]


def test_one_newline_at_the_end_of_a_secret_is_that_of_its_file(load: Load) -> None:
    config = load("services: {a: {url: http://a}}\npolicies: {auth: {jwt: {}}}", {"SECRET_KEY": "s" * 32 + "\n"})
    assert config.token_settings is not None
    assert config.token_settings.secret is not None
    assert config.token_settings.secret.get_secret_value() == "s" * 32
