"""What is said of handshakes that fail, each with a real client and a real server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from portico.net.tls.causes import cause_of, reason_of
from support.authority import Authority

NAME = "service.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def failure(client: ssl.SSLContext, serve: Callable[[bytes], bytes], name: str = NAME) -> OSError:
    """What the client's side raises; `serve` answers what it sends."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = client.wrap_bio(received, sent, server_hostname=name)
    for step in (side.do_handshake, side.do_handshake, side.read, side.read):
        try:
            step()
        except ssl.SSLWantReadError:
            answer = serve(sent.read())
            if answer:
                received.write(answer)
            else:
                received.write_eof()
        except ssl.SSLError as error:
            return error
    raise AssertionError("nothing failed")


def server(context: ssl.SSLContext) -> Callable[[bytes], bytes]:
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.wrap_bio(received, sent, server_side=True)

    def serve(data: bytes) -> bytes:
        received.write(data)
        with contextlib.suppress(ssl.SSLError):  # its alert is what the client gets
            side.do_handshake()
        return sent.read()

    return serve


@pytest.mark.parametrize(
    ("names", "days", "cause"),
    [
        ((NAME,), -1, "its certificate has expired"),
        (("other.test",), 1, "its certificate does not fit: hostname mismatch"),
        (("192.0.2.1",), 1, "its certificate does not fit: hostname mismatch"),
    ],
)
def test_a_certificate_that_does_not_do(authority: Authority, names: tuple[str, ...], days: float, cause: str) -> None:
    leaf = authority.leaf("leaf", *names, days=days)
    error = failure(authority.client_context(), server(authority.server_context(leaf)))
    assert cause_of(error).startswith(cause)


def test_an_address_that_the_certificate_does_not_name(authority: Authority) -> None:
    leaf = authority.leaf("leaf", NAME)
    error = failure(authority.client_context(), server(authority.server_context(leaf)), "192.0.2.7")
    assert cause_of(error).startswith("its certificate does not fit: ip address mismatch")


def test_an_authority_that_nobody_knows(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "Another")
    error = failure(authority.client_context(), server(other.server_context(other.leaf("leaf", NAME))))
    assert cause_of(error) == "its certificate is signed by an unknown authority"


def test_no_version_in_common(authority: Authority) -> None:
    context = authority.server_context(authority.leaf("leaf", NAME))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = authority.client_context()
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    assert cause_of(failure(client, server(context))) == "it shares no version of TLS with this gateway"


def test_a_service_that_wants_a_certificate(authority: Authority) -> None:
    context = authority.server_context(authority.leaf("leaf", NAME))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    cause = cause_of(failure(authority.client_context(), server(context)))
    assert cause == "it asks for a client certificate (tls.certificate, tls.key)"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak TLS"),
        (b"", "it closed the connection"),
    ],
)
def test_what_is_no_tls(authority: Authority, answer: bytes, cause: str) -> None:
    assert cause_of(failure(authority.client_context(), lambda _: answer)) == cause


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (ConnectionResetError(), "it closed the connection"),
        (ssl.SSLError("text"), "unknown error"),
    ],
)
def test_other_errors(error: OSError, cause: str) -> None:
    assert cause_of(error) == cause


def test_a_handshake_that_fails_within_another_library(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "Another")

    async def asked() -> Exception:
        context = other.server_context(other.leaf("leaf", "localhost"))
        async with await asyncio.start_server(lambda *_: None, "localhost", 0, ssl=context) as serving:
            port = serving.sockets[0].getsockname()[1]
            async with httpx.AsyncClient(verify=authority.client_context(), trust_env=False) as client:
                with pytest.raises(httpx.ConnectError) as raised:
                    await client.get(f"https://localhost:{port}/")
                return raised.value

    assert reason_of(asyncio.run(asked())) == "its certificate is signed by an unknown authority"


@pytest.mark.parametrize(("error", "reason"), [(ValueError("no name"), "no name"), (httpx.ReadError(""), "ReadError")])
def test_errors_that_are_no_handshakes(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
