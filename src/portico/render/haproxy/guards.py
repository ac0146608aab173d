"""Who may come in. What HAProxy cannot check closes the route: it is never open for want of its guard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from portico.config import ResolvedRoute
from portico.policies.auth import AuthSettings
from portico.policies.authorize import AuthorizeSettings
from portico.policies.consumer_fields import percent_encoded
from portico.render.expressions import literal
from portico.render.haproxy.answers import problem
from portico.render.haproxy.names import Names, of_policy, policy_path
from portico.render.haproxy.text import found_in
from portico.render.haproxy.tokens import TokenError, token_lines

_UNCHECKED: Final = ("deny", "plugins", "validate")
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
        for key in _UNCHECKED:
            if of_policy(route.policies, key):
                self._close(key, "HAProxy cannot check this")
        auth, authorize = of_policy(route.policies, "auth"), of_policy(route.policies, "authorize")
        if isinstance(auth, AuthSettings):
            self._authenticate(auth)
        if isinstance(authorize, AuthorizeSettings):
            self._authorize(authorize, auth)

    @property
    def knows_consumer(self) -> bool:
        """Whether it says who asks."""
        return bool(self.lines)

    def _close(self, key: str, why: str) -> None:
        _, scope = self._route.policies[key]
        self.closed.append(key)
        at = policy_path(self._route, scope, key)
        self._names.losses.add(at, f"{why}: the routes that it guards are closed and answer 503")

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
                lines += token_lines(self._names, auth.jwt)
            except TokenError as error:
                self._close("auth", str(error))
                return
        if auth.api_key is not None:
            lines += self._keys(auth.api_key)
        self.lines = [*lines, *self._missing(auth), *_telling()]

    def _keys(self, settings: Any) -> Iterator[str]:
        """API keys that the file names, by their hashes: those that `portico keys` made are nowhere in it."""
        consumers = self._names.config.consumers
        keys = {digest.removeprefix("sha256:"): each for each in consumers for digest in each.keys}
        self._names.files[_KEYS] = "".join(f"{digest} {percent_encoded(each.name)}\n" for digest, each in keys.items())
        scopes = {digest: " ".join(map(percent_encoded, each.scopes)) for digest, each in keys.items() if each.scopes}
        self._names.files[_SCOPES] = "".join(f"{digest} {text}\n" for digest, text in scopes.items())
        challenge = 'ApiKey realm="portico"'
        asks = ("WWW-Authenticate", challenge)
        if settings.query is not None:
            # What is no plain value of a plain name is none that a client of this gateway sends.
            name = literal(settings.query)
            source, absent = (
                f"url_param({settings.query}),url_dec(0)",
                f"!{found_in('query', f'(?:^|&){name}(?:=|&|$)')}",
            )
            twice = found_in("query", f"(?:^|&){name}(?:=|&|$).*&{name}(?:=|&|$)")
        else:
            source, absent = f"req.fhdr({settings.field})", f"!{{ req.fhdr({settings.field}) -m found }}"
            twice = f"{{ req.fhdr_cnt({settings.field}) gt 1 }}"
        present = f"!{_SHOWN} {absent.removeprefix('!')}"
        yield f"{problem(401, 'credentials_missing', asks)} if !{_SHOWN} {twice}"
        yield f"http-request set-var(txn.digest) {source},sha2(256),hex,lower if {present}"
        yield f"http-request set-var(txn.shown) str(api_key) if {present}"
        digest = "{ var(txn.shown) -m str api_key }"
        yield f"http-request set-var(txn.consumer) var(txn.digest),map_str({_KEYS}) if {digest}"
        yield f"http-request set-var(txn.scopes) var(txn.digest),map_str({_SCOPES}) if {digest}"
        invalid = ("WWW-Authenticate", f'{challenge}, error="invalid_key"')
        yield f"{problem(401, 'credentials_invalid', invalid)} if {digest} !{_KNOWN}"
        if settings.query is None:
            yield f"http-request del-header {settings.field}"
        else:
            yield "http-request set-header x-portico-query %[query]"
            start = f"^(.*&)?{literal(settings.query)}(?:=[^&]*)?(?:&(.*))?$"
            yield f"http-request replace-header x-portico-query '{start}' '\\1\\2' if {digest}"
            yield f"http-request replace-header x-portico-query '^(.*)&$' '\\1' if {digest}"
            yield f"http-request set-var-fmt(txn.query) ?%[req.fhdr(x-portico-query)] if {digest}"
            yield f"http-request set-var(txn.query) str() if {digest} !{{ req.fhdr(x-portico-query),length gt 0 }}"
            yield "http-request del-header x-portico-query"
            yield f"http-request set-pathq %[path]%[var(txn.query)] if {digest}"

    def _missing(self, auth: AuthSettings) -> Iterator[str]:
        if auth.optional:
            return
        schemes = {"jwt": 'Bearer realm="portico"', "api_key": 'ApiKey realm="portico"'}
        fields = [("WWW-Authenticate", schemes[method]) for method in auth.methods]
        yield f"{problem(401, 'credentials_missing', *fields)} unless {_SHOWN}"

    def _authorize(self, settings: AuthorizeSettings, auth: object) -> None:
        written = settings.model_fields_set - {"scopes", "any_scopes"}
        if any(
            getattr(settings, key) != type(settings).model_fields[key].get_default(call_default_factory=True)
            for key in written
        ):
            self._close("authorize", "of this, HAProxy checks scopes and any_scopes alone")
        elif not isinstance(auth, AuthSettings) or not self.lines:
            if "auth" not in self.closed:
                self._close("authorize", "HAProxy knows no consumer here")
        else:
            refusal = problem(403, "scope_missing")
            self.lines += [f"{refusal} unless {_has_one([scope])}" for scope in settings.scopes]
            if settings.any_scopes:
                self.lines.append(f"{refusal} unless {_has_one(settings.any_scopes)}")


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
    refusal = problem(403, "address_refused")
    if settings.deny:
        yield f"{refusal} if {{ src {' '.join(map(str, settings.deny))} }}"
    if settings.allow:
        yield f"{refusal} unless {{ src {' '.join(map(str, settings.allow))} }}"
