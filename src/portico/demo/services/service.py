"""What the samples share as services: health, right links behind a gateway and, on demand, more of `portico.client`.

With IDENTITY_KEYS `/api/whoami` returns the user; with PORTICO_REGISTER they register (`portico.client.register` says
where).
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from portico.client import BehindGateway, User, current_user, register, trust_gateway


class Health(BaseModel):
    """The response to a health check."""

    status: Literal["healthy"] = "healthy"
    service: str


def sample_service(name: str, title: str, description: str) -> FastAPI:
    """A service with `/docs`, `/health` and `/api/health`, to which a sample adds its own endpoints."""
    app = FastAPI(title=title, description=description, version="1.0.0", redirect_slashes=False)
    app.add_middleware(BehindGateway)

    @app.get("/health", tags=["health"])
    @app.get("/api/health", tags=["health"])
    async def health() -> Health:
        """Whether the service can answer."""
        return Health(service=name)

    if os.environ.get("IDENTITY_KEYS"):
        trust_gateway(app, name)
        app.get("/api/whoami", tags=["identity"])(_whoami)
    if os.environ.get("PORTICO_REGISTER"):
        register(app, name=name)
    return app


async def _whoami(user: Annotated[User, Depends(current_user)]) -> dict[str, Any]:
    """The user, as identified by the gateway."""
    return {"name": user.name, "scopes": sorted(user.scopes)}
