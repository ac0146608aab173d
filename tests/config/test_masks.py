"""Secrets are hidden where a configuration is shown, and put back where it comes back."""

from __future__ import annotations

import pytest

from portico.config.document import Document, parse_document
from portico.config.masks import MASK, Known, hidden, masked_text, secrets, unmasked
from portico.config.problems import ConfigError, dotted

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
TEXT = f"""\
# The token is token-of-admin.
gateway:
  admin_token: &token "token-of-admin"   # token-of-admin
  admin_tokens:
    - {{name: ada, token: token-of-ada}}
    - {{name: bob, token: 'token of bob', access: write}}
    - {{name: ci, token: "${{CI_TOKEN:-token-of-ci}}"}}
  redis_url: redis://:${{PASSWORD}}@localhost
  tracing: {{url: "http://localhost:4318", headers: {{X-Any: token-of-tracing}}}}
services:
  shop: {{url: "http://localhost:1"}}
policies:
  headers: {{request: {{set: {{Authorization: Bearer of-header, X-Shop: shop}}}}}}
  transform: {{request: [{{query: {{set: {{api_key: key-of-query, page: "1"}}}}}}]}}
  identity: {{keys: [first-key, second-key]}}
  plugins: [{{use: "a:B", with: {{list: [inner-secret], number: 271828, deep: {{er: more-secret}}}}}}]
  auth:
    introspection:
      url: http://localhost:2
      client_secret: |
        secret of
        two lines
consumers:
  - {{name: eve, password: "{HASH}"}}
"""
SECRETS = (
    *("token-of-admin", "token-of-ada", "token of bob", "token-of-ci", "redis://", "token-of-tracing", "of-header"),
    *(
        "key-of-query",
        "first-key",
        "second-key",
        "inner-secret",
        "271828",
        "more-secret",
        "secret of",
        "two lines",
        HASH,
    ),
)


def read(text: str) -> Document:
    return parse_document(text, "portico.yaml")


def known(text: str = TEXT) -> Known:
    return Known(read(text), {})


def put_back(text: str, there: Known | None = None, *, is_careful: bool = False) -> str:
    return unmasked(text, "portico.yaml", there or known(), is_careful=is_careful)


def test_no_secret_is_left_in_the_text_nor_in_its_comments() -> None:
    shown = masked_text(TEXT, read(TEXT))
    assert [each for each in SECRETS if each in shown] == []
    assert "&token " in shown
    assert f'"${{CI_TOKEN:-{MASK}}}"' in shown
    assert "X-Shop: shop" in shown
    assert shown.count("\n") == TEXT.count("\n") - 2, "all else stands where it stood"


def test_what_was_shown_comes_back_as_it_was() -> None:
    shown = masked_text(TEXT, read(TEXT))
    back = read(put_back(shown))
    assert [(path, node.content) for path, node in secrets(back)] == [
        (path, node.content) for path, node in secrets(read(TEXT))
    ]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain", MASK),
        ("${NAME}", "${NAME}"),
        ("${NAME:-}", "${NAME:-}"),
        ("${A}${B}", "${A}${B}"),
        ("${file:/run/secrets/x}", "${file:/run/secrets/x}"),
        ("{env.NAME}", "{env.NAME}"),
        ("${NAME:-word}", f"${{NAME:-{MASK}}}"),
        ("Bearer ${NAME}", MASK),
        ("$${NAME}", MASK),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_secret(written: str, shown: str) -> None:
    assert hidden(written) == shown


def test_elements_of_lists_are_known_by_their_names() -> None:
    shown = masked_text(TEXT, read(TEXT))
    lines = shown.splitlines(keepends=True)
    ada, bob = lines[4], lines[5]
    assert "ada" in ada
    assert "bob" in bob
    swapped = put_back(shown.replace(ada + bob, bob + ada))
    assert "{name: ada, token: token-of-ada}" in swapped
    assert '{name: bob, token: "token of bob"' in swapped
    alone = put_back(shown.replace(ada, ""))
    assert "token of bob" in alone
    assert "token-of-ada" not in alone


def test_another_key_may_stand_before_those_there_are() -> None:
    shown = masked_text(TEXT, read(TEXT)).replace(f'keys: ["{MASK}"', f'keys: [new-key, "{MASK}"')
    text = put_back(shown)
    assert "keys: [new-key, first-key, second-key]" in text


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (f'["{MASK}", "{MASK}"]', f'["{MASK}"]', "policies.identity.keys[0]"),
        ('url: "http://localhost:1"', f"url: '{MASK}'", "services.shop.url"),
        ("X-Shop: shop", f"X-Shop: x{MASK}x", "policies.headers.request.set.X-Shop"),
        (f'Authorization: "{MASK}"', f'Authorization: "Bearer {MASK}"', "policies.headers.request.set.Authorization"),
        ("name: ada", "name: eve", "gateway.admin_tokens[0].token"),
        ("name: ada", f"name: '{MASK}'", "gateway.admin_tokens[0].name"),
        ("  shop:", f"  '{MASK}':", f"services.{MASK}"),
        ("deep:", "deeper:", "policies.plugins[0].with.deeper.er"),
        (f"${{CI_TOKEN:-{MASK}}}", f"${{OTHER:-{MASK}}}", "gateway.admin_tokens[2].token"),
    ],
)
def test_a_mask_where_no_such_secret_is_in_force_is_an_error_with_its_place(old: str, new: str, where: str) -> None:
    shown = masked_text(TEXT, read(TEXT))
    assert old in shown
    with pytest.raises(ConfigError) as error:
        put_back(shown.replace(old, new))
    assert where in {problem.key for problem in error.value.problems}
    assert all(problem.line for problem in error.value.problems)
    assert not [each for each in SECRETS if each in str(error.value)]


def test_a_mask_that_is_in_force_as_it_stands_is_no_secret() -> None:
    text = f'services: {{shop: {{url: "http://localhost:1"}}}}\nroutes: [{{path: /x, respond: {{body: "{MASK}"}}}}]\n'
    assert put_back(text, known(text)) == text


def test_a_variable_that_stands_for_a_key_stays_one() -> None:
    there = Known(read("services: {}"), {("gateway", "admin_token"): "ADMIN_TOKEN"})
    assert put_back(f'gateway: {{admin_token: "{MASK}"}}', there) == "gateway: {admin_token: ${ADMIN_TOKEN}}"


@pytest.mark.parametrize(
    "line",
    [
        "gateway: {title: '${SECRET_KEY}'}",
        "gateway: {title: 'x ${file:/etc/passwd}'}",
        "policies: {headers: {request: {set: {X: '{env.SECRET_KEY}'}}}}",
        "policies: {plugins: [{use: 'os:path'}]}",
        "include: [/etc/passwd]",
        "include: /etc/passwd",
        "gateway: {listen: [{port: 8443, tls: {certificate: /etc/passwd, key: /etc/shadow}}]}",
        "gateway: {state_dir: /var}",
        "services: {shop: {url: 'http://localhost:1', openapi: {file: /etc/passwd}}}",
        "routes: [{path: /a, respond: {status: 200, file: /etc/passwd}}]",
        "policies: {auth: {jwt: {audience: x, jwks_file: /etc/passwd}}}",
        "policies: {errors: {404: {html: /etc/passwd}}}",
        "policies: {errors: {404: {text: {file: /etc/passwd}}}}",
        "policies: {errors: {404: {json: /etc/passwd}}}",
    ],
)
def test_who_may_only_read_has_nothing_looked_up(line: str) -> None:
    with pytest.raises(PermissionError, match="only a token that may write"):
        put_back(line, is_careful=True)
    assert put_back(line) == line
    assert put_back(line, known(line), is_careful=True) == line


@pytest.mark.parametrize(
    "line",
    [
        "gateway: {embedded_redis: false}",
        "services: {shop: {url: 'http://localhost:1', openapi: /openapi.json}}",
        "policies: {errors: {404: {text: {body: /etc/passwd}}}}",
    ],
)
def test_who_may_only_read_may_try_what_names_no_file(line: str) -> None:
    assert put_back(line, is_careful=True) == line


def test_aliases_and_merged_keys_have_their_secrets_hidden_and_back() -> None:
    text = """\
a: &a {url: "http://localhost:1", policies: {auth: {jwt: {secret: secret-of-a}}}}
services:
  one: *a
  two: {<<: *a, url: "http://localhost:2"}
"""
    text = text.replace("a: &a ", "services:\n  zero: &a ").replace("services:\n  one", "  one")
    shown = masked_text(text, read(text))
    assert "secret-of-a" not in shown
    assert put_back(shown, known(text)) == text.replace("secret: secret-of-a", "secret: secret-of-a")


def test_paths_are_those_of_the_settings() -> None:
    found = {dotted(path) for path, _ in secrets(read(TEXT))}
    assert {"gateway.admin_token", "gateway.admin_tokens[1].token", "policies.identity.keys[1]"} < found
    assert "consumers[0].password" in found
    assert "gateway.admin_tokens[0].name" not in found


def test_places_are_right_whatever_characters_and_line_ends_there_are() -> None:
    text = (
        "# \N{SNAKE} \u2028\r\nservices: {shop: {url: 'http://localhost:1'}}\r\ngateway:\r\n  title: \"\N{SNAKE}\"\r\n"
    )
    text += "  admin_token: secret-of-admin\r\n  redis_url: 'redis://:\N{SNAKE}@x' # \N{SNAKE}\r\nroutes: []\r\n"
    shown = masked_text(text, read(text))
    assert shown == text.replace("secret-of-admin", f'"{MASK}"').replace("'redis://:\N{SNAKE}@x'", f'"{MASK}"')
    back = put_back(shown, known(text))
    assert back == text.replace("'redis://:\N{SNAKE}@x'", '"redis://:\N{SNAKE}@x"')
