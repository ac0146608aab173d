"""Listeners: where Envoy listens, and the virtual hosts and filters behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from portico.config import ListenerSettings, ordered_file
from portico.render.envoy.fields import client_fields
from portico.render.envoy.hosts import route_config
from portico.render.envoy.lua import IDS, script
from portico.render.envoy.lua import PORTICO as SCRIPT
from portico.render.envoy.names import HTTP, PORTICO, Filter, Names, Section, duration, typed
from portico.render.envoy.replies import access_log, error_answers
from portico.render.envoy.text import Noted

_MANAGER: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def listeners_of(names: Names) -> Iterator[Noted]:
    """All listeners, those that redirect to HTTPS too; of several that serve the same, one with all addresses."""
    groups: dict[object, list[ListenerSettings]] = {}
    for listener in names.config.gateway.listeners:
        same = (listener.kind, listener.tls.model_dump_json() if listener.tls else "", listener.proxy_protocol)
        groups.setdefault(same, []).append(listener)
    for listeners in groups.values():
        label = ", ".join(each.name or f"port {each.port}" for each in listeners)
        yield Noted(f"listener {label}", _listener(names, listeners))
        for each in listeners:
            if each.tls is not None and each.tls.redirect_from is not None:
                yield Noted("to HTTPS", _redirecting(each, each.tls.redirect_from))


def _listener(names: Names, listeners: Sequence[ListenerSettings]) -> Section:
    first, *others = listeners
    label = first.name or f"port_{first.port}"
    names.scheme = "http" if first.tls is None else "https"
    names.filters, names.known = {}, {}
    chain: Section = {"filters": [_manager(names, label, route_config(names, first))]}
    if first.tls is not None:
        chain["transport_socket"] = _tls(first)
    found: Section = {"name": label, "address": _address(first, first.port)}
    if others:
        found["additional_addresses"] = [{"address": _address(each, each.port)} for each in others]
    if first.proxy_protocol:
        kind = typed("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")
        found["listener_filters"] = [{"name": "proxy_protocol", "typed_config": kind}]
    return {**found, "filter_chains": [chain]}


def _address(listener: ListenerSettings, port: int) -> Section:
    address: Section = {"address": listener.host, "port_value": port}
    if listener.host == "::":
        address["ipv4_compat"] = True
    return {"socket_address": address}


def _redirecting(listener: ListenerSettings, port: int) -> Section:
    """The port that sends clients to HTTPS."""
    assert listener.tls is not None
    label = f"{listener.name or f'port_{listener.port}'}_to_https"
    redirect: Section = {"https_redirect": True, "response_code": "PERMANENT_REDIRECT"}
    redirect["port_redirect"] = listener.tls.redirect_to or listener.port
    route = {"match": {"prefix": "/"}, "redirect": redirect}
    hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
    manager = typed(
        _MANAGER,
        {
            "stat_prefix": label,
            "codec_type": "HTTP1",
            "use_remote_address": True,
            "route_config": {"ignore_port_in_host_matching": True, "virtual_hosts": hosts},
            "http_filters": [_router()],
        },
    )
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": label, "address": _address(listener, port), "filter_chains": [chain]}


# ---- TLS


def _tls(listener: ListenerSettings) -> Section:
    tls = listener.tls
    assert tls is not None
    pairs = [(str(each.certificate), str(each.key)) for each in tls.files]
    if tls.acme is not None:
        ordered = str(ordered_file(Path(), tls.acme))
        pairs = [*pairs, (ordered, ordered)] if tls.pair is not None else [(ordered, ordered), *pairs]
    common: Section = {
        "alpn_protocols": ["http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": f"TLSv1_{tls.min_version[-1]}"},
        "tls_certificates": [
            {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
            for certificate, key in pairs
        ],
    }
    context: Section = {}
    if tls.client_certificates is not None:
        common["validation_context"] = {"trusted_ca": {"filename": str(tls.client_certificates.ca)}}
        context["require_client_certificate"] = tls.client_certificates.required
    context["common_tls_context"] = common
    return {
        "name": "tls",
        "typed_config": typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context),
    }


# ---- the manager


def _manager(names: Names, label: str, routes: Section) -> Section:
    config, limit = names.config, names.config.gateway.limits
    networks_of_proxies = config.gateway.trusted_proxies
    by_protocol = any(each.proxy_protocol for each in config.gateway.listeners)
    if networks_of_proxies and not by_protocol:
        cidrs = [
            {"address_prefix": str(own.network_address), "prefix_len": own.prefixlen} for own in networks_of_proxies
        ]
        detection = typed(
            "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
            {"xff_trusted_cidrs": {"cidrs": cidrs}, "skip_xff_append": True},
        )
        client: Section = {
            "use_remote_address": False,
            "original_ip_detection_extensions": [{"name": "xff", "typed_config": detection}],
        }
    else:
        client = {"use_remote_address": True, "skip_xff_append": True}
    logs = access_log(config)
    settings: Section = {
        "stat_prefix": label,
        "route_config": routes,
        "strip_trailing_host_dot": True,
        "http_filters": [*_filters(names)],
        "codec_type": "HTTP1",
        **client,
        "always_set_request_id_in_response": True,
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": max(1, min(8192, -(-limit.header_size // 1024))),
        "request_headers_timeout": duration(limit.header_timeout),
        "stream_idle_timeout": duration(limit.body_timeout),
        "common_http_protocol_options": {
            "idle_timeout": duration(limit.idle_timeout),
            "max_headers_count": limit.header_count,
        },
        "http_protocol_options": {"allow_custom_methods": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        **({"access_log": logs} if logs else {}),
        "local_reply_config": Noted("Envoy's own errors are problem documents (RFC 9457).", error_answers()),
    }
    return {"name": "http", "typed_config": typed(_MANAGER, settings)}


def _filters(names: Names) -> Iterator[Noted | Section]:
    own = [
        client_fields(names.scheme),
        Filter(10, "request_id", script(IDS), always=True),
        Filter(130, PORTICO, script(SCRIPT), always=True),
    ]
    for each in sorted([*own, *names.filters.values()], key=lambda found: (found.order, found.name)):
        section: Section = {
            "name": each.name,
            **({} if each.always else {"disabled": True}),
            "typed_config": each.config,
        }
        yield Noted(each.note, section) if each.note else section
    yield _router()


def _router() -> Section:
    return {"name": "router", "typed_config": typed(f"{HTTP}router.v3.Router", {"suppress_envoy_headers": True})}
