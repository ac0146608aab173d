"""Who may come in. What HAProxy cannot check closes the route: it is never open for want of its guard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from portico.config import ResolvedRoute
from portico.config.problems import KeyPath
from portico.policies.auth import AuthSettings
from portico.policies.authorize import AuthorizeSettings, Requirements
from portico.policies.consumer_fields import percent_encoded
from portico.render.expressions import literal
from portico.render.haproxy.answers import refusal
from portico.render.haproxy.denying import denying, is_checked
from portico.render.haproxy.names import Names, of_policy
from portico.render.haproxy.parameters import is_there, is_twice, value_lines, without
from portico.render.haproxy.text import equals, found_in
from portico.render.haproxy.tokens import TokenError, token_lines
from portico.render.policies import policy_path

CHECKED: Final = frozenset({"auth", "authorize", "deny", "ip_filter"})
"""Policies that refuse requests, and that HAProxy can check, or some of what they say."""
HARMLESS: Final = frozenset(
    {
        *("rate_limit", "cors", "headers", "cache", "compress", "decompress", "errors", "identity", "transform"),
        *("rewrite_cookies", "rewrite_location"),
    }
)
"""Those whose absence opens nothing; any other may be a guard, also one that is not known here yet."""
_KEYS: Final = "api_keys.map"
_SCOPES: Final = "api_key_scopes.map"
_KNOWN: Final = "{ var(txn.consumer) -m found }"
_SHOWN: Final = "{ var(txn.shown) -m found }"


class Guards:
    """The guards of one route: its lines, or why it is closed."""

    def __init__(self, names: Names, route: ResolvedRoute) -> None:
        self._names, self._route = names, route
        self.closed: list[str] = []
        """The keys of what cannot be checked."""
        self.lines: list[str] = []
        """What checks the others."""
        self.knows_consumer = False
        """Whether it says who asks."""
        for key in route.policies:
            if key not in CHECKED | HARMLESS and of_policy(route.policies, key):
                self._close(key, "HAProxy cannot check this")
        auth, authorize = of_policy(route.policies, "auth"), of_policy(route.policies, "authorize")
        rules: Any = of_policy(route.policies, "deny") or []
        if isinstance(auth, AuthSettings):
            self._authenticate(auth)
        if not is_checked(rules, knows_consumer=self.knows_consumer):
            self._close("deny", "HAProxy cannot tell whom these rules are for")
        self.before = [*denying(names, rules, of_consumers=False)]
        """What is refused before it is asked who it is."""
        self.lines += denying(names, rules, of_consumers=True)
        if isinstance(authorize, AuthorizeSettings):
            self._authorize(authorize)

    def _at(self, key: str) -> KeyPath:
        _, scope = self._route.policies[key]
        return policy_path(self._route, scope, key)

    def _close(self, key: str, why: str) -> None:
        self.closed.append(key)
        self._names.losses.add(self._at(key), f"{why}: the routes that it guards are closed and answer 503")

    def _authenticate(self, auth: AuthSettings) -> None:
        others = [method for method in auth.methods if method not in ("jwt", "api_key")]
        if others:
            self._close("auth", f"HAProxy cannot check {', '.join(others)}")
            return
        if auth.name_encoding != "percent":
            self._close("auth", "HAProxy writes no names as in RFC 8187")
            return
        lines: list[str] = []
        if auth.jwt is not None:
            try:
                lines += token_lines(self._names, auth.jwt, self._at("auth"))
            except TokenError as error:
                self._close("auth", str(error))
                return
        if auth.api_key is not None and auth.api_key.bearer:
            self._close("auth", "HAProxy takes what is in Authorization for a token")
            return
        if auth.api_key is not None:
            lines += self._keys(auth.api_key)
        self.lines = [*lines, *self._missing(auth), *_telling()]
        self.knows_consumer = True

    def _keys(self, settings: Any) -> Iterator[str]:
        """API keys that the file names, by their hashes: those that `portico keys` made are nowhere in it."""
        consumers = self._names.config.consumers
        keys = {digest.removeprefix("sha256:"): each for each in consumers for digest in each.keys}
        self._names.files[_KEYS] = "".join(f"{digest} {percent_encoded(each.name)}\n" for digest, each in keys.items())
        scopes = {digest: " ".join(map(percent_encoded, each.scopes)) for digest, each in keys.items() if each.scopes}
        self._names.files[_SCOPES] = "".join(f"{digest} {text}\n" for digest, text in scopes.items())
        challenge = 'ApiKey realm="portico"'
        if settings.query is not None:
            source, absent = "var(txn.key)", f"!{is_there(settings.query)}"
            twice = is_twice(settings.query)
            yield from value_lines(settings.query, "txn.key", "url_dec(0)")
        else:
            source, absent = f"req.fhdr({settings.field})", f"!{{ req.fhdr({settings.field}) -m found }}"
            twice = f"{{ req.fhdr_cnt({settings.field}) gt 1 }}"
        present = f"!{_SHOWN} {absent.removeprefix('!')}"
        yield from refusal(401, "credentials_missing", f"!{_SHOWN} {twice}", challenge=challenge)
        yield f"http-request set-var(txn.digest) {source},sha2(256),hex,lower if {present}"
        yield f"http-request set-var(txn.shown) str(api_key) if {present}"
        digest = "{ var(txn.shown) -m str api_key }"
        yield f"http-request set-var(txn.consumer) var(txn.digest),map_str({_KEYS}) if {digest}"
        yield f"http-request set-var(txn.scopes) var(txn.digest),map_str({_SCOPES}) if {digest}"
        invalid = f'{challenge}, error="invalid_key"'
        yield from refusal(401, "credentials_invalid", f"{digest} !{_KNOWN}", challenge=invalid)
        if settings.query is None:
            yield f"http-request del-header {settings.field}"
        else:
            yield from without(settings.query, digest)

    def _missing(self, auth: AuthSettings) -> Iterator[str]:
        if auth.optional:
            return
        schemes = {"jwt": 'Bearer realm="portico"', "api_key": 'ApiKey realm="portico"'}
        challenge = ", ".join(schemes[method] for method in auth.methods)
        yield from refusal(401, "credentials_missing", f"!{_SHOWN}", challenge=challenge)

    def _authorize(self, settings: AuthorizeSettings) -> None:
        if not all(map(_asks_for_scopes, (settings, *settings.methods.values()))):
            self._close("authorize", "of this, HAProxy checks scopes and any_scopes alone")
        elif not self.knows_consumer:
            if "auth" not in self.closed:
                self._close("authorize", "HAProxy knows no consumer here")
        else:
            self.lines += _needed(settings, "")
            for method, needed in settings.methods.items():
                methods = ["GET", "HEAD"] if method == "GET" else [method]
                self.lines += _needed(needed, equals("method", *methods) + " ")


def _asks_for_scopes(settings: Requirements) -> bool:
    """Whether it asks for nothing but scopes."""
    known = ("scopes", "any_scopes", "methods")
    others = {name: value for name, value in settings.model_dump(exclude_defaults=True).items() if name not in known}
    return not others


def _needed(settings: Requirements, here: str) -> Iterator[str]:
    """What a consumer needs, of requests that meet a condition."""
    for one_of in ([scope] for scope in settings.scopes):
        yield from refusal(403, "scope_missing", f"{here}!{_has_one(one_of)}")
    if settings.any_scopes:
        yield from refusal(403, "scope_missing", f"{here}!{_has_one(settings.any_scopes)}")


def _has_one(scopes: Sequence[str]) -> str:
    # In the variable they are as services are told of them.
    names = "|".join(literal(percent_encoded(scope)) for scope in scopes)
    return found_in("var(txn.scopes)", f"(?:^| )(?:{names})(?: |$)")


def _telling() -> Iterator[str]:
    yield f"http-request set-header X-Consumer-Username %[var(txn.consumer)] if {_KNOWN}"
    yield "http-request set-header X-Consumer-Scopes %[var(txn.scopes)] if { var(txn.scopes) -m found }"


def networks(route: ResolvedRoute) -> Iterator[str]:
    """The lines about the networks that clients may come from."""
    settings: Any = of_policy(route.policies, "ip_filter")
    if settings is None:
        return
    if settings.deny:
        yield from refusal(403, "address_refused", f"{{ src {' '.join(map(str, settings.deny))} }}")
    if settings.allow:
        yield from refusal(403, "address_refused", f"!{{ src {' '.join(map(str, settings.allow))} }}")
