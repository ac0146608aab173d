"""Identities as the gateway makes them, and as an attacker would."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

KEY = "an identity key of the tests: thirty-two bytes and more"
OTHER_KEY = "another identity key that the service does not know"
HEADER = {"alg": "HS256", "typ": "portico-identity+jwt"}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(key: str = KEY, header: Any = HEADER, **changes: Any) -> bytes:
    """An identity for GET /me of orders, with some claims changed; those that are None are left out."""
    now = int(time.time())
    claims = {
        "iss": "portico",
        "aud": "orders",
        "sub": "alice",
        "scope": "orders:read orders:list",
        "method": "GET",
        "target": "/me",
        "request_id": "r1",
        "jti": "j1",
        "iat": now,
        "exp": now + 30,
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    parts = [encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, kept)]
    signed = ".".join(parts)
    return f"{signed}.{encoded(hmac.digest(key.encode(), signed.encode(), 'sha256'))}".encode()
