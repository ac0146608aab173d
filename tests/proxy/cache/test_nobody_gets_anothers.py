"""Nobody gets another's answer: whatever is configured, whoever asks in whatever order, and whatever services say.

Services here say honestly which fields of a request they heed (`Vary`), and that everybody gets the same (`public` and
its like) only where that is so. They may well answer each consumer, cookie or token differently and not say so: then
what one got must never be another's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from portico.proxy.cache.asked import Asked
from portico.proxy.cache.keys import primary_key
from portico.proxy.cache.serving import Use, use_of
from portico.proxy.cache.stored import Resource
from portico.proxy.cache.storing import decide
from portico.proxy.cache.variants import Asking, asker_of
from proxy.cache.messages import ARRIVAL, DATE, NOW, asked, body, content_of, response, rules, stored


@dataclass(frozen=True)
class Person:
    """Who asks, and how."""

    query: str
    consumer: str | None
    authorization: str | None
    cookies: tuple[str, ...]
    tenant: str | None
    languages: str | None
    codings: str | None
    hides_tenant: bool

    @property
    def lines(self) -> list[str]:
        found = {
            "Authorization": self.authorization,
            "Cookie": "; ".join(self.cookies) or None,
            "X-Tenant": self.tenant,
            "Accept-Language": self.languages,
            "Accept-Encoding": self.codings,
        }
        return [f"{name}: {value}" for name, value in found.items() if value is not None]

    @property
    def asked(self) -> Asked:
        return asked(*self.lines, connection="x-tenant" if self.hides_tenant else "")

    @property
    def told(self) -> tuple[bytes, ...]:
        """What the gateway tells of the consumer."""
        return (b"X-Consumer-Username: " + self.consumer.encode(),) if self.consumer else ()

    @property
    def tenant_seen(self) -> str | None:
        return None if self.hides_tenant else self.tenant


FOR_ALL: Final = ("public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60", "public")
SAID: Final = (*FOR_ALL, *["max-age=60"] * 5, 'max-age=60, private="x-own"', "", "private, max-age=60", "no-store")
ABOUT_WHO: Final = ("consumer", "authorization", "cookies")


@dataclass(frozen=True)
class Service:
    """What its responses depend on, and what they say."""

    heeds: frozenset[str]
    says: str
    sets_cookies: bool

    @property
    def is_careless(self) -> bool:
        """Whether it answers different people differently though it says that it does not, but for `Vary`."""
        return self.says in FOR_ALL and self.sets_cookies

    def vary(self) -> list[str]:
        names = {"tenant": "X-Tenant", "languages": "Accept-Language", "codings": "Accept-Encoding"}
        if self.says in FOR_ALL:
            names |= {"consumer": "X-Consumer-Username", "authorization": "Authorization", "cookies": "Cookie"}
        return sorted(names[each] for each in self.heeds if each in names)

    def language(self, person: Person) -> str:
        wanted = (person.languages or "en").replace(" ", "").split(",")
        return next((each for each in wanted if each in ("de", "en")), "en")

    def coding(self, person: Person) -> str:
        accepted = (person.codings or "").replace(" ", "").split(",")
        return next((each for each in ("br", "gzip") if each in accepted), "identity")

    def answer(self, person: Person, selected: str, serial: int) -> str:
        """All that its response says; with a cookie of its own, each is another."""
        heeded = {
            "tenant": person.tenant_seen,
            "languages": self.language(person),
            "codings": self.coding(person),
            "consumer": person.consumer,
            "authorization": person.authorization,
            "cookies": sorted(person.cookies, key=lambda cookie: cookie.partition("=")[0]),  # by name, as all do
        }
        own = serial if self.sets_cookies else None
        return repr((selected, own, sorted((key, heeded[key]) for key in self.heeds)))

    def head(self, person: Person) -> list[str]:
        lines = [DATE, f"Cache-Control: {self.says}"]
        if self.vary():
            lines.append(f"Vary: {', '.join(self.vary())}")
        if "languages" in self.heeds:
            lines.append(f"Content-Language: {self.language(person)}")
        if "codings" in self.heeds:
            lines.append(f"Content-Encoding: {self.coding(person)}")
        if self.sets_cookies:
            lines.append("Set-Cookie: session=own")
        return lines


PARTS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "query": st.sampled_from(["", "?id=1", "?id=2", "?utm=x&id=1"]),
    "consumer": st.sampled_from([None, None, "alice", "bob"]),
    "authorization": st.sampled_from([None, None, "Bearer a", "Bearer b"]),
    "cookies": st.lists(st.sampled_from(["lang=de", "lang=en", "session=1", "session=2"]), max_size=2).map(tuple),
    "tenant": st.sampled_from([None, "t1", "t2"]),
    "languages": st.sampled_from([None, "de", "en", "en, de", "de, en"]),
    "codings": st.sampled_from([None, "gzip", "br", "gzip, br", "zstd, gzip"]),
    "hides_tenant": st.booleans(),
}
PERSON = st.builds(Person, **PARTS)
CHANGE = st.sampled_from([*PARTS, "consumer", "authorization", "cookies", "cookies"]).flatmap(
    lambda name: st.tuples(st.just(name), PARTS[name])
)


@st.composite
def crowds(draw: st.DrawFn) -> list[Person]:
    """People who have most in common: else hardly any two would ask for the same thing."""
    first = draw(PERSON)
    changes = draw(st.lists(CHANGE, min_size=2, max_size=12))
    return [first, *(replace(first, **{name: value}) for name, value in changes)]


SERVICES = st.builds(
    Service,
    heeds=st.frozensets(st.sampled_from(["tenant", "languages", "codings", *ABOUT_WHO]), min_size=1),
    says=st.sampled_from(SAID),
    sets_cookies=st.booleans(),
).filter(lambda service: not service.is_careless)
SETTINGS = st.fixed_dictionaries(
    {
        "ttl": st.sampled_from([None, 30]),
        "key": st.fixed_dictionaries(
            {
                "query": st.sampled_from(["all", ["id"], {"all_but": ["utm"]}]),
                "cookies": st.sampled_from([[], ["lang"], ["lang", "session"]]),
                "headers": st.sampled_from([[], ["X-Tenant"]]),
                "consumer": st.sampled_from(["auto", "off"]),
            }
        ),
    }
)


def selected_of(written: dict[str, Any], query: str) -> str:
    """What of the query a service heeds: what the settings do not leave out."""
    parameters = query[1:].split("&")
    return query if written["key"]["query"] == "all" else "&".join(each for each in parameters if each[:3] != "utm")


class Shop:
    """A service behind a cache that is made of the rules alone."""

    def __init__(self, service: Service, written: dict[str, Any]) -> None:
        self.service = service
        self.rules = rules(**written)
        self.written = written
        self.kept: dict[bytes, Resource] = {}
        self.hits = 0
        self._serial = count()

    def get(self, person: Person) -> None:
        """Ask for the same thing as all; what comes from the cache has to be what the service would say to this one."""
        request, told = person.asked, person.told
        asker = asker_of(self.rules, request, told, consumer=person.consumer)
        key = primary_key(self.rules, b"https", b"a", b"/x" + person.query.encode(), request)
        resource = self.kept.setdefault(key, Resource(key, b"https://a/x", "shop"))
        found = resource.find(request, asker)
        selected = selected_of(self.written, person.query)
        if found is not None and use_of(found, request, NOW + 1) is Use.FRESH:
            self.hits += 1
            assert content_of(found).decode() == self.service.answer(person, selected, next(self._serial))
            return
        head = response(*self.service.head(person))
        decision = decide(self.rules, Asking(request, b"GET", asker, person.consumer, told), head, ARRIVAL)
        if decision.stored is not None:
            answer = self.service.answer(person, selected, next(self._serial))
            resource.put(decision.stored.with_body(body(answer.encode())))


@settings(max_examples=300, deadline=None)
@given(SERVICES, SETTINGS, crowds())
def test_what_comes_from_the_cache_is_what_the_service_would_have_said(
    service: Service, written: dict[str, Any], people: list[Person]
) -> None:
    shop = Shop(service, written)
    for person in (*people, *people):
        shop.get(person)


@settings(max_examples=50, deadline=None)
@given(SETTINGS, PERSON)
def test_and_there_are_such_answers(written: dict[str, Any], person: Person) -> None:
    """Else the property above would say nothing."""
    shop = Shop(Service(frozenset({"tenant", "codings"}), "public, max-age=60", False), written)
    shop.get(person)
    shop.get(person)
    assert shop.hits == 1


@given(crowds())
def test_comparing_is_the_same_from_both_sides(crowd: list[Person]) -> None:
    """A response to one answers the other exactly if a response to the other answers the one, but for codings and
    languages, of which one may accept more than the other.
    """
    one, other = crowd[:2]
    both = [
        stored("Cache-Control: public, max-age=60", "Vary: X-Tenant, Cookie, Authorization", to=tuple(each.lines))
        for each in (one, other)
    ]
    first, second = asked(*one.lines), asked(*other.lines)
    assert both[0].matches(second, None) is both[1].matches(first, None)
    assert both[0].matches(first, None)
    assert both[1].matches(second, None)
