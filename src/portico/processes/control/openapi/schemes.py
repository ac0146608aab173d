"""What the gateway's own policies ask of clients, as security schemes of OpenAPI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from portico.config import Config, ResolvedRoute
from portico.openapi.objects import Object
from portico.openapi.ways import Requirement
from portico.policies.auth import AuthSettings, JwtSettings
from portico.policies.authorize import AuthorizeSettings


class Schemes:
    """The schemes of the routes that have been asked about, by their names. `has_tokens`: `/auth/token` is there."""

    def __init__(self, config: Config, *, has_tokens: bool) -> None:
        self._config = config
        self._has_tokens = has_tokens
        self.known: dict[str, Object] = {}

    def security(self, route: ResolvedRoute) -> tuple[Requirement, ...]:
        """What a request to this route needs: one of these; none where it needs nothing, or nothing that is known."""
        auth, _ = route.policies.get("auth", (None, ""))
        if not isinstance(auth, AuthSettings):
            return ()
        needs = [{name: scopes} for name in self._names(auth) for scopes in _scopes(route)]
        for each in needs:
            self._note_scopes(each)
        return (*needs, {}) if needs and auth.optional else tuple(needs)

    def _names(self, auth: AuthSettings) -> Iterator[str]:
        """The schemes by which a request may show who it is from."""
        if auth.jwt is not None:
            yield from self._token_names(auth.jwt)
        if auth.introspection is not None:
            yield self._named("gateway_bearer", {"type": "http", "scheme": "bearer"})
        if auth.api_key is not None:
            header, query = auth.api_key.field, auth.api_key.query
            where = {"in": "query", "name": query} if header is None else {"in": "header", "name": header}
            yield self._named("gateway_api_key", {"type": "apiKey", **where})
        if auth.basic is not None:
            yield self._named("gateway_basic", {"type": "http", "scheme": "basic"})
        if auth.client_certificate is not None:
            yield self._named("gateway_certificate", {"type": "mutualTLS"})

    def _token_names(self, jwt: JwtSettings) -> Iterator[str]:
        for place in jwt.from_:
            if place == "header":
                if self._has_tokens and self._is_own(jwt):
                    flow: Object = {"tokenUrl": "./auth/token", "scopes": {}}
                    if self._config.gateway.tokens.refresh:
                        flow["refreshUrl"] = "./auth/token"
                    yield self._named("gateway_token", {"type": "oauth2", "flows": {"password": flow}})
                yield self._named("gateway_bearer", {"type": "http", "scheme": "bearer"})
            else:
                ((where, name),) = place.model_dump().items()
                yield self._named("gateway_token_in_" + where, {"type": "apiKey", "in": where, "name": name})

    def _is_own(self, jwt: JwtSettings) -> bool:
        """Whether tokens that the gateway issues are accepted."""
        own = self._config.token_settings
        return (
            jwt.own
            or any(each.own for each in jwt.issuers)
            or (own is not None and jwt.secret is not None and jwt.secret == own.secret)
        )

    def _named(self, wanted: str, scheme: Object) -> str:
        name, number = wanted, 1
        while self.known.setdefault(name, scheme) != scheme and "flows" not in scheme:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def _note_scopes(self, need: Requirement) -> None:
        """A flow has all scopes that are asked for anywhere."""
        for name, scopes in need.items():
            for flow in self.known[name].get("flows", {}).values():
                flow["scopes"] |= dict.fromkeys(scopes, "")


def _scopes(route: ResolvedRoute) -> Sequence[list[str]]:
    """The scopes that a consumer needs, or alternatives of them."""
    authorize, _ = route.policies.get("authorize", (None, ""))
    if not isinstance(authorize, AuthorizeSettings):
        return [[]]
    return [[*authorize.scopes, each] for each in authorize.any_scopes] or [[*authorize.scopes]]
