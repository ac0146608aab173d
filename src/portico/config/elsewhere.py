"""What nginx, Traefik, Kong and Envoy call the keys of this configuration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

_HERE: Final[Mapping[str, tuple[str, ...]]] = {
    # at the top
    "upstreams": ("services",),
    "clusters": ("services",),
    "backends": ("services",),
    "routers": ("routes",),
    "listeners": ("listen", "gateway"),
    "entrypoints": ("listen", "gateway"),
    "servers": ("instances", "listen"),
    # where the gateway listens
    "ssl": ("tls",),
    "sslcertificate": ("certificate",),
    "sslcertificatekey": ("key",),
    # services and routes
    "host": ("url",),
    "targets": ("instances",),
    "endpoints": ("instances",),
    "location": ("path",),
    "rule": ("path",),
    "match": ("path",),
    "proxypass": ("service",),
    "upstream": ("service", "url"),
    "backend": ("service",),
    "return": ("respond", "redirect"),
    "strippath": ("rewrite",),
    "stripprefix": ("rewrite",),
    "plugins": ("policies",),
    "middlewares": ("policies",),
    "filters": ("policies",),
    "splitclients": ("split",),
    "weighted": ("split",),
    "weightedclusters": ("split",),
    "services": ("split",),
    "connecttimeout": ("timeout",),
    "readtimeout": ("timeout",),
    "writetimeout": ("timeout",),
    "proxyconnecttimeout": ("timeout",),
    "proxyreadtimeout": ("timeout",),
    "proxysendtimeout": ("timeout",),
    "maxfails": ("passive_health",),
    "addheader": ("headers",),
    "proxysetheader": ("headers",),
    "uri": ("path",),
    "code": ("status",),
    "text": ("body",),
    "mirroring": ("mirror",),
    "shadow": ("mirror",),
    "requestmirrorpolicies": ("mirror",),
    # policies
    "gzip": ("compress",),
    "brotli": ("compress",),
    "compression": ("compress",),
    "compressor": ("compress",),
    "gunzip": ("decompress",),
    "decompressor": ("decompress",),
    "decompression": ("decompress",),
    "iprestriction": ("ip_filter",),
    "ipallowlist": ("ip_filter",),
    "ipwhitelist": ("ip_filter",),
    "allow": ("ip_filter",),
    "deny": ("ip_filter",),
    "jwt": ("auth",),
    "authjwt": ("auth",),
    "authentication": ("auth",),
    "acl": ("authorize",),
    "rbac": ("authorize",),
    "authorization": ("authorize",),
    "requesttransformer": ("transform",),
    "responsetransformer": ("transform",),
    "limitreq": ("rate_limit",),
    "ratelimiting": ("rate_limit",),
    "proxycache": ("cache",),
    "errorpage": ("errors",),
    # within them
    "whitelist": ("allow",),
    "sourcerange": ("allow",),
    "allowlist": ("allow",),
    "blacklist": ("deny",),
    "denylist": ("deny",),
    "body": ("json",),
    "customrequestheaders": ("request",),
    "customresponseheaders": ("response",),
    "querystring": ("query",),
    "minlength": ("min_size",),
    "algorithms": ("encodings",),
    "iss": ("issuer",),
    "aud": ("audience",),
    "groups": ("roles",),
    # splits, canaries, mirrors
    "name": ("service",),
    "to": ("service",),
    "service": ("to",),
    "weight": ("steps",),
    "percent": ("share",),
    "percentage": ("share",),
    "interval": ("every",),
    "errorrate": ("errors",),
    "latency": ("p99",),
}
"""Names elsewhere, in small letters without `-` and `_`, to keys here, of which a section has one at most."""


def known_elsewhere(word: str, known: Collection[str]) -> str | None:
    """The one of the keys `known` that is called `word` in other gateways."""
    names = _HERE.get(word.lower().replace("-", "").replace("_", ""), ())
    return next((name for name in names if name in known), None)
