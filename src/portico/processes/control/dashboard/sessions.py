"""Who is signed in: a signed cookie that needs no memory, and the CSRF token of its pages.

The cookie is signed with a key made of the admin token that was shown: it outlasts restarts, is good at every gateway
with that token, and ends with the token. Its name is made of that key too, since browsers keep cookies apart by path
but not by port: two gateways behind one host name, by SSH tunnels for example, leave each other signed in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portico.config.admin import LOCAL, Caller, Callers, find_caller

LIFE: Final = 12 * 3600
"""Seconds that a sign-in lasts."""
_ENDED_AT_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in: whose it is, the admin token for requests to the admin API, and the token of its forms."""

    id: str
    caller: Caller
    token: bytes | None
    csrf: str


class Sessions:
    """Makes and reads cookies. Those that were signed out are remembered until they would have ended."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._ended: dict[str, float] = {}

    def local(self) -> Session:
        """That of whoever comes where no admin token is configured."""
        return Session(LOCAL, Caller(LOCAL), None, self.anonymous())

    def anonymous(self) -> str:
        """The CSRF token of pages without a sign-in."""
        return _mac(self._secret, "form", "")

    def begin(self, callers: Callers, shown: str) -> str | None:
        """`NAME=VALUE` of the cookie for who shows an admin token; None where it is none."""
        token = shown.encode("utf-8", "surrogatepass")
        if find_caller(callers, token) is None:
            return None
        key = _key(token)
        session_id = f"{int(time.time())}.{secrets.token_hex(12)}"
        return f"{_cookie_name(key)}={session_id}.{_mac(key, 'session', session_id)}"

    def find(self, callers: Callers, cookies: Mapping[str, str]) -> Session | None:
        """The session of a request's cookies."""
        for token, caller in callers:
            key = _key(token)
            session_id, _, mac = cookies.get(_cookie_name(key), "").rpartition(".")
            if hmac.compare_digest(mac.encode(), _mac(key, "session", session_id).encode()) and self._lasts(session_id):
                return Session(session_id, caller, token, _mac(key, "form", session_id))
        return None

    def end(self, session: Session) -> str | None:
        """Sign out; the cookie's name, if there is one."""
        if session.token is None:
            return None
        now = time.time()
        self._ended = {each: end for each, end in self._ended.items() if end > now}
        if len(self._ended) < _ENDED_AT_MOST:
            self._ended[session.id] = now + LIFE
        return _cookie_name(_key(session.token))

    def _lasts(self, session_id: str) -> bool:
        began = session_id.partition(".")[0]
        return began.isdecimal() and time.time() - LIFE < int(began) and session_id not in self._ended


def is_right(shown: str, csrf: str) -> bool:
    """Whether a form has the CSRF token of its session."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), csrf.encode())


def _key(token: bytes) -> bytes:
    return hashlib.sha256(b"portico dashboard\0" + token).digest()


def _cookie_name(key: bytes) -> str:
    return "portico_" + _mac(key, "name", "")[:8]


def _mac(key: bytes, purpose: str, text: str) -> str:
    return hmac.new(key, f"{purpose}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
