"""Swagger UI, whose files are all here: a page that describes the API beside it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

_READS: Final = ["GET", "HEAD"]
_FILES: Final = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon.png": "image/png"}
_START: Final = """\
"use strict";
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  validatorUrl: null,
  oauth2RedirectUrl: new URL("docs/oauth2-redirect.html", document.baseURI).href,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/favicon.png?v={v}">
<link rel="stylesheet" href="docs/swagger-ui.css?v={v}">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js?v={v}"></script>
<script src="docs/start.js?v={v}"></script>
</body>
</html>
"""
_POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' data:; "
    "connect-src {origins}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""All that the page is made of is a file of the gateway's; images may be in the style sheet."""
FIELDS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""What all of its answers have."""


def swagger_page(title: str, origins: Sequence[str] = ("'self'",)) -> Response:
    """The page at a path that ends with `docs`, for the `openapi.json` beside it; all addresses in it are relative.

    It may send requests to these origins.
    """
    text = _PAGE.format(title=html.escape(title), v=_version())
    policy = _POLICY.format(scripts="'self'", origins=" ".join(origins))
    return HTMLResponse(text, headers={**FIELDS, "Content-Security-Policy": policy, "Cache-Control": "no-cache"})


def swagger_files(path: str) -> APIRouter:
    """What the page at this path loads, below it."""
    app = APIRouter(include_in_schema=False)

    @app.api_route(f"{path}/start.js", methods=_READS)
    async def start() -> Response:
        """What starts it."""
        return Response(_START, media_type="text/javascript", headers=FIELDS)

    @app.api_route(f"{path}/{{name}}", methods=_READS)
    async def file(name: str) -> Response:
        """The files of Swagger UI. Their addresses change with their version."""
        if name not in _FILES:
            raise HTTPException(404)
        where = str(files("fastapi_offline").joinpath("static", name))
        fields = {**FIELDS, "Cache-Control": "public, max-age=31536000, immutable"}
        return FileResponse(where, media_type=_FILES[name], headers=fields)

    return app


@cache
def _version() -> str:
    return version("fastapi-offline")
