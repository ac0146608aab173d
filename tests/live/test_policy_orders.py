"""Whatever policies stand around `auth`, at whatever level: who proved nothing gets nothing of a guarded route's.

Configurations and requests are drawn. What has to hold is said a second time here, by one rule of who is guarded; the
service marks all that it says with whom it was told about.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest

from portico.core.api_keys import digest_of, new_key
from support.backend import Backend, Connection
from support.client import Wire, request
from support.messages import Message
from support.passwords import hashed
from support.tokens import SECRET, bearer, token
from support.world import Gateway

SEEDS: Final = range(3)
SERVICES, ROUTES, REQUESTS = 5, 40, 500
MARK: Final = "content-of-"
"""What is behind the gateway says this before the name of the consumer that it was told of."""
OTHER: Final = "another secret of the many bytes that HS256 wants to have"
Written: TypeAlias = dict[str, Any]
PASSWORD: Final = "wonderland"
KEYS: Final = {name: new_key().text for name in ("alice", "bob")}
CONSUMERS: Final = [
    {"name": name, "password": hashed(PASSWORD), "keys": [f"sha256:{digest_of(key.encode()).hex()}"]}
    for name, key in KEYS.items()
]

PLUGINS: Final = f'''
import asyncio
from portico.plugin import Policy, answer


class Marks(Policy):
    """Reads and writes, and says nothing."""

    def request(self, exchange):
        exchange.upstream_headers.set("X-Marked", str(exchange.consumer))

    def response(self, exchange, response):
        response.headers.set("X-Marked", "yes")


class Waits(Policy):
    async def request(self, exchange):
        await asyncio.sleep(0)


class Answers(Policy):
    """Answers those who ask for it; behind auth with what is for consumers alone."""

    def request(self, exchange):
        if exchange.headers.get("X-Answer"):
            return answer(200, b"{MARK}" + str(exchange.consumer).encode())


class Breaks(Policy):
    def request(self, exchange):
        if exchange.headers.get("X-Break"):
            raise RuntimeError("broken")
'''


# ---- what is drawn


def _auth(chosen: random.Random) -> Written:
    """What one level says of `auth`, which may be nothing."""
    kind = chosen.choice(["nothing", "nothing", "off", "on", "on", "optional", "more", "several"])
    if kind == "nothing":
        return {}
    if kind == "off":
        return {"auth": False}
    own: Written = {"jwt": {"secret": SECRET}, "optional": kind == "optional"}
    if kind == "more":
        own["jwt"]["from"] = ["header", {"cookie": "token"}, {"query": "token"}]
    if kind == "several":
        own |= {"api_key": {"header": "X-API-Key"}, "basic": {}}
    return {"auth": own}


def _policies(chosen: random.Random, *, plugins: bool = True) -> Written:
    """What one level says, in a random order: the order of keys must not matter."""
    some: Written = {
        "cors": {"allow_origins": ["*"]},
        "rate_limit": {"requests_per_minute": 1_000_000, "burst": 100_000},
        "headers": {"request": {"set": {"X-Tenant": "{consumer:-nobody}"}}, "security": True},
        "compress": {},
        "cache": {"ttl": 60, "key": {"consumer": chosen.choice(["auto", "off"])}, "purge": chosen.random() < 0.3},
        "errors": {"4xx": {"json": {"error": "{status}"}}, "5xx": {"intercept": True, "json": {"error": "{status}"}}},
        "ip_filter": {"allow": ["127.0.0.0/8"]},
        "identity": {"keys": ["k" * 32]},
        "transform": {"request": [{"headers": {"set": {"X-Plan": "{claim.plan:-none}"}}}]},
    }
    written = {key: value for key, value in some.items() if chosen.random() < 0.3}
    if plugins and chosen.random() < 0.5:
        names = chosen.sample(["Marks", "Waits", "Breaks", "Answers"], chosen.randint(1, 3))
        written["plugins"] = [_plugin(chosen, name) for name in names]
    pairs = [*written.items(), *_auth(chosen).items()]
    chosen.shuffle(pairs)
    return dict(pairs)


def _plugin(chosen: random.Random, name: str) -> Written:
    places: list[Written] = [{}, {"after": "auth"}]
    if name != "Answers":  # what answers before auth guards nothing
        places += [{"before": "auth"}, {"before": "compress"}, {"after": "cors"}]
    return {"use": f"./own.py:{name}", **chosen.choice(places)}


@dataclass
class Place:
    """Where requests go, and by whom they may be made."""

    path: str
    guarded: str
    """`on`, `optional` or `off`."""
    in_query: bool
    answers: bool = False
    several: bool = False
    """Whether keys and passwords are accepted, too."""


@dataclass
class Town:
    """A configuration that was drawn, and its places."""

    config: Written
    places: list[Place] = field(default_factory=list)


def _effective(path: str, *levels: Written, answers: bool = False) -> Place:
    """The one rule: the nearest level that says something of `auth` decides; it says all that matters here."""
    said = [level["auth"] for level in levels if "auth" in level]
    if not said or said[-1] is False:
        return Place(path, "off", in_query=False, answers=answers)
    return Place(
        path, "optional" if said[-1]["optional"] else "on", "from" in said[-1]["jwt"], answers, "basic" in said[-1]
    )


def draw(seed: int, backend: Backend) -> Town:
    chosen = random.Random(seed)
    own = {"url": backend.url, "health_check": False, "upgrades": ["echo"], "retries": 1}
    top = _policies(chosen, plugins=False)
    town = Town({"policies": top, "services": {}, "routes": [], "consumers": CONSUMERS})
    for number in range(SERVICES):
        name, said = f"s{number}", _policies(chosen)
        versions: Written = {
            version: {**own, "policies": _policies(chosen)} for version in ("v1", "v2") if chosen.random() < 0.5
        }
        town.config["services"][name] = {**own, "policies": said, "versions": versions}
        town.config["services"][f"{name}-twin"] = {**own, "policies": said, "default_routes": False}
        town.places.append(_effective(f"/api/{name}/x", top, said))
        for version, written in versions.items():
            town.places.append(_effective(f"/{version}/{name}/x", top, said, written["policies"]))
    for number in range(ROUTES):
        _draw_route(chosen, town, f"/r{number}", top)
    last = _policies(chosen)
    first: Written = town.config["services"]["s0"]
    town.config["routes"].append({"name": "last", "fallback": True, "service": "s0", "policies": last})
    town.places.append(_effective("/nowhere", top, first["policies"], last))
    return town


def _draw_route(chosen: random.Random, town: Town, path: str, top: Written) -> None:
    service, own = f"s{chosen.randrange(SERVICES)}", _policies(chosen)
    route: Written = {"name": path[1:], "path": path, "policies": own}
    levels = [top, town.config["services"][service]["policies"], own]
    kind = chosen.choice(["service", "service", "split", "respond", "mirror", "canary"])
    if kind == "respond":
        for key in ("cache", "transform", "identity", "compress"):
            own.pop(key, None)
        route["respond"] = {"status": 200, "body": f"{MARK}a-route"}
        levels = [top, own]
    elif kind == "split":
        sides: list[Written] = [{"service": service, "weight": 50}, {"service": f"{service}-twin", "weight": 50}]
        route["split"] = sides
    else:
        route["service"] = service
    if kind == "mirror":
        route["mirror"] = {"service": f"{service}-twin"}
    if kind == "canary":
        route["canary"] = {"to": f"{service}-twin", "steps": [50], "every": "1h", "abort_if": {"errors": "99%"}}
    town.config["routes"].append(route)
    town.places.append(_effective(f"{path}/x", *levels, answers=kind == "respond"))


# ---- the service


def serve(connection: Connection) -> None:
    """Marks everything with whom it was told about; what is there may be stored for a minute."""
    while (asked := connection.next_request()) is not None:
        who = asked.get("x-consumer-username") or "nobody"
        lines = [f"X-Said: {MARK}{who}", "Cache-Control: max-age=60", 'ETag: "1"', "Content-Type: text/plain"]
        if asked.get("upgrade"):
            switch = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: echo", lines[0], "", ""]
            connection.send("\r\n".join(switch).encode())
            return
        if asked.get("expect"):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = f"{MARK}{who} ".encode() * 100
        if asked.method == "HEAD":
            connection.send("\r\n".join(["HTTP/1.1 200 OK", *lines, f"Content-Length: {len(body)}", "", ""]).encode())
        else:
            connection.answer(body, "200 OK", *lines)


# ---- the clients


@dataclass
class Asked:
    """One request: how it was made, and by whom."""

    place: Place
    who: str | None
    """The consumer; None for nobody, and empty for one with credentials that are no good."""
    number: str
    answer: Message

    @property
    def text(self) -> str:
        said = [f"{name}: {value}" for name, value in self.answer.fields]
        return "\n".join([*said, self.answer.body.decode("latin-1")])


_CLIENTS: Final = ("alice", "bob", None, None, None, "", "")


def _credentials(chosen: random.Random, who: str | None, place: Place) -> tuple[str, list[str]]:
    """A query and lines."""
    if who is None:
        pretended = [
            "X-Consumer-Username: alice",
            "Cookie: token=",
            "Authorization: Basic YTpi",
            "X_Consumer_Username: a",
        ]
        return "", chosen.sample(pretended, chosen.randint(0, 2))
    if place.several and chosen.random() < 0.5:
        return "", [_key_or_password(chosen, who)]
    good = token(sub=who, plan=who) if who else ""
    bad = [token(OTHER), token(algorithm="HS512"), token(exp=1), "x.y.z", token()[:-3], "a.b.", token() + "."]
    shown = good or chosen.choice(bad)
    if place.in_query and chosen.random() < 0.5:
        return f"?token={shown}", []
    if place.in_query and chosen.random() < 0.5:
        return "", [f"Cookie: token={shown}"]
    return "", [bearer(shown)]


def _key_or_password(chosen: random.Random, who: str) -> str:
    if chosen.random() < 0.7:  # a password is checked slowly, on purpose
        return f"X-API-Key: {KEYS[who] if who else chosen.choice([KEYS['bob'][:-1], 'x', 'ptk_a_b'])}"
    pair = f"{who or 'bob'}:{PASSWORD if who else 'guessed'}"
    return f"Authorization: Basic {b64encode(pair.encode()).decode()}"


def ask(chosen: random.Random, gateway: Gateway, place: Place, number: str) -> Asked:
    who = chosen.choice(_CLIENTS)
    query, lines = _credentials(chosen, who, place)
    path = chosen.choice([place.path, place.path, place.path, f"{place.path}/", place.path.replace("x", "%78")])
    method = chosen.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "QUERY", "PURGE", "DELETE"])
    more: list[list[str]] = [
        *(
            [],
            [],
            [],
            ["X-Answer: 1"],
            ["X-Break: 1"],
            ["If-None-Match: *"],
            ["Range: bytes=0-3"],
            ["Cache-Control: no-cache"],
        ),
        *(
            ["Connection: Upgrade", "Upgrade: echo"],
            ["Accept: text/html"],
            ["Accept-Encoding: gzip"],
            ["Origin: http://a"],
        ),
        *(["X-HTTP-Method-Override: GET"], ["Cache-Control: only-if-cached"], ["Connection: Authorization"]),
    ]
    body = b"hi" if method in ("POST", "PUT", "QUERY") else None
    if body and chosen.random() < 0.3:
        more = [["Expect: 100-continue"]]
    with Wire(gateway.port) as wire:
        sent = [*lines, f"X-Number: {number}", "Content-Type: text/plain", *chosen.choice(more)]
        wire.send(request(method, path + query, *sent, body=body))
        answer = wire.receive(method)
        while answer.status == 100:
            answer = wire.receive(method)
    return Asked(place, who, number, answer)


# ---- the property


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_gets_past_auth(seed: int) -> None:
    chosen = random.Random(seed)
    with Backend(serve) as backend:
        town = draw(seed, backend)
        gateway = Gateway(town.config)
        gateway.clean = False  # a policy that breaks is reported
        (gateway.directory / "own.py").write_text(PLUGINS)
        with gateway:
            asked = [ask(chosen, gateway, chosen.choice(town.places), f"n{seed}-{n}") for n in range(REQUESTS)]
        seen = _seen(backend)  # it has ended: copies of requests have come, too
    outcomes = Counter(map(str, (_checked(each, seen) for each in asked)))
    for outcome in ("refused", "served", "anonymous"):
        assert outcomes[outcome] > 10, outcomes


def _seen(backend: Backend) -> dict[str, str | None]:
    """The numbers of the requests that reached the service, and whom it was told about."""
    return {str(each.get("x-number")): each.get("x-consumer-username") for each in backend.requests}


def _checked(asked: Asked, seen: dict[str, str | None]) -> str:
    """What became of a request. Raises AssertionError where that is not what its place promises."""
    place, who, told = asked.place, asked.who, seen.get(asked.number)
    shown = f"{place} {who!r} {asked.answer.start} {asked.text[:600]}"
    is_refused = place.guarded != "off" and (who == "" or (who is None and place.guarded == "on"))
    if is_refused:
        assert asked.number not in seen, f"the service got it: {shown}"
        assert MARK not in asked.text, f"it got what is behind auth: {shown}"
        assert asked.answer.status >= 400 or asked.answer.status in (204, 308, 307, 301), shown
        return "refused" if asked.answer.status == 401 else "other"
    consumer = who if place.guarded != "off" and who else None
    if asked.number in seen:
        assert told == consumer, f"the service was told of {told}: {shown}"
    if MARK in asked.text and not place.answers:
        names = {part.split()[0].split("\n")[0] for part in asked.text.split(MARK)[1:]}
        allowed = {consumer or "nobody", str(consumer)}
        assert names <= allowed, f"it got the answer of {names}: {shown}"
        return "served" if consumer else "anonymous"
    return "other"
