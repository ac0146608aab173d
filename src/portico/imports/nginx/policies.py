"""What directives around a location say of its requests, as policies and keys of its route."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from portico.imports.nginx.fields import cors_policy, expiry, request_fields, response_fields
from portico.imports.nginx.ledger import Ledger
from portico.imports.nginx.scope import Scope
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.values import bytes_text, duration, field_name, seconds, size
from portico.imports.nginx.variables import Var, Variables, literal, parse

DEFAULT_BODY: Final = 1 << 20
UNLIMITED: Final = 1 << 40
_RATE: Final = re.compile(r"rate=(\d{1,9})r/([sm])")
_TYPES: Final = {"text/html"}


_READ_NOWHERE: Final = "this guard is not read: policies.auth may do the same"
_PROGRAM: Final = "a program may refuse requests here: a policy of your own in Python may do the same"
_GUARDS: Final = {
    "auth_basic": "hashes of htpasswd are none of Portico's: write consumers, with passwords by portico password, "
    "and policies: {auth: {basic: {}}}",
    **dict.fromkeys(("auth_jwt", "auth_digest", "auth_pam", "auth_ldap", "auth_spnego", "auth_gss"), _READ_NOWHERE),
    **dict.fromkeys(("js_access", "modsecurity", "ModSecurityEnabled", "SecRulesEnabled", "testcookie"), _READ_NOWHERE),
    **{
        f"{phase}_by_lua{form}": _PROGRAM
        for phase in ("access", "rewrite", "server_rewrite")
        for form in ("", "_block", "_file")
    },
}
"""Directives that may refuse requests, and why Portico does not."""
_ASKING: Final = ("auth_request", "auth_request_set", "auth_basic", "auth_basic_user_file", "auth_delay")
"""Directives about authentication that are read, or mean nothing by themselves."""


class ClosedError(Exception):
    """A guard that Portico cannot check as it is written: the route answers 503. `directive` is at fault."""

    def __init__(self, directive: Directive, why: str) -> None:
        super().__init__(directive, why)
        self.directive = directive
        self.why = why


def guards_of(scope: Scope) -> dict[str, tuple[Directive, ...]]:
    """The directives that may refuse requests, by what they look at: `network`, or the name of a guard."""
    found: dict[str, tuple[Directive, ...]] = {}
    networks = tuple(scope.all("allow", "deny"))
    if any(each.name == "deny" for each in networks):
        found["network"] = networks
    for level in scope.levels:
        for name in level.named:
            if name in _GUARDS or name == "auth_request" or (name.startswith("auth_") and name not in _ASKING):
                guard = scope.one(name)
                if guard is not None and guard.value != "off":
                    found[name] = (guard,)
    if "auth_request" in found:
        found["auth_request"] += tuple(scope.all("auth_request_set"))
    if (satisfy := scope.one("satisfy")) is not None and satisfy.value == "any" and found:
        found["satisfy"] = (satisfy,)
    return found


@dataclass(slots=True)
class Policies:
    """Reads them; `zones` are the directives that declare limits and caches, by kind and name."""

    ledger: Ledger
    zones: Mapping[tuple[str, str], Directive]

    def of(self, scope: Scope, variables: Variables, *, proxied: bool, cors: list[Directive]) -> dict[str, Any]:
        """The policies of a route. Raises ClosedError."""
        policies: dict[str, Any] = {}
        if (networks := self.networks(scope)) is not None:
            policies["ip_filter"] = networks
        if (limits := self._limits(scope)) is not None:
            policies["rate_limit"] = limits
        response, about_cors = response_fields(self.ledger, scope, variables)
        if (lines := [*cors, *about_cors]) and (policy := cors_policy(self.ledger, lines, variables)) is not None:
            policies["cors"] = policy
        request: dict[str, Any] = {}
        if proxied:
            request, _ = request_fields(self.ledger, scope, variables)
            if (cache := self._cache(scope)) is not None:
                policies["cache"] = cache
            elif (rule := expiry(self.ledger, scope)) is not None:
                policies["transform"] = {"response": [rule]}
        else:
            response.pop("remove", None)
        edits = {way: changes for way, changes in (("request", request), ("response", response)) if changes}
        if edits:
            policies["headers"] = edits
        if scope.is_on("gzip") and proxied:
            policies["compress"] = self._gzip(scope)
        return policies

    # ---- who may come in

    def networks(self, scope: Scope) -> dict[str, Any] | None:
        """`allow` and `deny`, the first of which counts. Raises ClosedError where ip_filter cannot say the same."""
        allow: list[str] = []
        deny: list[str] = []
        lines = scope.all("allow", "deny")
        for each in lines:
            if each.value == "all":
                self.ledger.taken(*lines)
                if each.name == "allow":
                    return {"deny": deny} if deny else None
                if not allow:
                    return {"deny": ["0.0.0.0/0", "::/0"]}
                return {"allow": allow, **({"deny": deny} if deny else {})}
            network = _network(each.value)
            if network is None:
                raise ClosedError(each, "this is no address or network that ip_filter knows")
            if each.name == "deny":
                if any(_within(_network(other), network) for other in allow):
                    raise ClosedError(
                        each, "ip_filter looks at deny first: what was allowed before it would be refused"
                    )
                deny.append(each.value)
            else:
                allow.append(each.value)
        self.ledger.taken(*lines)
        return {"deny": deny} if deny else None

    def denies_all(self, scope: Scope) -> bool:
        """Whether nobody may come in."""
        lines = scope.all("allow", "deny")
        return bool(lines) and lines[0].name == "deny" and lines[0].value == "all"

    def guard(self, scope: Scope) -> None:
        """Raises ClosedError for guards that have no counterpart."""
        for name, why in _GUARDS.items():
            guard = scope.one(name)
            if guard is not None and guard.value != "off":
                raise ClosedError(guard, why)
        for level in scope.levels:
            for name in level.named:
                if name.startswith("auth_") and name not in _ASKING and level.named[name][-1].value != "off":
                    raise ClosedError(level.named[name][-1], _READ_NOWHERE)
        satisfy = scope.one("satisfy")
        asks = scope.one("auth_request")
        if satisfy is not None and satisfy.value == "any" and scope.all("allow", "deny") and asks is not None:
            raise ClosedError(satisfy, "networks and auth are asked for both, never one of them")

    # ---- how often

    def _limits(self, scope: Scope) -> Any:
        found = [limit for each in scope.all("limit_req") if (limit := self._limit(each, scope)) is not None]
        return (found[0] if len(found) == 1 else found) if found else None

    def _limit(self, directive: Directive, scope: Scope) -> dict[str, Any] | None:
        options = dict(word.partition("=")[::2] for word in directive.args)
        zone = self.zones.get(("limit_req", options.get("zone", "")))
        if zone is None:
            self.ledger.left(directive, "no limit_req_zone has this name")
            return None
        rate = next((found for word in zone.args if (found := _RATE.fullmatch(word))), None)
        key = parse(zone.value.removesuffix(":"))
        if rate is None or int(rate[1]) == 0 or len(key) != 1 or not isinstance(key[0], Var):
            self.ledger.left(directive, "requests are counted by the client's address or a header field")
            return None
        limit: dict[str, Any] = {"requests_per_minute": int(rate[1]) * (60 if rate[2] == "s" else 1)}
        burst = options.get("burst", "0")
        limit["burst"] = (int(burst) if burst.isdecimal() and len(burst) < 9 else 0) + 1
        name = key[0].name
        if name.startswith("http_") and name != "http_x_forwarded_for":
            limit["by"] = {"header": field_name(name[5:])}
        elif name not in ("binary_remote_addr", "remote_addr"):
            self.ledger.left(directive, "requests are counted by the client's address or a header field")
            return None
        self.ledger.taken(zone, directive)
        if burst != "0" and "nodelay" not in options:
            self.ledger.changed(directive, "those of a burst are admitted at once, and do not wait")
        status = scope.one("limit_req_status")
        if status is None:
            self.ledger.changed(zone, "those beyond get 429, not 503")
        elif status.value != "429":
            self.ledger.changed(status, "those beyond get 429")
        else:
            self.ledger.taken(status)
        return limit

    # ---- responses

    def _cache(self, scope: Scope) -> dict[str, Any] | None:
        zone = scope.one("proxy_cache")
        if zone is None or zone.value == "off":
            return None
        for name in ("proxy_no_cache", "proxy_cache_bypass"):
            unless = scope.one(name)
            if unless is not None:
                self.ledger.left(
                    unless, "when responses are not stored cannot be said by variables: nothing is stored here"
                )
                self.ledger.left(zone, f"{name} stands beside it: nothing is stored here")
                return None
        self.ledger.taken(zone)
        cache: dict[str, Any] = {}
        self._ttl(scope, cache)
        methods = scope.one("proxy_cache_methods")
        cache["methods"] = ["GET", "HEAD"]
        if methods is not None:
            self.ledger.taken(methods)
        stale = scope.one("proxy_cache_use_stale")
        if stale is not None and stale.value != "off":
            if any(word in ("error", "timeout", "http_500", "http_502", "http_503", "http_504") for word in stale.args):
                cache["stale_if_error"] = "1h"
                self.ledger.changed(stale, "a stale response takes the place of an error for an hour")
            if "updating" in stale.args:
                cache["stale_while_revalidate"] = "1m"
            self.ledger.taken(stale)
        self.ledger.taken(scope.one("proxy_cache_background_update"))
        key = scope.one("proxy_cache_key")
        if key is not None:
            self._key(key, cache)
        ignored = scope.one("proxy_ignore_headers")
        if ignored is not None and {"Cache-Control", "Expires", "Set-Cookie"} & {*ignored.args}:
            self.ledger.changed(ignored, "what a service says of caching counts here")
        return cache

    def _ttl(self, scope: Scope, cache: dict[str, Any]) -> None:
        lines = scope.all("proxy_cache_valid")
        for each in lines:
            time = seconds(each.args[-1]) if each.args else None
            statuses = [int(word) for word in each.args[:-1] if re.fullmatch(r"[2-5]\d\d", word)]
            if time and "ttl" not in cache:
                cache["ttl"] = duration(time)
                if statuses:
                    cache["statuses"] = statuses
                self.ledger.taken(each)
            elif each.args and each is not lines[0]:
                self.ledger.changed(each, "there is one ttl: the first that is written")

    def _key(self, key: Directive, cache: dict[str, Any]) -> None:
        names = [piece.name for piece in parse(key.value) if isinstance(piece, Var)]
        known = {"scheme", "proxy_host", "host", "http_host", "server_name", "request_method", "uri", "request_uri"}
        known |= {"args", "is_args", "query_string", "document_uri", "path", "query", "server_port"}
        cookies = [name[7:] for name in names if name.startswith("cookie_")]
        headers = [field_name(name[5:]) for name in names if name.startswith("http_") and name not in known]
        rest = [name for name in names if name not in known and not name.startswith(("cookie_", "http_"))]
        if rest:
            self.ledger.changed(key, f"${rest[0]} is no part of the key here")
        else:
            self.ledger.taken(key)
        if not {"request_uri", "args", "query_string", "query"} & {*names}:
            cache.setdefault("key", {})["query"] = "none"
        if cookies:
            cache.setdefault("key", {})["cookies"] = cookies
        if headers:
            cache.setdefault("key", {})["headers"] = headers

    def _gzip(self, scope: Scope) -> dict[str, Any]:
        policy: dict[str, Any] = {"encodings": ["gzip"]}
        least = scope.one("gzip_min_length")
        number = size(least.value) if least is not None else 20
        policy["min_size"] = bytes_text(number or 0)
        listed = scope.one("gzip_types")
        types = [*listed.args] if listed is not None else []
        if "*" in types:
            policy["types"] = ["default"]
        else:
            policy["types"] = [*dict.fromkeys(["text/html", *types])]
        level = scope.value("gzip_comp_level", "1")
        if level.isdecimal() and 1 <= int(level) <= 9 and level != "6":
            policy["levels"] = {"gzip": int(level)}
        self.ledger.taken(scope.one("gzip"), least, scope.one("gzip_types"), scope.one("gzip_comp_level"))
        return policy

    # ---- keys of routes

    def keys(self, scope: Scope, gateway_body: int) -> dict[str, Any]:
        """Sizes, times and retries."""
        keys: dict[str, Any] = {}
        body = body_size(scope)
        if body != gateway_body:
            keys["body_size"] = bytes_text(body)
        self.ledger.taken(scope.one("client_max_body_size"))
        if times := self._times(scope):
            keys["timeout"] = times
        if retries := self._retries(scope):
            keys["retries"] = retries
        return keys

    def _times(self, scope: Scope) -> dict[str, Any]:
        times: dict[str, Any] = {}
        connect = scope.one("proxy_connect_timeout")
        if connect is not None and (time := seconds(connect.value)) and time != 5:
            times["connect"] = duration(time)
        read = scope.one("proxy_read_timeout")
        time = seconds(read.value) if read is not None else 60
        if time and time != 30:
            times["response"] = duration(time)
            if time != 60:
                times["idle"] = duration(time)
            if time > 600:
                times["tunnel"] = duration(time)
        self.ledger.taken(connect, read)
        self.ledger.taken(scope.one("proxy_send_timeout"), why="as long as body_timeout")
        return times

    def _retries(self, scope: Scope) -> Any:
        causes = scope.one("proxy_next_upstream")
        tries = scope.one("proxy_next_upstream_tries")
        limit = scope.one("proxy_next_upstream_timeout")
        if limit is not None and limit.value not in ("0", "0s"):
            self.ledger.left(limit, "timeout.total holds for all attempts together")
        self.ledger.taken(causes, tries, limit)
        retries: dict[str, Any] = {}
        if causes is not None and "off" in causes.args:
            return {"attempts": 0, "silence": 0}
        if tries is not None and tries.value.isdecimal() and tries.value not in ("0", "3"):
            retries["attempts"] = min(int(tries.value[:9]) - 1, 10)
        if causes is not None:
            known: dict[str, list[Any]] = {"error": ["connect", "reset"], "timeout": ["timeout"]}
            known |= {f"http_{status}": [status] for status in (429, 502, 503, 504)}
            on = [cause for word in causes.args for cause in known.get(word, ())]
            other = [
                word for word in causes.args if word not in known and word not in ("non_idempotent", "invalid_header")
            ]
            if other:
                self.ledger.changed(causes, f"{', '.join(other)} is not tried again")
            if "non_idempotent" in causes.args:
                retries["methods"] = ["GET", "HEAD", "OPTIONS", "QUERY", "PUT", "DELETE", "POST", "PATCH"]
            if on and on != ["connect", "reset"]:
                retries["on"] = on
        return retries


def body_size(scope: Scope) -> int:
    """The bytes that a request's body may have."""
    directive = scope.one("client_max_body_size")
    if directive is None:
        return DEFAULT_BODY
    number = size(directive.value)
    return DEFAULT_BODY if number is None else number or UNLIMITED


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _within(inner: Any, outer: Any) -> bool:
    return bool(inner is not None and inner.version == outer.version and inner.overlaps(outer))


def zones_of(http: Directive) -> dict[tuple[str, str], Directive]:
    """The directives that declare limits, by kind and name."""
    found: dict[tuple[str, str], Directive] = {}
    for each in http.block or ():
        if each.name in ("limit_req_zone", "limit_conn_zone"):
            for word in each.args:
                if word.startswith("zone="):
                    found[each.name.removesuffix("_zone"), word[5:].partition(":")[0]] = each
    return found


__all__ = ["ClosedError", "Policies", "body_size", "literal", "zones_of"]
