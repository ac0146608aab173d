"""The issuer of tokens as the configuration has it now."""

from __future__ import annotations

from collections.abc import Sequence

from portico.config import Config
from portico.core.consumers import Consumer, Consumers
from portico.processes.control.tokens.access import AccessTokens
from portico.processes.control.tokens.credentials import Credentials
from portico.processes.control.tokens.errors import OAuthError
from portico.processes.control.tokens.guessing import Guessing


class Issuing:
    """What issues tokens; `access` is None where nobody can sign in."""

    def __init__(self) -> None:
        self._guessing = Guessing()
        self.consumers = Consumers()
        self.access: AccessTokens | None = None
        self.credentials = Credentials(self.consumers, self._guessing)

    def follow(self, config: Config) -> None:
        """Issue tokens to these consumers from now on."""
        self.consumers = config.consumer_directory
        self.credentials = Credentials(self.consumers, self._guessing)
        self.access = None
        if config.issues_tokens and config.token_settings is not None:
            self.access = AccessTokens(config.token_settings, config.gateway.access_token_expire_minutes * 60)


def granted_scopes(consumer: Consumer, asked: str | None) -> Sequence[str]:
    """Those of the consumer's scopes that are asked for; all, where none is. Raises OAuthError (RFC 6749, 3.3)."""
    if not asked or not asked.split():
        return consumer.scopes
    wanted = list(dict.fromkeys(asked.split(" ")))
    if missing := [scope for scope in wanted if scope not in consumer.scopes]:
        raise OAuthError("invalid_scope", "the consumer does not have " + (" and ".join(map(repr, missing)))[:200])
    return wanted
