"""What a client that has no token is told, so that it finds who issues some: metadata of the resource (RFC 9728)."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Sequence
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import Settings
from portico.policies.auth.keys import PUBLIC
from portico.policies.consumer_fields import ScopeName
from portico.policies.policy import Pending, Policy

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_SCHEMES: Final = (b"WWW-Authenticate: Bearer ", b"WWW-Authenticate: DPoP ")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]*)*")


def _resource(text: str) -> str:
    parts = urlsplit(text)
    address = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None or address != text:
        raise ValueError("expected the address that clients use, without a query, such as https://gw.example/api/mcp")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("its path may have letters, digits, and the signs / . _ ~ -")
    return text


def _server(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected an issuer's address such as https://id.example")
    return text


class ResourceSettings(Settings):
    """What is said of a route at its well-known address, to whoever has no token for it.

    `url` is its address as clients use it, to the letter. `authorization_servers` issue tokens for it: without any,
    those that `jwt` names. `scopes` are those that a client may ask for; `name` and `documentation` are for people.
    """

    url: Annotated[str, AfterValidator(_resource)]
    """The address as clients use it, to the letter: they compare it, and ask for a token for it (RFC 8707), whose
    `audience` it usually is.
    """
    authorization_servers: Annotated[list[Annotated[str, AfterValidator(_server)]], Field(max_length=100)] = []
    """Who issues tokens for it."""
    scopes: list[ScopeName] = []
    """Scopes that a client may ask for."""
    name: str | None = None
    """What people call it."""
    documentation: str | None = None
    """A page about it for people."""

    @property
    def path(self) -> str:
        """The path of its metadata: the well-known one is put in front (RFC 9728, section 3.1)."""
        path = urlsplit(self.url).path
        return WELL_KNOWN + (path if path != "/" else "")

    @property
    def origin(self) -> str:
        """Its scheme and host."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def metadata(self) -> str:
        """The address of its metadata."""
        return self.origin + self.path

    def document(self, issuers: Sequence[str]) -> bytes:
        """Its metadata, as JSON text (RFC 9728, section 2); `issuers` are those that are named elsewhere."""
        said = {
            "resource": self.url,
            "authorization_servers": self.authorization_servers or list(issuers),
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": PUBLIC,
            "scopes_supported": self.scopes,
            "resource_name": self.name,
            "resource_documentation": self.documentation,
        }
        return json.dumps({name: value for name, value in said.items() if value}).encode()


def with_metadata(challenge: bytes, settings: ResourceSettings | None) -> bytes:
    """A challenge for bearer tokens that says where the metadata is (RFC 9728, section 5.1); others as they are."""
    if settings is None or not challenge.startswith(_SCHEMES):
        return challenge
    return b'%b, resource_metadata="%b"' % (challenge, settings.metadata.encode())


def pointing(policy: Policy, settings: ResourceSettings | None, absent: Answer | None) -> Policy:
    """A method for bearer tokens whose refusals say where the metadata is; `absent`, which is not its own, stays."""
    if settings is None:
        return policy

    def auth(exchange: Exchange) -> Answer | Pending | Awaitable[Answer | None] | None:
        verdict = policy(exchange)
        if verdict is None or verdict is absent or isinstance(verdict, Pending):
            return verdict
        return pointed(verdict) if isinstance(verdict, Answer) else later(verdict)

    async def later(verdict: Awaitable[Answer | None]) -> Answer | None:
        settled = await verdict
        return None if settled is None else pointed(settled)

    def pointed(answer: Answer) -> Answer:
        if not isinstance(answer, Refusal) or answer.status != 401:
            return answer
        lines = [with_metadata(line, settings) for line in answer.lines]
        return Refusal(str(answer.reason), answer.detail, lines)

    return auth
