"""A provider of OpenID Connect that others wrote, as a program: `python -m support.oidc_provider PORT`.

It is the package oidc-provider-mock, on Authlib. What is added: `POST /rotate`, from which on it signs with a new key
and publishes that one alone; and that tokens name their key, as those have to whose keys change (OpenID Connect Core,
section 10.1.1).
"""

from __future__ import annotations

import secrets
import sys
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # authlib.jose is deprecated, and the provider uses it
    import flask
    import oidc_provider_mock  # type: ignore[import-untyped]
    from authlib import jose  # type: ignore[import-untyped]
    from oidc_provider_mock._app import OpenIDCode  # type: ignore[import-untyped]
    from werkzeug.serving import make_server


def main(port: int) -> None:
    """Serve until a signal ends it."""
    app = oidc_provider_mock.app()
    names: dict[str, str] = {}

    def header(self: Any, client: Any) -> dict[str, str]:
        return {"alg": "RS256", **names}

    @app.post("/rotate")  # type: ignore[untyped-decorator]
    def rotate() -> tuple[str, int]:
        key = {"kid": secrets.token_hex(8)}
        flask.g.oidc_provider_mock_storage.jwk = jose.RSAKey.generate_key(options=key, is_private=True)
        names.update(key)
        return "", 204

    OpenIDCode.get_encode_header = header
    # One request at a time: none is signed by one key and named after the next.
    make_server("127.0.0.1", port, app, threaded=False).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
