"""Signing in at an API server of Kubernetes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from portico.config import ApiServerSettings
from portico.processes.control.kubernetes.api_server import ApiError, ApiServer
from support.backend import Backend


@pytest.mark.parametrize("token", ["top\nsecret", "top\0secret", "top\x7fsecret"])
def test_a_token_that_cannot_be_sent_is_not_said(token: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token)

    async def ask(url: str) -> None:
        server = ApiServer(ApiServerSettings(url=url, token_file=file, namespace="shop"))
        async with server.session() as session:
            await session.list("shop", "orders")

    with Backend() as backend, pytest.raises(ApiError, match="the token cannot be used") as raised:
        asyncio.run(ask(backend.url))
    assert "secret" not in str(raised.value)
