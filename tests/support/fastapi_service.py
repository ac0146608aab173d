"""A FastAPI service as FastAPI's tutorial writes one: it wants a bearer token, and checks that itself.

The tokens are those of the gateway at `ISSUER`, whose keys are where gateways publish them; `CA` signs its certificate.
"""

from __future__ import annotations

import os
import ssl
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes

ISSUER = os.environ["ISSUER"]
keys = jwt.PyJWKClient(
    f"{ISSUER}/.well-known/jwks.json", ssl_context=ssl.create_default_context(cafile=os.environ["CA"])
)
signed_in = OAuth2PasswordBearer(tokenUrl="/auth/token", refreshUrl="/auth/token", scopes={"read": "read orders"})
app = FastAPI(title="Orders")


def current_user(needed: SecurityScopes, token: Annotated[str, Depends(signed_in)]) -> str:
    try:
        claims = jwt.decode(token, keys.get_signing_key_from_jwt(token), ["ES256"], issuer=ISSUER)
    except jwt.PyJWTError:
        raise HTTPException(401, "not a good token", {"WWW-Authenticate": "Bearer"}) from None
    if not set(needed.scopes) <= set(claims["scope"].split()):
        raise HTTPException(403, "not enough scopes")
    return str(claims["sub"])


@app.get("/health")
async def health() -> str:
    return "ok"


@app.get("/users/me")
async def me(user: Annotated[str, Depends(current_user)]) -> dict[str, str]:
    return {"username": user}


@app.get("/orders")
async def orders(user: Annotated[str, Security(current_user, scopes=["read"])]) -> list[str]:
    return [f"an order of {user}"]
