"""Why a configuration came into force."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """What was done (`start`, `reload`, `apply`, `rollback`), by whom, and what they said.

    `who` is the caller of the admin API, or `SIGHUP`, or `watch`; `user` is whom that says it speaks for.
    """

    action: str
    who: str = ""
    user: str = ""
    why: str = ""
