"""Nobody gets what was meant for somebody else: random policies, clients and responses through gateways that run.

What may be served is said here a second time, by what the service was told of who asked, apart from the rules.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.redis_servers import RedisServer
from support.tokens import SECRET, bearer, token
from support.world import Gateway

SEED = 20
ROUTES, REQUESTS = 8, 500
LIFETIMES = ["max-age=60", "max-age=60", "s-maxage=60", ""]
MORE = [
    "",
    "",
    "",
    "public",
    "must-revalidate",
    "private",
    "no-store",
    "no-cache",
    'private="X-Own"',
    "proxy-revalidate",
]
VARY = ["", "", "", "X-Kind", "Cookie", "Authorization", "X-Consumer-Username", "Accept-Language", "X-Tenant", "*"]
COOKIES = ["", "", "", "lang=en", "lang=de", "session=1", "session=2", "lang=en; session=1"]


@dataclass
class Given:
    """One answer of the service: what it was told, and what it said."""

    target: str
    told: dict[str, str]
    lines: list[str]


@dataclass
class Service:
    """Answers each request with a number and random fields, and remembers both."""

    random: random.Random
    given: list[Given] = field(default_factory=list)

    def __call__(self, connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            told = {name.lower(): value for name, value in request.fields}
            lines = self._lines()
            self.given.append(Given(request.target, told, lines))
            connection.answer(str(len(self.given) - 1).encode(), "200 OK", *lines)

    def _lines(self) -> list[str]:
        chosen = self.random
        control = ", ".join(filter(None, [chosen.choice(LIFETIMES), chosen.choice(MORE)]))
        vary = chosen.choice(VARY)
        lines = [f"Cache-Control: {control}"] if control else []
        lines += [f"Vary: {vary}"] if vary else []
        lines += ["Set-Cookie: session=9"] if chosen.random() < 0.1 else []
        return [*lines, "X-Own: it"]


def _policies(chosen: random.Random, store: str) -> dict[str, Any]:
    key = {
        "consumer": chosen.choice(["auto", "off"]),
        "cookies": chosen.choice([[], ["lang"], ["lang", "session"]]),
        "headers": chosen.choice([[], ["X-Kind"]]),
    }
    policies: dict[str, Any] = {"cache": {"store": store, "key": key}}
    if chosen.random() < 0.5:
        policies["cache"]["ttl"] = 60
    if chosen.random() < 0.5:
        policies["auth"] = {"jwt": {"secret": SECRET}}
    if chosen.random() < 0.3:
        policies["headers"] = {"request": {"set": {"X-Tenant": "{consumer:-nobody}"}}}
    return policies


def _request(chosen: random.Random, guarded: bool) -> list[str]:
    lines = [f"X-Kind: {chosen.choice('ab')}", f"Accept-Language: {chosen.choice(['en', 'de'])}"]
    cookie = chosen.choice(COOKIES)
    lines += [f"Cookie: {cookie}"] if cookie else []
    if guarded:
        lines.append(chosen.choice([*TOKENS]))
    elif chosen.random() < 0.3:
        lines.append(f"Authorization: Basic {chosen.choice(['YTpi', 'Yzpk'])}")
    return lines


TOKENS = {bearer(token(sub="ann")): "ann", bearer(token(sub="bob")): "bob", bearer(token(sub="ann", scope="x")): "ann"}
"""Whose each is; one has two."""


def _cookies(lines: dict[str, str]) -> dict[str, str]:
    return dict(part.split("=") for part in lines.get("cookie", "").split("; ") if part)


def _complaint(policies: dict[str, Any], target: str, lines: list[str], given: Given) -> str:
    """Why a client that sent these lines must not get what was given to a request before; empty where it may."""
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    said = [part for line in given.lines if line.startswith("Cache-Control") for part in line[15:].split(", ")]
    key = policies["cache"]["key"]
    if target != given.target:
        return "another target"
    if {"no-store", "private", "no-cache"} & {*said}:
        return "not to be stored, or not without validation"
    if not {"max-age=60", "s-maxage=60"} & {*said} and "ttl" not in policies["cache"]:
        return "nothing says that it is fresh"
    for name in key["headers"]:
        if sent.get(name.lower()) != given.told.get(name.lower()):
            return "another header of the key"
    for name in key["cookies"]:
        if _cookies(sent).get(name) != _cookies(given.told).get(name):
            return "another cookie of the key"
    is_public = bool({"public", "s-maxage=60"} & {*said})
    if any(line.startswith("Set-Cookie") for line in given.lines) and not is_public:
        return "somebody else's cookie"
    consumer = TOKENS.get(f"Authorization: {sent.get('authorization')}") if "auth" in policies else None
    told = {**sent, **({"x-consumer-username": consumer} if consumer else {})}
    told |= {"x-tenant": consumer or "nobody"} if "headers" in policies else {}
    for line in given.lines:
        name = line[6:].lower() if line.startswith("Vary: ") else ""
        if name == "*" or told.get(name) != given.told.get(name):
            return f"it varies on {name}"
    return _asker_complaint(policies, sent, given, is_public or "must-revalidate" in said)


def _asker_complaint(policies: dict[str, Any], sent: dict[str, str], given: Given, is_for_all: bool) -> str:
    names = policies["cache"]["key"]["cookies"]

    def credentials(fields: dict[str, str]) -> tuple[str | None, str | None]:
        named = all(name in names for name in _cookies(fields))
        return fields.get("authorization"), None if named else fields.get("cookie")

    mine, theirs = credentials(sent), credentials(given.told)
    if mine == (None, None) == theirs or is_for_all:
        return ""
    if mine != theirs:
        return f"{mine} gets what {theirs} got"
    is_apart = "auth" in policies and policies["cache"]["key"]["consumer"] == "auto"
    return "" if is_apart else "credentials without a name"


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_nobody_gets_what_is_for_somebody_else(store: str) -> None:
    chosen = random.Random(f"{SEED}{store}")
    service = Service(random.Random(SEED))
    outcomes: Counter[str] = Counter()
    with RedisServer() as redis, Backend(service) as backend:
        policies = [_policies(chosen, store) for _ in range(ROUTES)]
        routes = [{"service": "s", "path": f"/{number}", "policies": each} for number, each in enumerate(policies)]
        config = {"gateway": {"redis_url": redis.url}, "services": {"s": backend}, "routes": routes}
        with Gateway(config) as gateway, gateway.wire() as wire:
            for _ in range(REQUESTS):
                number, page = chosen.randrange(ROUTES), chosen.choice("xy")
                lines = _request(chosen, "auth" in policies[number])
                before = len(service.given)
                response = wire.ask("GET", f"/{number}/{page}", *lines)
                assert response.status == 200, response
                answer = int(response.body)
                outcomes["hit" if answer < before else "miss"] += 1
                if answer < before:
                    given = service.given[answer]
                    complaint = _complaint(policies[number], f"/{page}", lines, given)
                    assert not complaint, (complaint, policies[number], lines, given, response.fields)
                    assert response.get("x-own") is None or 'private="X-Own"' not in str(given.lines)
    assert outcomes["hit"] > REQUESTS / 20, outcomes
