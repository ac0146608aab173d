"""The authority that signs certificates: each question that it is asked, as a call that blocks until it has answered.

The `acme` package signs what is sent and keeps nonces; it is loaded with this module, where something is ordered.
"""

from __future__ import annotations

import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import requests
import urllib3
from acme import challenges, crypto_util, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from josepy.errors import DeserializationError
from josepy.json_util import field
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from portico import __version__
from portico.config import AcmeSettings
from portico.core.codings import CodingError, TooLargeError, UnknownCodingError, codings_of, decode
from portico.core.printing import printable
from portico.net.tls.causes import cause_of
from portico.net.tls.certificates import UNREADABLE
from portico.processes.control.acme.records import Account
from portico.processes.control.acme.troubles import GONE, RATE_LIMITED, UNREACHABLE, UNUSABLE, TroubleError, seconds_of

T = TypeVar("T")

_TIMEOUT: Final = 20
"""Seconds for each part of an answer to come."""
_LARGEST: Final = 1 << 20
"""Bytes of an answer."""
_NONCES: Final = 5
"""How often a question is asked again whose nonce was not accepted (RFC 8555, section 6.5)."""
_LONGEST_TEXT: Final = 600
"""Characters of what an authority says that are repeated."""
_KINDS: Final = {404: GONE, 429: RATE_LIMITED}
"""By the status of an answer."""
_CURVES: Final = {"p256": ec.SECP256R1, "p384": ec.SECP384R1}
_BITS: Final = {"rsa2048": 2048, "rsa4096": 4096}


class Identifier(msgspec.Struct):
    """A name, as the authority has it."""

    value: str = ""


class Problem(msgspec.Struct):
    """What was wrong (RFC 7807; RFC 8555, section 6.7)."""

    type: str = ""
    title: str = ""
    detail: str = ""
    identifier: Identifier | None = None
    subproblems: list[Problem] = []

    @property
    def kind(self) -> str:
        """The word behind the prefix of ACME's."""
        word = self.type.removeprefix(messages.ERROR_PREFIX)
        return word if word != self.type else UNUSABLE

    def __str__(self) -> str:
        name = f"{self.identifier.value}: " if self.identifier is not None else ""
        own = self.detail or self.title or self.kind
        text = "; ".join([name + own, *map(str, self.subproblems)])
        return printable(text[:_LONGEST_TEXT])


class OrderState(msgspec.Struct):
    """An order (RFC 8555, section 7.1.3)."""

    status: str
    authorizations: list[str] = []
    finalize: str = ""
    certificate: str = ""
    error: Problem | None = None


class Challenge(msgspec.Struct):
    """One way to prove that a name is ours (section 7.1.5)."""

    type: str
    url: str = ""
    token: str = ""
    status: str = "pending"
    error: Problem | None = None


class Authorization(msgspec.Struct):
    """Whether a name counts as ours (section 7.1.4)."""

    identifier: Identifier
    status: str
    challenges: list[Challenge] = []

    @property
    def over_http(self) -> Challenge:
        """The challenge that this gateway can answer. Raises TroubleError where there is none."""
        for each in self.challenges:
            if each.type == "http-01":
                return each
        text = f"{self.identifier.value}: the authority does not ask over HTTP (http-01)"
        raise TroubleError(UNUSABLE, text, ends_order=True)

    @property
    def words(self) -> Problem:
        """Why it is not valid."""
        found = [each.error for each in self.challenges if each.error is not None]
        return found[0] if found else Problem(detail=f"the authorization is {self.status}")


class Answered(NamedTuple):
    """An order, and the seconds that the authority asks one to wait before the next question, if it does."""

    order: OrderState
    retry_after: float | None


class _NewOrder(messages.NewOrder):
    replaces: str | None = field("replaces", omitempty=True)
    """The certificate that is renewed (RFC 9773, section 5): it does not count towards limits."""


class Authority:
    """A directory, and the account there. All of it raises TroubleError, and blocks for a minute at most."""

    def __init__(self, settings: AcmeSettings, account: Account) -> None:
        """Reads the directory."""
        self._settings = settings
        key = load_pem_private_key(account.key.encode(), password=None)
        self._key = JWKEC(key=key)
        self._net = ClientNetwork(self._key, alg=ES256, user_agent=f"portico/{__version__}", timeout=_TIMEOUT)
        if settings.ca_file is not None:
            self._net.verify_ssl = str(settings.ca_file)  # type: ignore[assignment] # requests takes a path, too
        self._last: requests.Response | None = None
        self._net.session.hooks["response"].append(self._note)
        directory = self._translated(lambda: ClientV2.get_directory(settings.directory, self._net))
        self._client = ClientV2(directory, self._net)
        if account.url:
            self._use(account.url)

    def close(self) -> None:
        """Close its connections."""
        self._net.session.close()

    def register(self) -> str:
        """The URL of the account for this key, which is there from now on (section 7.3)."""
        binding = None
        eab = self._settings.eab
        meta = self._client.directory.meta
        if eab is not None:
            binding = messages.ExternalAccountBinding.from_data(
                self._key.public_key(), eab.key_id, eab.hmac_key.get_secret_value(), self._client.directory
            )
        elif meta.external_account_required:
            raise TroubleError(
                "externalAccountRequired", "the authority wants accounts of its own customers: write eab"
            )
        wanted = messages.NewRegistration.from_data(
            email=self._settings.email, external_account_binding=binding, terms_of_service_agreed=True
        )
        try:
            url: str = self._asked(lambda: self._client.new_account(wanted)).uri
        except _ThereAlreadyError as there:
            url = there.where
        self._use(url)
        return url

    def order(self, names: Sequence[str], replaced: str = "") -> tuple[str, OrderState]:
        """Begin an order; its URL. `replaced` is the certificate in PEM that it renews."""
        identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names]
        common = {"identifiers": identifiers, "profile": self._settings.profile or ""}
        replaces = _replaces(replaced) if "renewalInfo" in self._client.directory.to_partial_json() else None
        where = self._client.directory["newOrder"]
        try:
            response = self._posted(where, _NewOrder(replaces=replaces, **common))
        except _ThereAlreadyError:  # somebody has renewed it already
            response = self._posted(where, _NewOrder(**common))
        url = response.headers.get("Location")
        if not url:
            raise TroubleError(UNUSABLE, "the authority does not say where the order is")
        return url, _read(response, OrderState)

    def look(self, url: str) -> Answered:
        """An order as it is now."""
        response = self._posted(url)
        return Answered(_read(response, OrderState), seconds_of(response.headers.get("Retry-After")))

    def authorization(self, url: str) -> Authorization:
        """One of an order."""
        return _read(self._posted(url), Authorization)

    def answer(self, token: str) -> str:
        """What the authority has to get for a token (section 8.1)."""
        try:
            challenge: Any = challenges.HTTP01.from_json({"type": "http-01", "token": token})
            answer: str = challenge.key_authorization(self._key)
        except (DeserializationError, ValueError):
            raise TroubleError(UNUSABLE, "the authority sent a token that is none", ends_order=True) from None
        return answer

    def prove(self, challenge: Challenge) -> None:
        """Have the authority ask (section 7.5.1)."""
        self._posted(challenge.url, challenges.HTTP01Response())

    def finalize(self, order: OrderState, key: str, names: Sequence[str]) -> Answered:
        """Ask for the certificate (section 7.4)."""
        csr = crypto_util.make_csr(key.encode(), list(names))
        response = self._posted(order.finalize, messages.CertificateRequest(csr=x509.load_pem_x509_csr(csr)))
        return Answered(_read(response, OrderState), seconds_of(response.headers.get("Retry-After")))

    def chain(self, order: OrderState, key: str, names: Sequence[str]) -> str:
        """The certificate with its chain, in PEM, once it is known to be what was asked for."""
        text: str = self._posted(order.certificate).text
        try:
            certificate = x509.load_pem_x509_certificates(text.encode())[0]
            alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (*UNREADABLE, x509.ExtensionNotFound):
            raise TroubleError(UNUSABLE, "what the authority sent is no certificate", ends_order=True) from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        own = load_pem_private_key(key.encode(), password=None).public_key()
        if certificate.public_key().public_bytes(*form) != own.public_bytes(*form):
            raise TroubleError(UNUSABLE, "the authority signed another key than ours", ends_order=True)
        if missing := {*names} - {*alternatives.get_values_for_type(x509.DNSName)}:
            raise TroubleError(UNUSABLE, f"the certificate is not for {', '.join(sorted(missing))}", ends_order=True)
        return text

    def renewal(self, chain: str) -> tuple[float | None, float]:
        """When the authority suggests to renew a certificate, if it does, and when to ask again (RFC 9773)."""
        try:
            suggested, again = self._client.renewal_time(chain.encode())
        except errors.ARIError as error:
            return None, error.retry_after.timestamp()
        except (*UNREADABLE, x509.ExtensionNotFound, DeserializationError, AttributeError, TypeError):
            return None, time.time() + 86400
        return (None if suggested is None else suggested.timestamp()), again.timestamp()

    # ---- asking

    def _use(self, url: str) -> None:
        self._net.account = messages.RegistrationResource(body=messages.Registration(), uri=url)

    def _note(self, response: requests.Response, *_: object, **__: object) -> None:
        """Read the body here: the library would take one without an end, or one that is decoded to many times its size.

        Raises requests.RequestException.
        """
        self._last = response
        try:
            body = response.raw.read(_LARGEST + 1, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from None
        codings = codings_of(response.headers.get("Content-Encoding", "").encode().split(b","))
        try:
            if len(body) > _LARGEST:
                raise TooLargeError
            response._content = decode(body, codings, _LARGEST)  # where it looks for what was read
        except TooLargeError:
            response.close()
            raise requests.exceptions.ContentDecodingError(f"it sends more than {_LARGEST} bytes") from None
        except (CodingError, UnknownCodingError):
            raise requests.exceptions.ContentDecodingError("it sends a body whose coding cannot be undone") from None

    def _posted(self, url: str, body: object = None) -> requests.Response:
        nonces = self._client.directory["newNonce"]
        response: requests.Response = self._asked(lambda: self._net.post(url, body, new_nonce_url=nonces))
        return response

    def _asked(self, question: Callable[[], T]) -> T:
        """What the authority answers. It is asked again where it does not accept the nonce."""
        for _ in range(_NONCES):
            try:
                return self._translated(question)
            except TroubleError as trouble:
                if trouble.kind != "badNonce":
                    raise
        return self._translated(question)

    def _translated(self, question: Callable[[], T]) -> T:
        self._last = None
        try:
            return question()
        except errors.ConflictError as error:
            raise _ThereAlreadyError(str(error.location)) from None
        except messages.Error as error:
            problem = msgspec.convert(error.to_json(), Problem, strict=False)
            kind = problem.kind if problem.type.startswith(messages.ERROR_PREFIX) else self._kind()
            raise TroubleError(kind, str(problem), self._retry_after()) from None
        except requests.RequestException as error:
            raise TroubleError(UNREACHABLE, f"{self._settings.directory}: {_cause(error)}") from None
        except (errors.Error, DeserializationError, msgspec.DecodeError, ValueError) as error:
            status = self._last.status_code if self._last is not None else 0
            what = f"answers {status}" if status >= 400 else f"sends what is no ACME: {_short(error)}"
            text = f"{self._settings.directory} {what}"
            raise TroubleError(self._kind(), text, self._retry_after()) from None

    def _kind(self) -> str:
        """The kind of a refusal that does not say so."""
        return _KINDS.get(self._last.status_code, UNREACHABLE) if self._last is not None else UNREACHABLE

    def _retry_after(self) -> float | None:
        return seconds_of(self._last.headers.get("Retry-After")) if self._last is not None else None


class _ThereAlreadyError(Exception):
    """What was to be made is there."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


def new_account_key() -> str:
    """The key of an account, in PEM."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def new_key(kind: str) -> str:
    """The key of a certificate, in PEM."""
    if kind in _BITS:
        return _pem(rsa.generate_private_key(public_exponent=65537, key_size=_BITS[kind]))
    return _pem(ec.generate_private_key(_CURVES[kind]()))


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _replaces(chain: str) -> str | None:
    """What RFC 9773, section 4.1, calls a certificate; None for one without the key of its authority."""
    if not chain:
        return None
    certificate = x509.load_pem_x509_certificate(chain.encode())
    try:
        by = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (*UNREADABLE, x509.ExtensionNotFound):
        return None
    number = certificate.serial_number
    parts = by or b"", number.to_bytes(number.bit_length() // 8 + 1)  # with the bit of the sign, as in DER
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _read(response: requests.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise TroubleError(UNREACHABLE, f"the authority sent what is no ACME: {error}") from None


def _short(error: Exception) -> str:
    return printable(str(error)[:_LONGEST_TEXT]) or type(error).__name__


def _cause(error: requests.RequestException) -> str:
    """What was wrong, without the objects that requests and urllib3 wrap around it."""
    cause: Any = error
    while inner := getattr(cause, "reason", None) or (cause.args[0] if cause.args else None):
        if not isinstance(inner, Exception):
            break
        cause = inner
    if isinstance(cause, ssl.SSLError):
        return cause_of(cause)
    if isinstance(error, requests.Timeout):
        return f"it has not answered within {_TIMEOUT} s"
    return _short(cause).rpartition(": ")[2]
