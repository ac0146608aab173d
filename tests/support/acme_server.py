"""An authority that speaks ACME as RFC 8555 has it, and is strict about it: for tests, on a port of the loopback.

It asks for proofs over real connections, at `asks_at`, whatever the names are. What a client does that the RFC forbids
is refused and stays in `violations`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .authority import Authority, Leaf
from .redis_servers import free_port

_PREFIX = "urn:ietf:params:acme:error:"


class RefusedError(Exception):
    """A problem document instead of what was asked for."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Reply(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str] = {}


@dataclass
class Account:
    url: str
    jwk: dict[str, str]
    contact: list[str]


@dataclass
class Proof:
    """An authorization with its challenges."""

    url: str
    name: str
    owner: Account
    tokens: dict[str, str]
    status: str = "pending"
    asked: bool = False
    error: dict[str, Any] | None = None

    def shown(self, base: str) -> dict[str, Any]:
        challenges = []
        for kind, token in self.tokens.items():
            own: dict[str, Any] = {
                "type": kind,
                "url": f"{base}/challenge/{token}",
                "token": token,
                "status": "pending",
            }
            if kind == "http-01":
                own["status"] = "processing" if self.asked and self.status == "pending" else self.status
                if self.error:
                    own["error"] = self.error
            challenges.append(own)
        shown = [each for each in challenges if self.status != "valid" or each["type"] == "http-01"]
        return {"identifier": {"type": "dns", "value": self.name}, "status": self.status, "challenges": shown}


@dataclass
class Order:
    url: str
    owner: Account
    proofs: list[Proof]
    replaces: str | None
    profile: str | None
    finalized: float | None = None
    chain: str = ""
    error: dict[str, Any] | None = None
    begun: float = field(default_factory=time.time)


class AcmeServer:
    """What it does is in its attributes, which a test may change at any time."""

    def __init__(self, authority: Authority, leaf: Leaf) -> None:
        """`leaf` is the certificate of its own address, localhost."""
        self.authority = authority
        self._leaf = leaf
        self.port = free_port()
        self.base = f"https://localhost:{self.port}"
        self.directory = f"{self.base}/directory"
        self.asks_at: list[int] = []
        """The ports at which each name has to prove itself, at all of them: authorities ask from several places."""
        self.life = 90 * 86400.0
        self.finalize_takes = 0.0
        self.limited: str | None = None
        """The `Retry-After` with which new orders are refused."""
        self.bad_nonces = 0
        """How many requests come to hear that their nonce is none."""
        self.refuses: dict[str, tuple[str, str]] = {}
        """Kind and detail of the error that the proof of a name comes to."""
        self.eab: dict[str, bytes] = {}
        """The keys of customers; where there are some, an account has to be one's."""
        self.sent: Callable[[str], str] = str
        """What is sent in place of a chain."""
        self.suggests: tuple[float, float] | None = None
        """When certificates should be renewed (RFC 9773)."""
        self.orders: list[Order] = []
        self.attempted: list[float] = []
        """When an order was asked for, by time.time()."""
        self.accounts: dict[str, Account] = {}
        self.violations: list[str] = []
        self.asked: list[tuple[str, str]] = []
        """The resources that were asked for, with the method."""
        self._proofs: dict[str, Proof] = {}
        self._nonces: set[str] = set()
        self._turn = threading.RLock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def attempts(self) -> int:
        """How often an order was asked for."""
        return len(self.attempted)

    # ---- its life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            assert not self.violations, self.violations

    def start(self) -> None:
        """Listen."""
        acme = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def do_GET(self) -> None:
                acme.serve(self)

            def do_HEAD(self) -> None:
                acme.serve(self)

            def do_POST(self) -> None:
                acme.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", self.port), Handler)
        context = self.authority.server_context(self._leaf)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    # ---- requests

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        size = int(handler.headers.get("Content-Length", 0))
        body = handler.rfile.read(size)
        with self._turn:
            self.asked.append((handler.command, path))
            try:
                if not handler.headers.get("User-Agent"):
                    raise self._wrong("a client has to say what it is (section 6.1)")
                reply = self._read(handler, path) if handler.command != "POST" else self._post(handler, path, body)
            except RefusedError as error:
                problem = {"type": _PREFIX + error.kind, "detail": str(error), "status": error.status}
                reply = Reply(error.status, problem, {"Content-Type": "application/problem+json", **error.headers})
            nonce = self._new_nonce() if handler.command == "POST" or path == "/nonce" else None
        self._send(handler, reply, nonce)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply, nonce: str | None) -> None:
        content = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", "Cache-Control": "no-store", **reply.headers}.items():
            handler.send_header(name, value)
        if nonce:
            handler.send_header("Replay-Nonce", nonce)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def _wrong(self, what: str, kind: str = "malformed", status: int = 400) -> RefusedError:
        """What a client may not do."""
        self.violations.append(what)
        return RefusedError(status, kind, what)

    def _new_nonce(self) -> str:
        nonce = secrets.token_urlsafe(16)
        self._nonces.add(nonce)
        return nonce

    def _read(self, handler: BaseHTTPRequestHandler, path: str) -> Reply:
        if path == "/directory" and handler.command == "GET":
            return Reply(200, self._directory())
        if path == "/nonce":
            return Reply(200 if handler.command == "HEAD" else 204, "")
        if path.startswith("/renewal/") and self.suggests is not None:
            akid, _, serial = path.removeprefix("/renewal/").partition(".")
            if not _bytes(akid) or not _bytes(serial):
                raise self._wrong("not the name of a certificate (RFC 9773, section 4.1)")
            start, end = (
                datetime.fromtimestamp(each, UTC).isoformat().replace("+00:00", "Z") for each in self.suggests
            )
            return Reply(200, {"suggestedWindow": {"start": start, "end": end}}, {"Retry-After": "60"})
        raise self._wrong(f"{handler.command} of {path} (section 6.3)", status=405)

    def _directory(self) -> dict[str, Any]:
        names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order", "revokeCert": "r", "keyChange": "k"}
        found: dict[str, Any] = {name: f"{self.base}/{path}" for name, path in names.items()}
        found["meta"] = {"termsOfService": f"{self.base}/terms", "externalAccountRequired": bool(self.eab)}
        if self.suggests is not None:
            found["renewalInfo"] = f"{self.base}/renewal"
        return found

    def _post(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> Reply:
        if handler.headers.get("Content-Type") != "application/jose+json":
            raise self._wrong("a POST is application/jose+json (section 6.2)", status=415)
        header, payload, jwk, account = self._verified(body, self.base + path, is_new=path == "/account")
        content = json.loads(payload) if payload else None
        kind, _, rest = path.removeprefix("/").partition("/")
        if path == "/account":
            return self._account(content, jwk, header)
        assert account is not None
        if path == "/order":
            return self._new_order(content, account)
        answers: dict[str, Callable[[str, Any, Account], Reply]] = {
            "orders": self._order,
            "proofs": self._proof,
            "challenge": self._challenge,
            "finalize": self._finalize,
            "certificate": self._certificate,
        }
        if kind not in answers:
            raise RefusedError(404, "malformed", "there is no such thing")
        if kind in ("orders", "proofs", "certificate") and payload:
            raise self._wrong("what is read has an empty payload (section 6.3)")
        return answers[kind](rest, content, account)

    def _verified(
        self, body: bytes, url: str, *, is_new: bool
    ) -> tuple[dict[str, Any], bytes, dict[str, str], Account | None]:
        """Header, payload, key and account of a request whose signature is good (section 6.2)."""
        jws = json.loads(body)
        if set(jws) != {"protected", "payload", "signature"}:
            raise self._wrong("a JWS in flattened form, without an unprotected header")
        header = json.loads(_bytes(jws["protected"]))
        if header.get("alg") != "ES256":
            raise self._wrong("alg", "badSignatureAlgorithm")
        if header.get("url") != url:
            raise self._wrong(f"url is {header.get('url')} at {url} (section 6.4)", "unauthorized")
        if ("jwk" in header) == ("kid" in header) or ("jwk" in header) != is_new:
            raise self._wrong("jwk for new accounts, kid for all else")
        account = None
        if "kid" in header:
            account = next((each for each in self.accounts.values() if each.url == header["kid"]), None)
            if account is None:
                raise RefusedError(400, "accountDoesNotExist", "no such account")
        jwk = account.jwk if account is not None else header["jwk"]
        signature = _bytes(jws["signature"])
        pair = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        signed = f"{jws['protected']}.{jws['payload']}".encode()
        try:
            _public_key(jwk).verify(encode_dss_signature(*pair), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise self._wrong("the signature is wrong", "unauthorized") from None
        if header.get("nonce") not in self._nonces:
            raise self._wrong("a nonce that is none (section 6.5)", "badNonce")
        self._nonces.remove(header["nonce"])
        if self.bad_nonces:
            self.bad_nonces -= 1
            raise RefusedError(400, "badNonce", "this one is too old")
        return header, _bytes(jws["payload"]), jwk, account

    # ---- resources

    def _account(self, wanted: Any, jwk: dict[str, str], header: dict[str, Any]) -> Reply:
        name = _thumbprint(jwk)
        if (known := self.accounts.get(name)) is not None:
            return Reply(200, {"status": "valid"}, {"Location": known.url})
        if wanted.get("onlyReturnExisting"):
            raise RefusedError(400, "accountDoesNotExist", "no such account")
        if wanted.get("termsOfServiceAgreed") is not True:
            raise self._wrong("the terms of service are not agreed to")
        if self.eab:
            self._check_binding(wanted.get("externalAccountBinding"), jwk, header["url"])
        account = Account(f"{self.base}/accounts/{secrets.token_hex(4)}", jwk, wanted.get("contact", []))
        self.accounts[name] = account
        return Reply(201, {"status": "valid", "contact": account.contact}, {"Location": account.url})

    def _check_binding(self, binding: Any, jwk: dict[str, str], url: str) -> None:
        """Section 7.3.4."""
        if not binding:
            raise RefusedError(403, "externalAccountRequired", "customers only")
        header = json.loads(_bytes(binding["protected"]))
        key = self.eab.get(header.get("kid"), b"")
        signed = f"{binding['protected']}.{binding['payload']}".encode()
        good = hmac.compare_digest(hmac.digest(key, signed, "sha256"), _bytes(binding["signature"]))
        same = json.loads(_bytes(binding["payload"])) == jwk
        if not good or not same or header.get("url") != url or header.get("alg") != "HS256" or "nonce" in header:
            raise RefusedError(403, "unauthorized", "no customer signed this")

    def _new_order(self, wanted: Any, account: Account) -> Reply:
        self.attempted.append(time.time())
        if self.limited is not None:
            raise RefusedError(429, "rateLimited", "too many certificates already", Retry_After=self.limited)
        names = [each["value"] for each in wanted["identifiers"] if each["type"] == "dns"]
        if not names or len(names) != len(wanted["identifiers"]) or any("*" in name for name in names):
            raise self._wrong("identifiers")
        if wanted.get("replaces") and self.suggests is None:
            raise self._wrong("replaces, where no renewal was suggested")
        proofs = []
        for name in names:
            tokens = {kind: secrets.token_urlsafe(24) for kind in ("dns-01", "http-01", "tls-alpn-01")}
            proof = Proof(f"{self.base}/proofs/{secrets.token_hex(8)}", name, account, tokens)
            self._proofs[proof.url.rpartition("/")[2]] = proof
            proofs.append(proof)
        url = f"{self.base}/orders/{secrets.token_hex(8)}"
        order = Order(url, account, proofs, wanted.get("replaces"), wanted.get("profile"))
        self.orders.append(order)
        return Reply(201, self._shown(order), {"Location": url})

    def _find(self, name: str, account: Account) -> Order:
        order = next((each for each in self.orders if each.url.endswith(f"/{name}")), None)
        if order is None or order.owner.url != account.url:
            raise RefusedError(404, "malformed", "no such order of this account")
        return order

    def _status(self, order: Order) -> str:
        if order.error or any(proof.status == "invalid" for proof in order.proofs):
            return "invalid"
        if order.finalized is not None:
            return "valid" if time.time() >= order.finalized else "processing"
        return "ready" if all(proof.status == "valid" for proof in order.proofs) else "pending"

    def _shown(self, order: Order) -> dict[str, Any]:
        name = order.url.rpartition("/")[2]
        shown: dict[str, Any] = {
            "status": self._status(order),
            "identifiers": [{"type": "dns", "value": proof.name} for proof in order.proofs],
            "authorizations": [proof.url for proof in order.proofs],
            "finalize": f"{self.base}/finalize/{name}",
        }
        if shown["status"] == "valid":
            shown["certificate"] = f"{self.base}/certificate/{name}"
        if order.error:
            shown["error"] = order.error
        return shown

    def _order(self, name: str, _: Any, account: Account) -> Reply:
        order = self._find(name, account)
        shown = self._shown(order)
        return Reply(200, shown, {"Retry-After": "1"} if shown["status"] == "processing" else {})

    def _proof(self, name: str, _: Any, account: Account) -> Reply:
        proof = self._proofs.get(name)
        if proof is None or proof.owner.url != account.url:
            raise RefusedError(404, "malformed", "no such authorization of this account")
        return Reply(200, proof.shown(self.base))

    def _challenge(self, token: str, content: Any, account: Account) -> Reply:
        proof = next((each for each in self._proofs.values() if token in each.tokens.values()), None)
        if proof is None or proof.owner.url != account.url:
            raise RefusedError(404, "malformed", "no such challenge of this account")
        if content != {}:
            raise self._wrong("the response to a challenge is {} (section 7.5.1)")
        if proof.tokens["http-01"] != token:
            raise self._wrong("this gateway answers over HTTP")
        if proof.status == "pending" and not proof.asked:
            proof.asked = True
            threading.Thread(target=self._ask, args=(proof,), daemon=True).start()
        shown = next(each for each in proof.shown(self.base)["challenges"] if each["token"] == token)
        return Reply(200, shown, {"Link": f'<{proof.url}>;rel="up"'})

    def is_asking(self) -> bool:
        """Whether a proof is being asked for."""
        proofs = [proof for order in [*self.orders] for proof in order.proofs]
        return any(proof.asked and proof.status == "pending" for proof in proofs)

    def _ask(self, proof: Proof) -> None:
        """Fetch the proof, at every place."""
        token = proof.tokens["http-01"]
        wanted = f"{token}.{_thumbprint(proof.owner.jwk)}"
        error: tuple[str, str] | None = self.refuses.get(proof.name)
        for port in self.asks_at if error is None else ():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", f"/.well-known/acme-challenge/{token}", headers={"Host": proof.name})
                answer = connection.getresponse()
                body = answer.read().decode("latin-1").rstrip()
                connection.close()
            except OSError as failure:
                error = "connection", f"port {port}: {failure}"
                break
            if (answer.status, body) != (200, wanted):
                error = "unauthorized", f"port {port} answered {answer.status} and not the key authorization"
                break
        with self._turn:
            proof.status = "valid" if error is None else "invalid"
            if error is not None:
                proof.error = {"type": _PREFIX + error[0], "detail": error[1]}

    def _finalize(self, name: str, content: Any, account: Account) -> Reply:
        order = self._find(name, account)
        status = self._status(order)
        if status != "ready":
            raise RefusedError(403, "orderNotReady", f"the order is {status}")
        csr = x509.load_der_x509_csr(_bytes(content["csr"]))
        alternatives = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternatives.get_values_for_type(x509.DNSName)
        public = csr.public_key()
        assert isinstance(public, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey))
        if not csr.is_signature_valid or set(names) != {proof.name for proof in order.proofs}:
            raise self._wrong("the request is for other names than the order", "badCSR")
        if public == _public_key(account.jwk):
            raise self._wrong("the key of the account is none of a certificate's (section 11.1)", "badCSR")
        order.chain = self.authority.sign(public, names, self.life)
        order.finalized = time.time() + self.finalize_takes
        return Reply(200, self._shown(order), {"Location": order.url, "Retry-After": "1"})

    def _certificate(self, name: str, _: Any, account: Account) -> Reply:
        order = self._find(name, account)
        if self._status(order) != "valid":
            raise self._wrong("there is no certificate yet")
        return Reply(200, self.sent(order.chain), {"Content-Type": "application/pem-certificate-chain"})


def _bytes(text: str) -> bytes:
    """base64url, without padding (section 6.1)."""
    if "=" in text:
        raise ValueError("padding")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638."""
    members = {key: jwk[key] for key in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _public_key(jwk: dict[str, str]) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(_bytes(jwk[name]), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
