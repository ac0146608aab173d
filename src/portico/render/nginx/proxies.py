"""What proxies in front report of a request: believed of those that are trusted, and of nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import Config
from portico.render.nginx.text import comment, pattern

_HOST: Final = r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
_PREFIX: Final = r"(?:/(?!\.\.?(?:/|,|\s|$))(?:[A-Za-z0-9._~:@+-]|%[2-9A-Fa-f][0-9A-Fa-f])+)+"
_REPORTED: Final = {
    "X-Forwarded-For": "$told_for",
    "X-Forwarded-Proto": "$told_scheme",
    "X-Forwarded-Host": "$told_host",
    "X-Forwarded-Port": "$told_port",
    "X-Forwarded-Prefix": "$told_prefix$prefix",
}
"""What services are told instead, where there are such proxies."""


def reported(config: Config) -> dict[str, str]:
    """The fields that services are told by what trusted proxies report; none where none is trusted."""
    return _REPORTED if config.gateway.trusted_proxies else {}


def scheme_and_host(config: Config) -> str:
    """How the addresses of the gateway begin for its clients."""
    return "$told_scheme://$told_host" if config.gateway.trusted_proxies else "$scheme://$http_host"


def proxies(config: Config) -> Iterator[str]:
    """The lines that say which proxies are believed, and of what."""
    networks = config.gateway.trusted_proxies
    if not networks:
        return
    yield ""
    yield comment("Proxies in front: the first that they name is the one nearest to the client.")
    yield from (f"set_real_ip_from {network};" for network in networks)
    by_protocol = any(listener.proxy_protocol for listener in config.gateway.listeners)
    yield f"real_ip_header {'proxy_protocol' if by_protocol else 'X-Forwarded-For'};"
    yield "real_ip_recursive on;"
    yield f"geo $realip_remote_addr $is_trusted {{ {' '.join(f'{network} 1;' for network in networks)} default 0; }}"
    yield from _map("X-Forwarded-Proto", "scheme", {r"(?i:https|wss)": "https", r"(?i:http|ws)": "http"}, "$scheme")
    yield from _map("X-Forwarded-Host", "host", {f"(?<their_host>{_HOST})": "$their_host"}, "$http_host")
    yield from _map("X-Forwarded-Prefix", "prefix", {f"(?<their_prefix>{_PREFIX})/*": "$their_prefix"}, '""')
    yield "map $told_host:$told_scheme $usual_port {"
    yield f"    {pattern('~[^]]:(?<host_port>[0-9]+):[a-z]+$')} $host_port;"
    yield from (f"    {pattern(f'~:{scheme}$')} {port};" for scheme, port in (("https", 443), ("http", 80)))
    yield "}"
    reports = (
        f'"$is_trusted:$http_x_forwarded_proto" $port_of_scheme {{ {pattern("~*^1:[ ,]*(?:http|ws)")} $usual_port;'
    )
    yield f"map {reports} default $server_port; }}"
    yield from _map("X-Forwarded-Port", "port", {"(?<their_port>[1-9][0-9]{0,4})": "$their_port"}, "$port_of_scheme")
    yield 'map "$is_trusted:$http_x_forwarded_for" $told_for {'
    yield '    "~^1:(?<their_chain>.+)$" "$their_chain, $realip_remote_addr";'
    yield "    ~^1 $realip_remote_addr;"
    yield "    default $remote_addr;"
    yield "}"


def _map(field: str, what: str, values: dict[str, str], otherwise: str) -> Iterator[str]:
    source = field.lower().replace("-", "_")
    yield f'map "$is_trusted:$http_{source}" $told_{what} {{'
    for expression, value in values.items():
        found = rf"~^1:[ ,]*{expression}\s*(?:,|$)"
        yield f"    {pattern(found)} {value};"
    yield f"    default {otherwise};"
    yield "}"
