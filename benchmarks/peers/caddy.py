"""Caddy with a JSON access log and the forwarded fields, and Caddy that only passes on.

Debian's has neither JWT nor rate limit: those are modules that a build of one's own brings.
"""

from __future__ import annotations

from benchmarks.certificate import certificate
from benchmarks.peer import BULK, PLAIN, POLICIES, TLS, WEBSOCKET, Duty, Peer
from support.site import Site, output_of, program

# skip_install_trust, storage: nothing outside the site's directory is touched.
_CONFIGURATION = """\
{{
    admin off
    auto_https off
    skip_install_trust
    storage file_system {directory}
    log {{
        output stderr
        level ERROR
        exclude http.log.access.log0
    }}
}}
{scheme}://:{port} {{
    bind 127.0.0.1
{more}
    handle_path /api/bench/* {{
        reverse_proxy 127.0.0.1:{backend} {{
{fields}
            transport http {{
                keepalive_idle_conns_per_host 128
                compression off
            }}
        }}
    }}
}}
"""
_LOG = """\
    log {{
        output file {directory}/access.log
        format json
    }}
    header X-Request-ID {{http.request.uuid}}
"""
# X-Forwarded-For, -Proto and -Host it sets by itself.
_FORWARDED = """\
            header_up X-Request-ID {{http.request.uuid}}
            header_up X-Real-IP {{http.request.remote.host}}
            header_up X-Forwarded-Port {port}
            header_up X-Forwarded-Prefix /api/bench
"""


def _with_policies(site: Site) -> list[str]:
    return _command(site, more=_LOG.format(directory=site.directory), fields=_FORWARDED.format(port=site.port))


def _plain(site: Site) -> list[str]:
    return _command(site)


def _tls(site: Site) -> list[str]:
    path = certificate(site)
    return _command(site, scheme="https", more=f"    tls {path} {path}")


def _command(site: Site, scheme: str = "http", more: str = "", fields: str = "") -> list[str]:
    """Go uses as many threads as there are cores, so the core that the gateway is kept to makes it one worker."""
    text = _CONFIGURATION.format(
        port=site.port, backend=site.backend, directory=site.directory, scheme=scheme, more=more, fields=fields
    )
    path = site.write("Caddyfile", text)
    home = f"XDG_CONFIG_HOME={site.directory}"  # where it writes down the configuration that it runs
    return ["env", home, program("caddy") or "caddy", "run", "--config", str(path), "--adapter", "caddyfile"]


def _version() -> str | None:
    caddy = program("caddy")
    return output_of(caddy, "version").split()[0].lstrip("v") if caddy else None


_INSTALL = "apt install caddy"
PEERS = (
    Peer(
        "caddy",
        POLICIES,
        _version,
        _INSTALL,
        _with_policies,
        duties=frozenset({Duty.REUSE, Duty.DESCRIBE}),
        access_log="access.log",
    ),
    *(
        Peer("caddy", stack, _version, _INSTALL, configure)
        for stack, configure in ((PLAIN, _plain), (BULK, _plain), (TLS, _tls), (WEBSOCKET, _plain))
    ),
)
