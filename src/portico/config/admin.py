"""Who may use the admin API, and what for."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, SecretStr

from portico.config.problems import Finding
from portico.config.section import Section

ADMIN: Final = "admin"
"""Who shows `gateway.admin_token`."""
LOCAL: Final = "local"
"""Who asks where no token is demanded: a program on this machine."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who uses the admin API: the name of the token that was shown, or `admin`, or `local`."""

    name: str
    can_write: bool = True


Callers: TypeAlias = Sequence[tuple[bytes, Caller]]
"""The tokens that are in force, as bytes, each with its caller."""


def find_caller(callers: Callers, shown: bytes) -> Caller | None:
    """Whose token was shown, if it is one.

    Every token is compared, in a time that does not tell how much of one was right.
    """
    found = None
    for token, caller in callers:
        if hmac.compare_digest(token, shown):
            found = caller
    return found


def check_token(token: str) -> str:
    """The token itself. Raises ValueError for one that no `Authorization: Bearer` can carry; it is not repeated."""
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", token) or token != token.strip():
        raise ValueError("holds control characters, or white space at an end, which no header field can carry")
    return token


def _token(secret: SecretStr) -> SecretStr:
    check_token(secret.get_secret_value())
    return secret


def _not_empty(value: Any) -> Any:
    if value in ("", None):
        raise ValueError("is empty: is the environment variable set that it comes from?")
    return value


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.@+-]{1,100}", text):
        raise ValueError("expected letters, digits and . _ @ + -, such as ada or ada@example.com")
    if text in (ADMIN, LOCAL):
        raise ValueError(f"{text} is what the audit log calls who has no name of their own; choose another")
    return text


class AdminTokenSettings(Section):
    """A token of the admin API that belongs to somebody: the audit log has their name."""

    name: Annotated[str, AfterValidator(_name)]
    """Who has it: a person, or a program such as `ci`."""
    token: Annotated[SecretStr, BeforeValidator(_not_empty), AfterValidator(_token)]
    """The token, as `gateway.admin_token` is written: `${ADA_TOKEN}`."""
    access: Literal["read", "write"] = "read"
    """What it is good for: `read` sees everything that the admin API shows and changes nothing, `write` may do both."""

    @property
    def caller(self) -> Caller:
        """Who shows it."""
        return Caller(self.name, self.access == "write")


def callers_of(admin_token: SecretStr | None, tokens: Iterable[AdminTokenSettings]) -> Callers:
    """The tokens that are in force; none: programs on this machine need none."""
    admin = [(admin_token, Caller(ADMIN))] if admin_token is not None else []
    named = [(each.token, each.caller) for each in tokens]
    return tuple((secret.get_secret_value().encode(), caller) for secret, caller in (*admin, *named))


_UNNAMED: Final = "gateway.admin_token, or ADMIN_TOKEN"


def admin_token_findings(admin_token: SecretStr | None, tokens: Sequence[AdminTokenSettings]) -> Iterator[Finding]:
    """A name is that of one token, and a token has one name: else nobody knows who did something."""
    names: set[str] = set()
    owners: dict[str, str] = {} if admin_token is None else {admin_token.get_secret_value(): _UNNAMED}
    for index, each in enumerate(tokens):
        path = ("gateway", "admin_tokens", index)
        if each.name in names:
            yield Finding((*path, "name"), "a token above has this name already")
        names.add(each.name)
        owner = owners.setdefault(each.token.get_secret_value(), f"the token of {each.name}")
        if owner != f"the token of {each.name}":
            yield Finding((*path, "token"), f"is the same as {owner}: make another, such as with openssl rand -hex 32")
