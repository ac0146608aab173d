"""Where HAProxy listens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import ListenerSettings
from portico.render.haproxy.names import Names
from portico.render.haproxy.servers import key_is_found
from portico.render.haproxy.text import comment, section, word

_USUAL_HTTPS: Final = 443


def bind(names: Names, listener: ListenerSettings) -> str:
    """The line of a listener."""
    options = ["accept-proxy"] if listener.proxy_protocol else []
    tls = listener.tls
    if tls is not None:
        options += ["ssl", *_certificate(names, listener), "alpn http/1.1"]
        options.append(f"ssl-min-ver TLSv{'1.3' if tls.min_version == '1.3' else '1.2'}")
        if tls.client_certificates is not None:
            wanted = "required" if tls.client_certificates.required else "optional"
            options.append(f"ca-file {word(str(tls.client_certificates.ca))} verify {wanted}")
    return " ".join([f"bind {_address(listener.host, listener.port)}", *options])


def _certificate(names: Names, listener: ListenerSettings) -> Iterator[str]:
    pair = listener.tls.pair if listener.tls is not None else None
    if pair is None:
        yield "crt certificate.pem"
        return
    yield f"crt {word(str(pair.certificate))}"
    at = ("gateway", "listen") if names.config.gateway.listen else ("gateway", "tls", "key")
    key_is_found(names, pair, at)


def _address(host: str, port: int) -> str:
    if host in ("0.0.0.0", ""):  # noqa: S104
        return f"*:{port}"
    if host == "::":
        return f"[::]:{port} v4v6"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def to_https(names: Names, listener: ListenerSettings) -> Iterator[list[str]]:
    """The port that sends clients to HTTPS."""
    tls = listener.tls
    if tls is None or tls.redirect_from is None:
        return
    port = tls.redirect_to or listener.port
    target = "https://%[req.hdr(host),regsub(:[0-9]*$,)]" + (f":{port}" if port != _USUAL_HTTPS else "") + "%[pathq]"
    lines = [f"bind {_address(listener.host, tls.redirect_from)}", f"http-request redirect code 308 location {target}"]
    yield [comment("to HTTPS"), *section(f"frontend {names.free('to-https')}", lines)]
