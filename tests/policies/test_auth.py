"""Tokens: which are accepted, what services receive, what clients without one receive."""

from __future__ import annotations

import base64
import hmac
import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, cast

import jwt
import pytest
from pydantic import SecretStr

from portico.client.identity import decoded_name
from portico.core.claims import claims_of
from portico.core.errors import Answer, Refusal
from portico.policies import STEPS, build_chain
from portico.policies.auth import AuthSettings, JwtSettings, build_auth
from portico.policies.auth import signed as taking_apart
from portico.policies.auth.identified import Verified
from portico.policies.authorize import AuthorizeSettings, build_authorize
from portico.policies.consumer_fields import consumer_lines
from portico.policies.policy import Context, Policy, State

from .exchanges import exchange

SECRET = "a secret of at least sixty-four bytes, as the longest of the three algorithms wants"
OTHER = "another secret of at least sixty-four bytes, as the longest of the algorithms wants"


def token(claims: dict[str, Any] | None = None, secret: str | None = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode({"sub": "alice", **(claims or {})}, cast(str, secret), algorithm=algorithm)


def build(state: State | None = None, **settings: Any) -> Policy:
    written = AuthSettings(jwt=JwtSettings(secret=SecretStr(SECRET), **settings))
    return build_auth(written, Context("gateway", state or State()))


def reason(policy: Policy, *lines: str) -> str | None:
    """The reason of the refusal, checked for what every refusal has; None where the request may go on."""
    asked = exchange(*lines)
    answer = policy(asked)
    if answer is None:
        return None
    assert isinstance(answer, Refusal)
    assert answer.status == 401
    assert [line.partition(b" realm=")[0] for line in answer.lines] == [b"WWW-Authenticate: Bearer"]
    assert (b"invalid_token" in answer.lines[0]) == (answer.reason != "credentials_missing")
    assert SECRET not in answer.detail
    assert (asked.consumer, asked.scopes, asked.request_lines) == (None, (), ())
    return answer.reason


NOW = int(time.time())
GOOD = token()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"Authorization: Bearer {GOOD}"], None),
        ([f"authorization:bearer   {GOOD} "], None),
        ([f"Authorization: BEARER {GOOD}"], None),
        ([], "credentials_missing"),
        (["Authorization:"], "credentials_missing"),
        (["Authorization: Basic YTpi"], "credentials_missing"),
        ([f"Authorization: {GOOD}"], "credentials_missing"),
        ([f"Authorization: Bearer{GOOD}"], "credentials_missing"),
        ([f"Authorization: Bearer {GOOD}"] * 2, "credentials_missing"),
        (["Authorization: Basic YTpi", f"Authorization: Bearer {GOOD}"], "credentials_missing"),
        (["Authorization: Bearer"], "credentials_missing credentials_invalid"),
        (["Authorization: Bearer x"], "credentials_invalid"),
        (["Authorization: Bearer a.b.c"], "credentials_invalid"),
        (["Authorization: Bearer \u00e9.\u00e9.\u00e9"], "credentials_invalid"),
        ([f"Authorization: Bearer {GOOD} {GOOD}"], "credentials_invalid"),
        ([f"Authorization: Bearer {GOOD[:-2]}"], "credentials_invalid"),
        ([f"Authorization: Bearer {GOOD}x"], "credentials_invalid"),
        ([f"Authorization: Bearer {token(secret=OTHER)}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token(secret=None, algorithm='none')}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token(algorithm='HS512')}"], "credentials_invalid"),
        ([f"Authorization: Bearer {'x' * 9000}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'exp': NOW + 3600})}"], None),
        ([f"Authorization: Bearer {token({'exp': NOW - 60})}"], "credentials_expired"),
        ([f"Authorization: Bearer {token({'exp': 'soon'})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'exp': float('inf')})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'nbf': NOW + 3600})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'sub': 'a' * 5000})}"], None),
        ([f"Authorization: Bearer {token({'username': 'a b'})}"], None),
        ([f"Authorization: Bearer {token({'username': 'a' + chr(0x85)})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': 'a' + chr(0x7F)})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': 'a' + chr(0xD800)})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': True})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': False})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': ['x']})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': {'x': 1}})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'preferred_username': 5})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'sub': 5})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'username': None})}"], None),
        ([f"Authorization: Bearer {token({'username': 'a' + chr(13) + chr(10) + 'X: y'})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'scope': 'a b' + chr(0)})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'scope': {'a': 1}})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'scope': ['a b']})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'scope': ['a', True]})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'scope': ['a', ['b']]})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'cnf': {'jkt': 'x' * 43}})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'cnf': {}})}"], "credentials_invalid"),
        ([f"Authorization: Bearer {token({'cnf': None})}"], "credentials_invalid"),
    ],
)
def test_tokens_that_are_accepted(lines: list[str], expected: str | None) -> None:
    policy = build()
    for _ in range(2):  # the second time from the cache, if it got there
        found = reason(policy, *lines)
        assert found == expected or (found is not None and found in (expected or "").split())


@pytest.mark.parametrize(
    ("settings", "claims", "expected"),
    [
        ({"issuer": "me"}, {"iss": "me"}, None),
        ({"issuer": "me"}, {"iss": "you"}, "credentials_invalid"),
        ({"issuer": "me"}, {}, "credentials_invalid"),
        ({"audience": "api"}, {"aud": "api"}, None),
        ({"audience": ["api", "b"]}, {"aud": ["x", "b"]}, None),
        ({"audience": "api"}, {"aud": "other"}, "credentials_invalid"),
        ({"audience": "api"}, {}, "credentials_invalid"),
        ({}, {"aud": "anything"}, None),
        ({"required_claims": ["exp"]}, {}, "credentials_invalid"),
        ({"require_expiry": True}, {}, "credentials_invalid"),
        ({"require_expiry": True}, {"exp": NOW + 3600}, None),
        ({"require_expiry": True}, {"exp": NOW - 60}, "credentials_expired"),
        ({}, {"exp": 2**53}, None),
        ({}, {"exp": NOW + 3600.5}, None),
        ({}, {"nbf": NOW - 60, "iat": NOW - 60}, None),
        ({}, {"iat": NOW + 3600}, "credentials_invalid"),
        ({"leeway": 7200.0}, {"iat": NOW + 3600, "nbf": NOW + 3600}, None),
        ({"required_claims": ["exp"]}, {"exp": NOW + 3600}, None),
        ({"leeway": 7200.0}, {"exp": NOW - 60}, None),
        ({"leeway": 7200.0}, {"exp": NOW - 7500}, "credentials_expired"),
    ],
)
def test_claims(settings: dict[str, Any], claims: dict[str, Any], expected: str | None) -> None:
    assert reason(build(**settings), f"Authorization: Bearer {token(claims)}") == expected


ABSURD = [
    *("9" * 4000, "9" * 5000, "-" + "9" * 4000, "NaN", "Infinity", "-Infinity", "1e400", "-1", "-0.5", "1e300"),
    *('"1999999999"', '"4102444800"', '""', "true", "null", "{}", "[4102444800]", "[" * 2000 + "]" * 2000),
]


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("written", ABSURD)
def test_what_is_no_time_is_refused(claim: str, written: str) -> None:
    signed = jwt.PyJWS().encode(f'{{"sub":"alice","{claim}":{written}}}'.encode(), SECRET)
    assert reason(build(), f"Authorization: Bearer {signed}") == "credentials_invalid"


HEAD, BODY, MAC = GOOD.split(".")
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize(
    "spelt",
    [
        *(f"{GOOD}=", f"{GOOD}==", f"{HEAD}=.{BODY}.{MAC}", f"{HEAD}.{BODY}=.{MAC}", f"{HEAD}.{BODY}.={MAC}"),
        *(f"{GOOD}{other}" for other in "!#$%&'*+,/:;?@[]^`{|}~\u00e9"),
        *(f"{HEAD}.{BODY}.{MAC[:9]}{other}{MAC[9:]}" for other in "!\t *\u00e9="),
        f"{HEAD}.{BODY}.{MAC[:-1]}{DIGITS[DIGITS.index(MAC[-1]) + 1]}",  # the same bytes: its last bits are not used
        f"{HEAD}.{BODY}.{MAC}.",
        f".{HEAD}.{BODY}.{MAC}",
    ],
)
def test_a_token_is_written_in_one_way(spelt: str) -> None:
    """Strict base64url, without padding (RFC 7515, section 2)."""
    assert reason(build(), f"Authorization: Bearer {spelt}") == "credentials_invalid"


def signed(head: bytes, body: bytes) -> str:
    written = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, body)]
    mac = hmac.digest(SECRET.encode(), b".".join(written), "sha256")
    return b".".join([*written, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


PLAIN_HEAD, PLAIN_BODY = '{"alg":"HS256"}', '{"sub":"alice"}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_token_is_json_in_utf_8(encoding: str) -> None:
    """RFC 7519, section 7.2."""
    expected = None if encoding == "utf-8" else "credentials_invalid"
    for head, body in ((encoding, "utf-8"), ("utf-8", encoding)):
        written = signed(PLAIN_HEAD.encode(head), PLAIN_BODY.encode(body))
        assert reason(build(), f"Authorization: Bearer {written}") == expected


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_refused_wherever_it_stands(word: str) -> None:
    for head, body in (
        (f'{{"alg":"HS256","x":[{word}]}}', PLAIN_BODY),
        (PLAIN_HEAD, f'{{"sub":"alice","x":{{"y":{word}}}}}'),
    ):
        assert reason(build(), f"Authorization: Bearer {signed(head.encode(), body.encode())}") == "credentials_invalid"


SURROGATE = '{"alg":"HS256","crit":["\\ud800"],"\\ud800":1}'


@pytest.mark.parametrize(
    "head", ["[" * 5000, '{"alg":' * 900, '{"alg":["HS256"]}', '{"alg":"HS256","kid":1}', "1", SURROGATE]
)
def test_a_head_that_cannot_be_read_is_refused(head: str) -> None:
    written = base64.urlsafe_b64encode(head.encode()).rstrip(b"=").decode()
    answer = build()(exchange(f"Authorization: Bearer {written}.{BODY}.{MAC}"))
    assert isinstance(answer, Refusal)
    assert answer.reason == "credentials_invalid"
    assert answer.content("/", "id", answer.status), "also where the token's own words are in it"


@pytest.mark.parametrize(
    ("algorithms", "size", "needed"),
    [
        (["HS512"], 1, 64),
        (["HS512"], 63, 64),
        (["HS384"], 47, 48),
        (["HS256"], 31, 32),
        (["HS256", "HS384"], 40, 48),
        (["HS512"], 64, None),
        (["HS384", "HS256"], 48, None),
        (["HS256"], 32, None),
    ],
)
def test_a_secret_is_as_long_as_its_hash(algorithms: Any, size: int, needed: int | None) -> None:
    settings = JwtSettings(secret=SecretStr("k" * size), algorithms=algorithms)
    found = settings.short_secret
    assert (found is None) == (needed is None)
    assert found is None or f"needs a secret of {needed} bytes or more" in found
    if needed is not None:
        with pytest.raises(ValueError, match="RFC 7518"):
            build_auth(AuthSettings(jwt=settings), Context("gateway", State()))


@pytest.mark.parametrize(
    ("algorithms", "algorithm", "expected"),
    [
        (["HS256", "HS512"], "HS512", None),
        (["HS384"], "HS384", None),
        (["HS384"], "HS256", "credentials_invalid"),
    ],
)
def test_algorithms(algorithms: list[str], algorithm: str, expected: str | None) -> None:
    assert reason(build(algorithms=algorithms), f"Authorization: Bearer {token(algorithm=algorithm)}") == expected


@pytest.mark.parametrize(
    ("claims", "consumer", "scopes", "lines"),
    [
        ({}, "alice", (), [b"X-Consumer-Username: alice"]),
        ({"username": "bob"}, "bob", (), [b"X-Consumer-Username: bob"]),
        ({"preferred_username": "eve"}, "eve", (), [b"X-Consumer-Username: eve"]),
        (
            {"scope": "a:read  b:write"},
            "alice",
            ("a:read", "b:write"),
            [b"X-Consumer-Username: alice", b"X-Consumer-Scopes: a:read b:write"],
        ),
        ({"scopes": ["x", "y"]}, "alice", ("x", "y"), [b"X-Consumer-Username: alice", b"X-Consumer-Scopes: x y"]),
        ({"sub": ""}, "", (), []),
        ({"sub": "Jane Doe"}, "Jane Doe", (), [b"X-Consumer-Username: Jane%20Doe"]),
        ({"sub": " jane "}, " jane ", (), [b"X-Consumer-Username: %20jane%20"]),
        ({"sub": "J\u00fcrgen"}, "J\u00fcrgen", (), [b"X-Consumer-Username: J%C3%BCrgen"]),
        ({"sub": "Ju\u0308rgen"}, "J\u00fcrgen", (), [b"X-Consumer-Username: J%C3%BCrgen"]),
        ({"sub": "\u0141ukasz"}, "\u0141ukasz", (), [b"X-Consumer-Username: %C5%81ukasz"]),
        ({"sub": "\u5c71\u7530"}, "\u5c71\u7530", (), [b"X-Consumer-Username: %E5%B1%B1%E7%94%B0"]),
        ({"sub": "100%"}, "100%", (), [b"X-Consumer-Username: 100%25"]),
        (
            {"sub": "a@b.example,\"x\";'y'"},
            "a@b.example,\"x\";'y'",
            (),
            [b"X-Consumer-Username: a@b.example,\"x\";'y'"],
        ),
        ({"sub": "utf-8''x"}, "utf-8''x", (), [b"X-Consumer-Username: utf-8%27%27x"]),
        ({"sub": "\u212aate"}, "Kate", (), [b"X-Consumer-Username: Kate"]),
        ({"sub": "\u017ft"}, "\u017ft", (), [b"X-Consumer-Username: %C5%BFt"]),
        ({"sub": "a" * 1024}, "a" * 1024, (), [b"X-Consumer-Username: " + b"a" * 1024]),
        ({"sub": "a" * 1025, "scope": "x"}, "a" * 1025, ("x",), [b"X-Consumer-Scopes: x"]),
        (
            {"scope": "\u00e9crire a%b lire"},
            "alice",
            ("\u00e9crire", "a%b", "lire"),
            [b"X-Consumer-Username: alice", b"X-Consumer-Scopes: %C3%A9crire a%25b lire"],
        ),
    ],
)
def test_fields_that_services_receive(
    claims: dict[str, Any], consumer: str, scopes: tuple[str, ...], lines: list[bytes]
) -> None:
    policy = build()
    for _ in range(2):
        asked = exchange(f"Authorization: Bearer {token(claims)}")
        assert policy(asked) is None
        assert (asked.consumer, asked.scopes, asked.request_lines) == (consumer, scopes, tuple(lines))


NAMES = [
    *("alice", "Jane Doe", "J\u00fcrgen", "\u0141ukasz", "\u5c71\u7530", "100%", "O'Brien", "\u00d3'Brien", "%41"),
    *("utf-8''x", "UTF-8'en'x", "UTF-8''%C3%BC", "a+b", "a,b;c", "\U0001f9d1\u200d\U0001f680", "~!@#$^&*()"),
]


@pytest.mark.parametrize("encoding", ["percent", "rfc8187"])
@pytest.mark.parametrize("name", NAMES)
def test_services_can_read_every_name_back(name: str, encoding: Any) -> None:
    (line,) = consumer_lines(name, (), encoding)
    value = line.removeprefix(b"X-Consumer-Username: ")
    assert re.fullmatch(rb"[!-~]+", value)
    assert decoded_name(value) == decoded_name(value.decode()) == name
    if encoding == "rfc8187" and name in ("Jane Doe", "\u0141ukasz"):
        assert value.startswith(b"UTF-8''")


def test_the_encoding_of_names_can_be_chosen() -> None:
    settings = AuthSettings(jwt=JwtSettings(secret=SecretStr(SECRET)), name_encoding="rfc8187")
    asked = exchange(f"Authorization: Bearer {token({'sub': chr(0x141) + 'ukasz'})}")
    assert build_auth(settings, Context("gateway", State()))(asked) is None
    assert asked.request_lines == (b"X-Consumer-Username: UTF-8''%C5%81ukasz",)


def test_a_token_is_verified_once_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = build()
    line = f"Authorization: Bearer {token({'exp': NOW + 3600})}"
    assert reason(policy, line) is None

    def expired(*_: Any, **__: Any) -> None:
        raise jwt.ExpiredSignatureError

    monkeypatch.setattr("portico.policies.auth.tokens.check_claims", expired)
    assert reason(policy, line) is None
    monkeypatch.setattr("portico.policies.auth.identified.time.time", lambda: NOW + 3601.0)
    assert reason(policy, line) == "credentials_expired"


class Clock:
    """Says what time it is to the policy, and counts the tokens that are verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(NOW)
        self.verified = 0

        def counted(token: bytes) -> taking_apart.Signed:
            self.verified += 1
            return taking_apart.signed(token)

        monkeypatch.setattr("portico.policies.auth.tokens.signed", counted)
        monkeypatch.setattr("portico.policies.auth.identified.time.time", lambda: self.now)


@pytest.mark.parametrize("claims", [{}, {"exp": NOW + 10**9}, {"exp": 2**53}])
@pytest.mark.parametrize("same_fields", [False, True])
def test_a_token_that_never_ends_is_verified_anew_every_few_minutes(
    claims: dict[str, Any], same_fields: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a client repeats its fields: what was verified is kept with these."""
    clock, policy = Clock(monkeypatch), build()
    line = f"Authorization: Bearer {token(claims)}"
    repeated = exchange(line)
    for minutes, expected in ((0, 1), (1, 1), (4.9, 1), (5, 2), (9.9, 2), (60, 3)):
        clock.now = NOW + 60 * minutes
        assert policy(repeated if same_fields else exchange(line)) is None
        assert clock.verified == expected


def test_a_token_that_ends_is_believed_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, policy = Clock(monkeypatch), build(leeway=5.0)
    end = NOW + 86_400
    asked = exchange(f"Authorization: Bearer {token({'exp': end})}")
    for seconds, expected in ((-60, 1), (4, 1), (5, 2)):
        clock.now = end + float(seconds)
        policy(asked)
        assert clock.verified == expected


def test_a_token_without_an_expiry_is_refused_with_the_reason_where_one_is_required() -> None:
    answer = build(require_expiry=True)(exchange(f"Authorization: Bearer {GOOD}"))
    assert isinstance(answer, Refusal)
    assert answer.detail == "the token is not valid: it has no exp claim, so it would never end"


def test_what_one_key_verified_another_does_not_believe() -> None:
    state = State()
    assert reason(build(state), f"Authorization: Bearer {GOOD}") is None
    other = build_auth(AuthSettings(jwt=JwtSettings(secret=SecretStr(OTHER))), Context("gateway", state))
    assert reason(other, f"Authorization: Bearer {GOOD}") == "credentials_invalid"
    assert reason(build(state, issuer="me"), f"Authorization: Bearer {GOOD}") == "credentials_invalid"


OPTIONAL = AuthSettings(jwt=JwtSettings(secret=SecretStr(SECRET)), optional=True)


@pytest.mark.parametrize(
    ("lines", "expected", "consumer"),
    [
        ([], None, None),
        ([f"Authorization: Bearer {GOOD}"], None, "alice"),
        ([f"Authorization: Bearer {GOOD}x"], "credentials_invalid", None),
        (["Authorization: Bearer"], "credentials_invalid", None),
        (["Authorization: Basic YTpi"], None, None),
        ([f"Authorization: Bearer {GOOD}"] * 2, "credentials_missing", None),
        (["Authorization: Basic YTpi", f"Authorization: Bearer {GOOD}"], "credentials_missing", None),
    ],
)
def test_where_it_is_optional_who_shows_nothing_goes_on_as_nobody(
    lines: list[str], expected: str | None, consumer: str | None
) -> None:
    asked = exchange(*lines)
    answer = build_auth(OPTIONAL, Context("gateway", State()))(asked)
    assert (answer.reason if isinstance(answer, Refusal) else answer) == expected
    assert asked.consumer == consumer
    assert (asked.claims_or_token is None) == (consumer is None)


def test_a_secret_is_needed() -> None:
    with pytest.raises(ValueError, match="no secret"):
        build_auth(AuthSettings(jwt=JwtSettings()), Context("gateway", State()))


@pytest.mark.parametrize(
    ("needed", "held", "allowed"),
    [
        (["a"], ("a",), True),
        (["a"], ("b", "a"), True),
        (["a", "b"], ("b", "a", "c"), True),
        (["a", "b"], ("a",), False),
        (["a"], (), False),
        (["a"], ("A",), False),
        (["a:read"], ("a",), False),
        (["e\u0301crire"], ("\u00e9crire",), True),
        (["\u00e9crire"], ("ecrire",), False),
        (['a"b\\c'], (), False),
        (["a"], ("a:read",), False),
    ],
)
def test_scopes(needed: list[str], held: tuple[str, ...], allowed: bool) -> None:
    policy = build_authorize(AuthorizeSettings(scopes=needed), Context("gateway", State()))
    assert policy is not None
    answer = policy(exchange(scopes=held))
    assert (answer is None) == allowed
    if not allowed:
        assert isinstance(answer, Refusal)
        assert (answer.status, answer.reason) == (403, "scope_missing")
        shown = {"\u00e9crire": "%C3%A9crire", 'a"b\\c': 'a\\"b\\\\c'}
        wanted = f'error="insufficient_scope", scope="{" ".join(shown.get(each, each) for each in needed)}"'
        assert answer.lines == [f'WWW-Authenticate: Bearer realm="portico", {wanted}'.encode()]


def test_a_chain_has_the_order_of_the_table() -> None:
    keys = [step.key for step in STEPS]
    assert keys.index("cors") < keys.index("auth") < keys.index("authorize")
    assert keys.count("rate_limit") == 5, "before and behind auth, those that are enforced first; then what reads costs"
    settings: dict[str, tuple[Any, str]] = {
        "authorize": (AuthorizeSettings(scopes=["a"]), "gateway"),
        "auth": (AuthSettings(jwt=JwtSettings(secret=SecretStr(SECRET))), "gateway"),
    }
    chain = build_chain(settings, State(), {})
    verdicts: list[Callable[[], Any]] = [lambda policy=policy: policy(exchange()) for policy in chain.requests]  # type: ignore[misc]
    answers = [verdict() for verdict in verdicts]
    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [401, 403]


def test_state_is_kept_while_it_is_asked_for() -> None:
    state = State()
    kept = state.keep("a", list)
    state.keep("b", list).append(1)
    state.sweep()
    assert state.keep("a", list) is kept
    state.sweep()
    assert state.keep("a", list) is kept
    assert state.keep("b", list) == []


def remembered(state: State) -> Verified:
    """What the one policy with this state remembers of tokens."""
    (kept,) = (each for each in state._kept.values() if isinstance(each, Verified))
    return kept


def test_tokens_that_come_once_do_not_fill_the_memory() -> None:
    state = State()
    policy = build(state)
    verified = remembered(state)
    verified.max_bytes = 20_000
    for number in range(100):
        line = f"Authorization: Bearer {token({'sub': f'user-{number}', 'scope': 'read ' * 50})}"
        assert policy(exchange(line)) is None
        kept = [*verified.young.items(), *verified.old.items()]
        assert sum(len(line) + sum(map(len, identity.lines)) for line, identity in kept) <= 2 * 20_000
    assert kept


def test_tokens_that_do_not_come_again_are_forgotten() -> None:
    state = State()
    assert build(state)(exchange(f"Authorization: Bearer {GOOD}")) is None
    verified = remembered(state)
    assert len(verified) == 1
    verified.age(0.0)
    verified.age(0.0)
    assert len(verified) == 0


def test_claims_are_decoded_once_for_an_exchange_that_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = build()
    line = f"Authorization: Bearer {token({'sub': 'a', 'tenant': 't', 'roles': ['x', {'y': 1}]})}"
    assert policy(exchange(line)) is None
    decoded: list[bytes] = []

    def counted(token: bytes) -> Any:
        decoded.append(token)
        return claims_of(token)

    monkeypatch.setattr("portico.core.exchange.claims_of", counted)
    for number in (1, 2):
        asked, unread = exchange(line), exchange(line)
        assert asked.claims is None
        assert (policy(asked), policy(unread)) == (None, None)
        claims = asked.claims
        assert claims is not None
        assert (claims["tenant"], claims["roles"]) == ("t", ("x", {"y": 1}))
        assert asked.claims is claims
        assert decoded == [line.encode()] * number


def test_claims_are_those_of_the_verified_token_whatever_becomes_of_the_request() -> None:
    """Connections use the heads of their requests again, and a policy may keep an exchange."""
    asked = exchange(f"Authorization: Bearer {token({'sub': 'a'})}")
    assert build()(asked) is None
    assert asked.request is not None
    asked.request.fields.lines[:] = [f"Authorization: Bearer {token({'sub': 'b'})}".encode()] * 2
    assert asked.claims == {"sub": "a"}


def test_a_refused_request_has_no_claims() -> None:
    asked = exchange("Authorization: Bearer nonsense")
    assert isinstance(build()(asked), Refusal)
    assert asked.claims is None


def test_claims_that_are_nested_too_deeply_are_refused_before_anything_reads_them() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    answer = build()(exchange(f"Authorization: Bearer {token({'deep': deep})}"))
    assert isinstance(answer, Refusal)
    assert answer.detail == "the token is not valid: it is nested more than 100 levels deep"


def test_of_a_token_its_line_is_kept_and_little_else() -> None:
    policy, many = build(), [{} for _ in range(500)]  # type: ignore[var-annotated]
    assert policy(exchange(f"Authorization: Bearer {GOOD}")) is None
    lines = [f"Authorization: Bearer {token({'sub': f'user-{number}', 'many': many})}" for number in range(50)]
    tracemalloc.start()
    for line in lines:
        assert policy(exchange(line)) is None
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < sum(map(len, lines)) + len(lines) * 1000
