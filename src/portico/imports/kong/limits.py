"""Kong's plugins that bound what clients use, and that store responses."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from portico.imports.draft import Draft
from portico.imports.kong.entities import Plugin
from portico.imports.kong.pieces import Piece, Reading, closed
from portico.imports.located import Value

_QUOTAS: Final = {"hour": "requests_per_hour", "day": "requests_per_day", "month": "requests_per_month"}
_WINDOWS: Final = {1: "second", 60: "minute", 3600: "hour", 86400: "day", 2592000: "month"}


def numbers(windows: dict[str, float], *, most: float = 1e9) -> list[dict[str, Any]]:
    """Kong's numbers by window as limits of ours; those of a second and a minute are two."""
    rates = [
        {"requests_per_minute": count * times, "burst": max(1, int(count))}
        for window, times in (("second", 60), ("minute", 1))
        if 0 < (count := windows.get(window, 0)) <= most / times
    ]
    quotas = {key: int(windows[window]) for window, key in _QUOTAS.items() if windows.get(window, 0) >= 1}
    if not rates:
        return [quotas] if quotas else []
    rates[0].update(quotas)
    return rates


def windows_of(config: Value) -> dict[str, float]:
    """The numbers that are written, by window."""
    names = ("second", "minute", "hour", "day", "month", "year")
    return {name: config.get(name).number() for name in names if config.has(name)}


def rate_limiting(plugin: Plugin, reading: Reading) -> Piece:
    """`rate-limiting`: buckets that refill in place of windows that begin anew."""
    config = plugin.config
    windows = windows_of(config)
    if "year" in windows:
        reading.left(plugin, "year", "a quota is of an hour, a day or a month")
    limits = numbers(windows)
    if not limits:
        return Piece()
    by = _by(plugin, reading)
    if by is None:
        return Piece()
    shared = _shared(plugin, reading)
    for limit in limits:
        if by != "client_ip":
            limit["by"] = by
        limit.update(shared)
    piece = Piece({"rate_limit": limits[0] if len(limits) == 1 else limits})
    if config.has("error_message"):
        piece.policies["errors"] = {"429": {"json": {"message": config.text_at("error_message")}}}
    if config.has("error_code") and config.get("error_code").whole() != 429:
        reading.changed(plugin, "error_code", "it is 429")
    if config.flag_at("hide_client_headers"):
        reading.changed(plugin, "hide_client_headers", "RateLimit and RateLimit-Policy are always sent")
    known = (*windows, "limit_by", "header_name", "policy", "fault_tolerant", "error_message", "error_code")
    redis = ("redis", "redis_host", "redis_port", "redis_password", "redis_username", "redis_database", "redis_timeout")
    reading.unknown(plugin, *known, *redis, "hide_client_headers", "redis_ssl", "redis_ssl_verify", "sync_rate", "path")
    return piece


def rate_limiting_advanced(plugin: Plugin, reading: Reading) -> Piece:
    """`rate-limiting-advanced` of Kong's enterprise edition: windows of these lengths alone."""
    limits = [item.number() for item in plugin.config.get("limit").items()]
    sizes = [item.whole() for item in plugin.config.get("window_size").items()]
    if len(limits) != len(sizes) or any(size not in _WINDOWS for size in sizes):
        reading.left(plugin, "window_size", "a limit is of a second, a minute, an hour, a day or a month")
        return Piece()
    found = numbers({_WINDOWS[size]: limit for size, limit in zip(sizes, limits, strict=True)})
    by = _by(plugin, reading, "identifier")
    if not found or by is None:
        return Piece()
    for limit in found:
        if by != "client_ip":
            limit["by"] = by
    return Piece({"rate_limit": found[0] if len(found) == 1 else found})


def _by(plugin: Plugin, reading: Reading, key: str = "limit_by") -> Any:
    """What a limit is counted by; None where that is not possible."""
    by = plugin.config.text_at(key, "consumer")
    if by in ("consumer", "credential"):
        if by == "credential":
            reading.changed(plugin, key, "it is counted by consumer")
        return "consumer" if reading.auth else "client_ip"
    if by == "ip":
        return "client_ip"
    if by == "header" and plugin.config.has("header_name"):
        return {"header": plugin.config.text_at("header_name")}
    reading.left(plugin, key, f"nothing is counted by {by}: this limit is left out")
    return None


def _shared(plugin: Plugin, reading: Reading) -> dict[str, Any]:
    """What holds where limits are counted in Redis."""
    policy = plugin.config.text_at("policy", "local")
    if policy == "local":
        return {}
    if policy == "redis":
        note_redis(reading.draft, plugin)
        return {"fallback": "allow" if plugin.config.flag_at("fault_tolerant", default=True) else "deny"}
    reading.changed(plugin, "policy", "gateways count together in a Redis: write gateway.redis_url")
    return {}


def note_redis(draft: Draft, plugin: Plugin) -> None:
    """The Redis of the plugin is that of the gateway; one with a password has to be written by hand."""
    redis, value = plugin.config.get("redis"), plugin.config.get("policy")
    host = redis.text_at("host") or plugin.config.text_at("redis_host") or "127.0.0.1"
    port = redis.text_at("port") or plugin.config.text_at("redis_port") or "6379"
    secret = redis.has("password") or plugin.config.has("redis_password")
    if secret or not re.fullmatch(r"[A-Za-z0-9.-]+", host):
        draft.left(value.where, f"{plugin.name}: policy", "write the address of Redis as gateway.redis_url")
    else:
        draft.gateway.data.setdefault("redis_url", f"redis://{host}:{port}")


_SIZES: Final = {"megabytes": "MiB", "kilobytes": "KiB", "bytes": "B"}


def request_size_limiting(plugin: Plugin, reading: Reading) -> Piece:
    """`request-size-limiting`: also of chunked bodies."""
    size = plugin.config.get("allowed_payload_size").whole() if plugin.config.has("allowed_payload_size") else 128
    unit = _SIZES.get(plugin.config.text_at("size_unit", "megabytes"))
    if unit is None or size < 0:
        raise plugin.config.get("size_unit").wrong("megabytes, kilobytes or bytes")
    if plugin.config.flag_at("require_content_length"):
        reading.changed(plugin, "require_content_length", "chunked bodies are counted, and accepted")
    is_usual = (size, unit) == (10, "MiB")
    return Piece() if is_usual else Piece(route={"body_size": f"{size}{unit}"})


def proxy_cache(plugin: Plugin, reading: Reading) -> Piece:
    """`proxy-cache`: by the rules of RFC 9111, whatever `cache_control` says."""
    config = plugin.config
    settings: dict[str, Any] = {"ttl": config.get("cache_ttl").whole() if config.has("cache_ttl") else 300}
    methods = config.get("request_method").texts()
    kept = [name for name in methods if name in ("GET", "HEAD")]
    if methods and len(kept) < len(methods):
        reading.left(plugin, "request_method", "responses to other methods than GET and HEAD are not stored")
    if methods and not kept:
        return Piece()
    settings["methods"] = kept or ["GET", "HEAD"]
    codes = [item.whole() for item in config.get("response_code").items()]
    settings["statuses"] = [code for code in codes or [200, 301, 404] if 200 <= code <= 599]
    key: dict[str, Any] = {}
    if config.has("vary_query_params"):
        key["query"] = config.get("vary_query_params").texts() or "all"
    if config.get("vary_headers").texts():
        key["headers"] = config.get("vary_headers").texts()
    if key:
        settings["key"] = key
    if not config.flag_at("cache_control"):
        reading.changed(plugin, "", "what the service says in Cache-Control holds; ttl is for responses without it")
    if config.has("content_type"):
        reading.changed(plugin, "content_type", "responses of all types are stored")
    known = ("cache_ttl", "request_method", "response_code", "vary_query_params", "vary_headers", "cache_control")
    reading.unknown(plugin, *known, "content_type", "strategy", "memory", "response_headers")
    return Piece({"cache": settings})


def request_termination(plugin: Plugin, reading: Reading) -> Piece:
    """`request-termination`: a route that answers itself."""
    config = plugin.config
    if config.has("trigger"):
        return closed("an answer to requests with a field alone")
    status = config.get("status_code").whole() if config.has("status_code") else 503
    if not 200 <= status <= 599:
        raise config.get("status_code").wrong("a status from 200 to 599")
    if config.flag_at("echo"):
        reading.left(plugin, "echo", "the request is not sent back")
    respond: dict[str, Any] = {"status": status}
    if config.has("body"):
        respond["body"] = config.text_at("body")
        if config.has("content_type"):
            respond["headers"] = {"Content-Type": config.text_at("content_type")}
    elif config.has("message"):
        respond["body"] = json.dumps({"message": config.text_at("message")}, ensure_ascii=False)
        respond["headers"] = {"Content-Type": "application/json; charset=utf-8"}
    return Piece(route={"respond": respond if len(respond) > 1 else status})
