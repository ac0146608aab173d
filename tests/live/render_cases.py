"""The requests that every rendering must answer as Portico does, and what of the answers is compared."""

from __future__ import annotations

import hmac
import json
import re
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from support.backend import Connection, described
from support.client import Wire, request
from support.messages import Message
from support.tokens import SECRET, bearer, token

HOST: Final = "gateway.test"
PAGE: Final = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
ORIGIN: Final = "Origin: https://app.example.com"
ELSEWHERE: Final = "Origin: https://evil.example"
ASKS: Final = "Access-Control-Request-Method: PUT"

RSA: Final = generate_private_key(65537, 2048)
KEYS: Final[dict[str, Any]] = {
    **dict.fromkeys(("RS256", "RS512", "PS256", "PS384"), RSA),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}
"""What signs tokens by each algorithm."""
PUBLIC_PEM: Final = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
CONFIG: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "render_routes.yaml").read_text())


@dataclass(frozen=True)
class Case:
    """A request, the status of its answer, and the target that the service gets, where it gets one."""

    method: str
    target: str
    status: int
    sees: str | None = None
    lines: tuple[str, ...] = ()
    host: str = HOST
    size: int | None = None
    after: str | None = None
    """A field with which the same was asked before, where that matters."""

    def __str__(self) -> str:
        text = f"{self.method} {self.host} {self.target} {' '.join(self.lines)}".replace("/", "|")
        return re.sub(r"[\w.-]{60,}", "TOKEN", text)


def get(target: str, status: int = 200, sees: str | None = None, *lines: str, host: str = HOST) -> Case:
    return Case("GET", target, status, sees, lines, host)


def key(text: str) -> str:
    return f"X-API-Key: {text}"


def by(algorithm: str, kid: str = "", typ: str = "JWT", crit: Any = None, **claims: Any) -> str:
    """A token that is signed by the key for an algorithm."""
    header = {"kid": kid or algorithm, "typ": typ, **({"crit": crit} if crit else {})}
    said = {"sub": "alice", "exp": time.time() + 3600, **claims}
    return jwt.encode(said, KEYS[algorithm], {"Ed448": "EdDSA"}.get(algorithm, algorithm), headers=header)


def forged() -> str:
    """A token for whoever takes a public key for a shared secret."""
    text = token().rpartition(".")[0]
    mark = hmac.digest(PUBLIC_PEM.encode(), text.encode(), "sha256")
    return f"{text}.{urlsafe_b64encode(mark).decode().rstrip('=')}"


def altered(text: str) -> str:
    """The same token with another signature, of the same length."""
    head, _, signature = text.rpartition(".")
    return f"{head}.{signature[:8]}{'A' if signature[8] != 'A' else 'B'}{signature[9:]}"


def by_rsa(**claims: Any) -> str:
    return jwt.encode({"sub": "alice", "exp": time.time() + 3600, **claims}, RSA, "RS256")


def again(target: str, sees: str, *lines: str) -> Case:
    """What was asked before, which a cache may answer: the service says which turn it got."""
    return Case("GET", target, 200, sees, (*lines, "X-Turn: second"), after="X-Turn: first")


CASES: Final = (
    # C26
    get("/vllm", 200, "/"),
    get("/vllm/", 200, "/"),
    get("/vllm/v1/x", 200, "/v1/x"),
    get("/vllmx", 404),
    get("/service/version", 200, "/api/service/version"),
    get("/service", 200, "/api/service/"),
    get("/service/", 200, "/api/service/"),
    get("/test", 200, "/foo/test", host="foo.test"),
    get("/a?b=c", 200, "/foo/a?b=c", host="foo.test"),
    # paths as they were sent
    get("/vllm/a%2Fb", 200, "/a%2Fb"),
    get("/vllm/a%20b?x=%2F&y", 200, "/a%20b?x=%2F&y"),
    get("/vllm/a//b", 200, "/a//b"),
    get("/vllm/x?", 200, "/x?"),
    get("/vllm/x?a?b", 200, "/x?a?b"),
    get("/vllm/%E4%BD%A0", 200, "/%E4%BD%A0"),
    get("/vllm/$host", 200, "/$host"),
    get("/vllm/../exact", 400),
    get("/vllm/%2e%2e/exact", 400),
    get("/vllm/..%2fexact", 400),
    get("/vllm/a;b", 200, "/a;b"),
    get("/users/x%2Fy", 200, "/users/x%2Fy"),
    # the default routes
    get("/api/shop/x", 200, "/x"),
    get("/v1/shop/x?y=1", 200, "/api/x?y=1"),
    get("/v2/shop/", 200, "/api/"),
    get("/v3/shop/", 404),
    get("/api/shopping", 404),
    get("/api/shop", 307, None, PAGE),
    get("/api/shop?x=1", 307, None, PAGE),
    get("/api/shop/", 200, "/", PAGE),
    get("/api/shop", 200, "/"),
    Case("POST", "/api/shop", 200, "/", (PAGE,), size=3),
    # exact, pattern, prefix
    get("/exact", 200, "/was-exact"),
    get("/exact?q", 200, "/was-exact?q"),
    get("/exact/", 404),
    get("/exact/kept", 200, "/exact/kept"),
    get("/users/7", 200, "/u/7"),
    get("/users/7?x=/a", 200, "/u/7?x=/a"),
    get("/users/seven", 200, "/users/seven"),
    get("/users/7/more", 200, "/users/7/more"),
    get("/users", 200, "/users"),
    get("/users/list", 200, "/"),
    get("/users/list/a", 200, "/a"),
    get("/users/lists", 200, "/users/lists"),
    get("/REPORT/abc", 200, "/r/abc"),
    get("/users/x.php", 410),
    get("/users/x.php", 403, None, "User-Agent: BadBot/1.0"),
    get("/vllm/x", 403, None, "User-Agent: BadBot/1.0"),
    get("/exact", 200, "/was-exact", "User-Agent: BadBot/1.0"),
    get("/users/7", 200, "/u/7", "User-Agent: BadBot/1.0"),
    get("/users/7/more", 200, "/more/7", "X-Try: 1"),
    get("/pages/1/2?x", 200, "/book/pages/1/2?x"),
    get("/pages", 200, "/book/pages"),
    get("/old-pages/1?x", 307),
    get("/old-page?x", 307),
    get("/money/$x/1", 200, "/cost/$y/1"),
    get("/caf%C3%A9/1", 200, "/1"),
    get("/caf%c3%a9/1", 200, "/1"),
    get("/nothing", 404),
    # conditions
    get("/by/1", 200, "/1"),
    Case("HEAD", "/by/1", 200),
    Case("POST", "/by/1", 200, "/written/1", size=5),
    Case("PUT", "/by/1", 200, "/written/1", size=5),
    Case("DELETE", "/by/1", 405),
    get("/try/1", 200, "/1"),
    get("/try/1", 200, "/tried/1", "X-Try: Yes"),
    get("/try/1", 200, "/1", "X-Try: yes"),
    get("/try/1", 200, "/like/1", "X-Like: v2"),
    get("/try/1", 200, "/1", "X-Like: v3"),
    get("/try/1?beta", 200, "/beta/1?beta"),
    get("/try/1?v=3", 200, "/v3/1?v=3"),
    get("/try/1?v=33", 200, "/1?v=33"),
    get("/only/1", 404),
    get("/only/1", 200, "/1", "X-Only: 1"),
    get("/only/below", 200, "/"),
    Case("POST", "/only/below", 200, "/below", ("X-Only: 1",), size=1),
    # hosts
    get("/site/1", 200, "/www/1", host="www.site.test"),
    get("/site/1", 200, "/www/1", host="WWW.site.test:8080"),
    get("/site/1", 200, "/wild/1", host="a.b.site.test"),
    get("/site/1", 200, "/any/1", host="site.test"),
    get("/site/1", 200, "/any/1"),
    get("/vllm/1", 200, "/1", host="www.site.test"),
    # answers of their own
    get("/robots.txt"),
    Case("HEAD", "/robots.txt", 200),
    get("/marks"),
    get("/nothing.txt"),
    get("/gone/x", 410),
    get("/moved/a/b?x=1", 301),
    get("/moved", 301),
    get("/away/x?secret=1", 307),
    get("/blog/2024", 302),
    get("/blog/x", 404),
    *(get(f"{path}{query}", 302) for path in ("/asked/24",) for query in ("", "?x=1&y")),
    *(get(f"{path}{query}", 307) for path in ("/first", "/alone") for query in ("", "?x=1&y")),
    # fields
    get("/fields/1", 200, "/1", "Cookie: a=b", "X-Site: mine"),
    get("/fields/answer?X-Powered-By=them&X-Removed=1&X-Frame-Options=DENY", 200, None),
    get("/vllm/1", 200, "/1", "X-Forwarded-For: 10.1.1.1", "X-Real-IP: 10.1.1.1", "X-Forwarded-Proto: https"),
    get("/vllm/1", 200, "/1", "X-Forwarded-Host: evil", "X-Forwarded-Prefix: /evil", "Forwarded: for=1.1.1.1"),
    get("/vllm/1", 200, "/1", "X-Request-ID: mine", "X-Consumer-Username: root", "TE: trailers"),
    get("/vllm/1", 200, "/1", "X-Remote-User: root", "Proxy: evil", "X-Original-URL: /admin", "X-Auth-Request-User: x"),
    get("/users/list/1", 200, "/1", "Authorization: Bearer x"),
    get("/fields", 307, None, PAGE),
    get("/fields", 200, "/"),
    # what a service says of itself
    get("/vllm/answer?status=302&Location=/login", 302),
    get("/vllm/answer?status=302&Location=/vllm/login", 302),
    get("/vllm/answer?status=302&Location=login", 302),
    get("/vllm/answer?status=302&Location=https://pay.example/now", 302),
    get("/vllm/answer?status=302&Location=//pay.example/now", 302),
    get("/service/answer?status=302&Location=/api/service/login", 302),
    get("/vllm/answer?Set-Cookie=a%3Db;Path%3D/", 200),
    get("/vllm/answer?Set-Cookie=a%3Db;Path%3D/x", 200),
    get("/vllm/answer?status=404", 404),
    get("/vllm/answer?status=500", 500),
    get("/vllm/answer?status=503&Retry-After=7", 503),
    # how much, and who
    Case("POST", "/small/1", 200, "/1", size=10),
    Case("POST", "/small/1", 413, size=11),
    get("/net/1", 403),
    get("/own-net/1", 200, "/1"),
    get("/said-net", 403),
    get("/said-net", 403, host="a.site.test"),
    get("/admitted", 200, host="a.site.test"),
    get("/admitted"),
    get("/later/1", 503),
    # CORS
    get("/cors/1", 200, "/1"),
    get("/cors/1", 200, "/1", ORIGIN),
    get("/cors/1", 200, "/1", "Origin: https://a.b.test.example"),
    get("/cors/1", 200, "/1", ELSEWHERE),
    get("/cors/answer?Access-Control-Allow-Origin=x&Vary=Cookie", 200, None, ORIGIN),
    Case("OPTIONS", "/cors/1", 204, None, (ORIGIN, ASKS, "Access-Control-Request-Headers: X-One, X-Two")),
    Case("OPTIONS", "/cors/1", 403, None, (ELSEWHERE, ASKS)),
    Case("OPTIONS", "/cors/1", 405, None, (ORIGIN, "Access-Control-Request-Method: DELETE")),
    Case("OPTIONS", "/cors/1", 405),
    get("/cors-any/1", 200, "/1"),
    get("/cors-any/1", 200, "/1", ORIGIN),
    Case("OPTIONS", "/cors-any/1", 204, None, (ELSEWHERE, ASKS, "Access-Control-Request-Headers: X-One")),
    # shares
    get("/shared/1", 200, "/1"),
    get("/shared/1", 200, "/1", "X-Side: deep"),
    # tokens
    get("/token/1", 401),
    get("/token/1", 200, "/1", bearer(token())),
    get("/token/1", 200, "/1", bearer(token(sub="Zoe", aud="other"))),
    get("/token/1", 200, "/1", bearer(token()).replace("Bearer", "bearer")),
    get("/token/1", 401, None, bearer(token(secret=SECRET[::-1]))),
    get("/token/1", 401, None, bearer(token(algorithm="HS512"))),
    get("/token/1", 401, None, bearer(token(exp=1))),
    get("/token/1", 401, None, bearer(token(exp="9999999999"))),
    get("/token/1", 401, None, bearer(token(nbf=time.time() + 3600))),
    get("/token/1", 401, None, bearer(token(iat=time.time() + 3600))),
    get("/token/1", 401, None, bearer(by_rsa())),
    get("/token/1", 401, None, bearer(jwt.encode({"sub": "alice"}, "", "none"))),
    get("/token/1", 401, None, bearer(token()[:-4])),
    get("/token/1", 401, None, bearer("nothing")),
    get("/token/1", 401, None, "Authorization: Basic YTpi"),
    get("/token/1", 200, "/1", bearer(token()), "X-Consumer-Username: root", "X-Consumer-Scopes: all"),
    get("/claims/1", 200, "/1", bearer(token(iss="https://id.example", aud="api"))),
    get("/claims/1", 200, "/1", bearer(token(iss="https://id.example", aud=["else", "api"]))),
    get("/claims/1", 401, None, bearer(token(iss="https://id.example"))),
    get("/claims/1", 401, None, bearer(token(iss="https://id.example", aud="apis"))),
    get("/claims/1", 401, None, bearer(token(iss="https://id.example.evil", aud="api"))),
    get("/claims/1", 401, None, bearer(token(aud="api"))),
    get("/signed/1", 200, "/1", bearer(by_rsa())),
    get("/signed/1", 401, None, bearer(by_rsa(exp=1))),
    get("/signed/1", 401, None, bearer(token())),
    get("/signed/1", 401),
    # keys
    get("/keyed/1", 401),
    get("/keyed/1", 200, "/1", key("open-sesame")),
    get("/keyed/1", 200, "/1", key("abracadabra")),
    get("/keyed/1", 401, None, key("Open-Sesame")),
    get("/keyed/1", 401, None, key("open-sesame "), key("open-sesame")),
    get("/keyed/1", 401, None, key("")),
    get("/keyed/1?X-API-Key=open-sesame", 401),
    get("/keyed-query/1?a=b&key=open-sesame", 200, "/1?a=b"),
    get("/keyed-query/1?key=open-sesame", 200, "/1"),
    get("/keyed-query/1?key=wrong", 401),
    get("/keyed-query/1", 401, None, key("open-sesame")),
    # a cache
    get("/cached/1", 200, "/1"),
    again("/cached/answer?Cache-Control=max-age%3D60", "/answer?Cache-Control=max-age%3D60"),
    again("/cached/answer?Cache-Control=no-store", "/answer?Cache-Control=no-store"),
    again("/cached/answer?Cache-Control=private", "/answer?Cache-Control=private"),
    again("/cached/answer?Cache-Control=max-age%3D60&x=2", "/answer?Cache-Control=max-age%3D60&x=2"),
    again(
        "/cached/answer?Cache-Control=max-age%3D61", "/answer?Cache-Control=max-age%3D61", "Authorization: Basic YTpi"
    ),
    again("/cached/answer?Cache-Control=max-age%3D60&Vary=X-Turn", "/answer?Cache-Control=max-age%3D60&Vary=X-Turn"),
    again("/cached-always/1", "/1"),
    # what requests are refused for
    get("/denied/1", 200, "/1"),
    get("/denied/1", 403, None, "User-Agent: BadBot/1.0"),
    Case("DELETE", "/denied/1", 403),
    Case("HEAD", "/denied/secret/x", 403),
    get("/denied/%73ecret/x", 403),
    get("/denied/secrets", 200, "/secrets"),
    get("/denied/1?debug", 403),
    get("/denied/1?x=1&%64ebug=2", 403),
    get("/denied/1?debugger", 200, "/1?debugger"),
    get("/denied/1?mode=a+b", 403),
    get("/denied/1?mode=a%20b&x", 403),
    get("/denied/1?mode=ab", 200, "/1?mode=ab"),
    get("/denied/7/old", 403),
    get("/denied/%37/old", 403),
    Case("POST", "/denied/1", 403, None, ("Content-Type: text/XML; charset=utf-8",), size=3),
    # a service that decides
    get("/passes/1", 200, "/1", "Cookie: a=b", "X-User: root", "X-Consumer-Username: root"),
    get("/passes-named/1", 200, "/1", "Authorization: Basic x"),
    get("/passes/1", 403, None, "User-Agent: BadBot/1.0"),
    get("/fails/1", 401),
    get("/fails-elsewhere/1", 302),
    get("/fails-hidden/1", 404),
    # compression
    get("/small-again/1", 200, "/1", "Accept-Encoding: gzip"),
    get("/packed/1", 200, "/1"),
    # where tokens are
    get("/shown/1?a=b&token=" + token(), 200, "/1?a=b"),
    get("/shown/1?%74oken=" + token(), 200, "/1"),
    get("/shown/1", 200, "/1", "Cookie: x=y; access_token=" + token()),
    get("/shown/1", 200, "/1", bearer(token())),
    get("/shown/1?token=" + token(), 401, None, bearer(token())),
    get(f"/shown/1?token={token()}&token={token()}", 401),
    get("/shown/1", 401, None, f"Cookie: access_token={token()}; access_token={token()}"),
    get("/shown/1?token=x", 401),
    get("/maybe-known/1", 200, "/1"),
    get("/maybe-known/1", 200, "/1", bearer(token())),
    get("/maybe-known/1", 200, "/1", key("open-sesame")),
    get("/maybe-known/1", 401, None, key("wrong")),
    get("/maybe-known/1", 401, None, bearer("wrong"), key("open-sesame")),
    # what somebody may do
    get("/reading/1", 200, "/1", bearer(token(scope="other read"))),
    get("/reading/1", 403, None, bearer(token(scope="reads"))),
    Case("POST", "/reading/1", 403, None, (bearer(token(scope="read")),), size=1),
    Case("POST", "/reading/1", 200, "/1", (bearer(token(scope="read admin")),), size=1),
    get("/reading/1", 401),
    get("/staff/1", 200, "/1", bearer(token(realm={"roles": ["clerk"]}, tenant="a", seen=0))),
    get("/staff/1", 200, "/1", bearer(token(realm={"roles": "boss"}, tenant=[1, 7], banned=False, seen="x"))),
    get("/staff/1", 403, None, bearer(token(realm={"roles": ["clerk"]}, tenant="7", seen=1))),
    get("/staff/1", 403, None, bearer(token(realm={"roles": ["guest"]}, tenant="a", seen=1))),
    get("/staff/1", 403, None, bearer(token(realm={"roles": ["clerk"]}, tenant="a", seen=1, banned=True))),
    get("/staff/1", 403, None, bearer(token(realm={"roles": ["clerk"]}, tenant="a"))),
    get("/staff/1", 403, None, bearer(token(realm=["roles"], tenant="a", seen=1))),
    get("/not-for/1", 200, "/1", key("open-sesame")),
    Case("DELETE", "/not-for/1", 403, None, (key("open-sesame"),)),
    Case("DELETE", "/not-for/1", 200, "/1", (key("abracadabra"),)),
    get("/allowed-answer", 401),
    get("/allowed-answer", 200, None, key("open-sesame")),
    # how much, where conditions choose
    Case("POST", "/sized/1", 200, "/1", size=10),
    Case("POST", "/sized/1", 413, size=11),
    Case("PUT", "/sized/1", 200, "/1", size=11 << 20),
    Case("PATCH", "/sized/1", 200, "/1", size=11),
)

HARD: Final = (
    # keys of every kind
    *(get("/keys/1", 200, "/1", bearer(by(algorithm))) for algorithm in KEYS),
    *(get("/keys/1", 401, None, bearer(altered(by(algorithm)))) for algorithm in KEYS),
    get("/keys/1", 401, None, bearer(token())),
    get("/keys/1", 401, None, bearer(forged())),
    get("/keys/1", 401, None, bearer(by("RS256", kid="ES256"))),
    get("/keys/1", 401, None, bearer(by("RS256", typ="secevent+jwt"))),
    get("/keys/1", 401, None, bearer(by("RS256", crit=["exp"]))),
    get("/issued/1", 200, "/1", bearer(by("ES256", iss="https://one.example", aud="b"))),
    get("/issued/1", 401, None, bearer(by("ES256", iss="https://one.example", aud="c"))),
    get("/issued/1", 401, None, bearer(by("RS256", iss="https://one.example", aud="b"))),
    get("/issued/1", 200, "/1", bearer(by_rsa(iss="https://two.example"))),
    get("/issued/1", 401, None, bearer(jwt.encode({"iss": "https://two.example"}, RSA, "RS256"))),
    get("/issued/1", 401, None, bearer(by_rsa(iss="https://three.example"))),
    get("/issued/1", 401, None, bearer(by_rsa())),
    # what a name may be
    get("/token/1", 200, "/1", bearer(token(username="Jos\u00e9 %", scope="a \u00e9"))),
    get("/token/1", 200, "/1", bearer(token(sub="", scopes=["a", "b"]))),
    get("/token/1", 401, None, bearer(token(sub="a\r\nX-Evil: 1"))),
    get("/token/1", 401, None, bearer(token(sub="a\u2028"))),
    get("/token/1", 401, None, bearer(token(username=7))),
    get("/token/1", 401, None, bearer(token(scope=["a b"]))),
    get("/token/1", 401, None, bearer(token(scope={"a": "b"}))),
    get("/token/1", 401, None, bearer(token(exp=True))),
    get("/token/1", 401, None, bearer(token(exp=-1))),
    get("/token/1", 401, None, bearer(token() + "=")),
    get("/token/1", 401, None, bearer(token(filler="x" * 9000))),
    # what a path has in it
    get("/dotted/a.x", 403),
    get("/dotted/a%0Ab.x", 403),
    get("/dotted/a%0D.x", 403),
    get("/dotted/%FF.x", 403),
    get("/dotted/%C3%A9.x", 403),
    get("/dotted//a.x", 403),
    get("/vllm//x", 200, "//x"),
    get("/hidden/x", 403),
    get("/hidden/open", 200, "/hidden/open"),
    get("/hidden/open//x", 200, "/hidden/open//x"),
    get("/hidden/open//not", 400),
    get("/hidden/open/%2Fnot", 400),
    get("/hidden/open%2Fnot", 400),
    get("/hidden/open/%6Eot", 403),
    get("/hidden/open/;/not", 400),
    get("/hidden/open/not%2F", 400),
    get("/hidden/open/%256Eot", 400),
    get("/hidden/open%5Cnot", 400),
    get("/VLLM/x", 404),
    # what a redirect puts behind a path
    *(get(f"/behind{path}{query}", 307) for path in ("", "/", "/x%20y/z") for query in ("", "?x=1&y")),
    get("/unasked/a?x=1", 307),
)
"""More of them, which are easily answered wrong: keys of every kind, odd tokens, odd paths."""

COMPARED: Final = (
    *("location", "set-cookie", "vary", "allow", "retry-after", "x-powered-by", "x-added", "x-removed", "x-why"),
    *("x-content-type-options", "x-frame-options", "referrer-policy", "x-permitted-cross-domain-policies"),
    *("access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"),
    *("access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"),
)
SEEN: Final = (
    *("host", "connection", "upgrade", "via", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"),
    *(
        "x-forwarded-prefix",
        "forwarded",
        "x-consumer-username",
        "te",
        "cookie",
        "authorization",
        "proxy",
        "origin",
        "accept",
    ),
    *("x-remote-user", "x-original-url", "x-auth-request-user", "x-real-ip"),
    *("x-site", "x-client", "x-route", "x-side", "content-length", "transfer-encoding"),
    *("x-consumer-scopes", "x-api-key", "x-turn"),
)


def service(connection: Connection) -> None:
    """Says what it got; below `/answer` it answers with the status and the fields that the query names."""
    while (asked := connection.next_request()) is not None:
        path, _, query = asked.target.partition("?")
        fields = [("Content-Type", "application/json")]
        status = "200"
        if path.endswith("/socket") and asked.get("upgrade"):
            head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            connection.send(head.encode() + described(asked, connection.backend))
            return
        if path.endswith("/answer"):
            said = parse_qsl(query)
            status = dict(said).get("status", status)
            fields += [each for each in said if each[0] != "status"]
        body = b"" if asked.method == "HEAD" else described(asked, connection.backend)
        connection.answer(body, f"{status} Said", *(f"{name}: {value}" for name, value in fields))


def configuration(url: str, directory: Path) -> dict[str, Any]:
    """The routes before a service at `url`; the files that they name are written to `directory`."""
    (directory / "key.pem").write_text(PUBLIC_PEM)
    (directory / "keys.json").write_text(json.dumps({"keys": [*map(_jwk, KEYS)]}))
    text = yaml.safe_dump(CONFIG).replace("KEY_FILE", str(directory / "key.pem")).replace("SECRET_OF_TOKENS", SECRET)
    text = text.replace("SERVICE_URL", url).replace("KEYS_FILE", str(directory / "keys.json"))
    config: dict[str, Any] = yaml.safe_load(text)
    services = {name: {**own, "url": url} for name, own in config["services"].items()}
    return {**config, "services": services}


def _jwk(name: str) -> dict[str, Any]:
    """The public key by that name."""
    key = KEYS[name].public_key()
    if name.startswith("Ed"):
        said = OKPAlgorithm.to_jwk(key, as_dict=True)
    else:
        said = (ECAlgorithm if name.startswith("E") else RSAAlgorithm).to_jwk(key, as_dict=True)
    return {**said, "kid": name}


def ask(port: int, case: Case) -> Message:
    if case.after is not None:
        ask(port, replace(case, lines=(*case.lines[:-1], case.after), after=None))
    body = None if case.size is None else b"x" * case.size
    with Wire(port) as wire:
        wire.send(request(case.method, case.target, *case.lines, host=case.host, body=body))
        return wire.receive(case.method)


def compare(case: Case, theirs: Message, ours: Message) -> None:
    """A target and Portico gave the same answer, and the same to the service."""
    for answer in (ours, theirs):
        assert answer.status == case.status, answer
        assert re.fullmatch("[0-9a-f]{32}", answer.get("x-request-id") or ""), answer
        if case.sees is not None:
            assert answer.json()["target"] == case.sees
    for name in COMPARED:
        assert _values(theirs, name) == _values(ours, name), name
    if case.sees is not None:
        assert _seen(theirs) == _seen(ours)
    elif case.status in (200, 410):
        assert theirs.all("content-type") == ours.all("content-type")
        assert "target" in theirs.body.decode() or theirs.body == ours.body


def _values(answer: Message, name: str) -> list[str]:
    """Those of a field, one by one."""
    values = answer.all(name)
    if name == "set-cookie":
        return [value.replace("; ", ";") for value in values]
    if name in ("vary", "access-control-expose-headers"):
        return sorted(part.strip() for value in values for part in value.split(","))
    return values


def _seen(answer: Message) -> dict[str, list[str]]:
    fields = [(name.lower(), value) for name, value in answer.json()["fields"]]
    return {name: [value for own, value in fields if own == name] for name in SEEN}
