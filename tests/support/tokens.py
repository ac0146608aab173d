"""JSON Web Tokens as clients show them."""

from __future__ import annotations

import time
from typing import Any

import jwt

SECRET = "a-secret-of-more-than-sixty-four-bytes-which-is-long-enough-for-hs512-too"


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": "alice", "exp": time.time() + 3600, **claims}, secret, algorithm)


def bearer(text: str) -> str:
    return f"Authorization: Bearer {text}"
