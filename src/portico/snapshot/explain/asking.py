"""The conditions of one rule, asked one by one: what a request meets, and what it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from portico.config import ResolvedRoute
from portico.core.conditions import parameter_values
from portico.core.errors import MessageError
from portico.core.messages import Fields, RequestHead
from portico.proxy.routing.conditions import fit
from portico.proxy.routing.router import Rule, host_name
from portico.snapshot.explain.explanation import Condition, Met
from portico.snapshot.explain.paths import Difference, difference, outline_of
from portico.snapshot.explain.question import shown


class Answered(NamedTuple):
    """What a request has for one condition."""

    condition: Condition
    wanted: str
    got: str
    is_met: bool
    says: str
    at: int | None = None
    in_doubt: bool = False
    """Whether the request is refused for it."""


@dataclass(frozen=True)
class Request:
    """What rules are asked with."""

    head: RequestHead
    segments: tuple[bytes, ...]
    path: str
    """The segments as text, one character for each byte."""
    method: bytes
    """The one that is routed by: of a preflight, the one that it asks for."""
    listener: str

    @property
    def fields(self) -> Fields:
        """Its header fields."""
        return self.head.fields

    @property
    def query(self) -> bytes:
        """Without its question mark."""
        return self.head.target.partition(b"?")[2]

    @cached_property
    def host(self) -> str:
        """What is compared of its Host."""
        return shown(host_name(self.head.host))


def conditions(
    rule: Rule[Any], asked: Request, written: ResolvedRoute | None, *, takes_host: bool
) -> Iterator[Answered]:
    """Each condition that a rule has beside its path, in the order in which the router asks."""
    if rule.hosts:
        wanted = " or ".join(rule.hosts)
        says = f"the host is {asked.host or 'missing'}, not {wanted}"
        yield Answered("host", wanted, asked.host, takes_host, says)
    if rule.methods is not None:
        methods = " or ".join(sorted(method.decode() for method in rule.methods))
        is_met, method = asked.method in rule.methods, asked.method.decode()
        says = f"the method is {method}, not {methods}"
        if not is_met and asked.method.upper() in rule.methods:
            says += "; methods are case-sensitive"
        yield Answered("method", methods, method, is_met, says)
    if rule.headers:
        yield from _fields(rule, asked, written)
    if rule.query:
        yield from _query(rule, asked, written)


def path_condition(rule: Rule[Any], asked: Request, wanted: str, *, is_met: bool) -> Answered:
    """That of the path, of which the router says whether it is met."""
    if is_met:
        return Answered("path", wanted, asked.path, is_met, says="")
    found = _difference(rule, asked)
    return Answered("path", wanted, asked.path, is_met, says=found.words, at=found.at)


def _difference(rule: Rule[Any], asked: Request) -> Difference:
    return difference(outline_of(rule), asked.path, asked.segments)


def _fields(rule: Rule[Any], asked: Request, written: ResolvedRoute | None) -> Iterator[Answered]:
    values = list(written.headers.items()) if written is not None else []
    for index, (name, condition) in enumerate(rule.headers):
        own, value = values[index] if index < len(values) else (name.decode("latin-1"), "")
        found = asked.fields.get(name)
        got, wanted = "" if found is None else f"{own}: {shown(found)}", f"{own}: {value}"
        in_doubt = False
        try:
            is_met = fit(((name, condition),), (), asked.fields, b"")
            says = f"{own} is {shown(found)}, not {value}" if found is not None else f"there is no {own}: {value}"
        except MessageError as error:
            is_met, says, in_doubt = False, error.detail, True
        yield Answered("header", wanted, got, is_met, says, in_doubt=in_doubt)


def _query(rule: Rule[Any], asked: Request, written: ResolvedRoute | None) -> Iterator[Answered]:
    values = list(written.query.items()) if written is not None else []
    for index, (name, condition) in enumerate(rule.query):
        own, value = values[index] if index < len(values) else (shown(name), True)
        wanted = own if value is True else f"{own}={value}"
        found = [f"{own}={shown(each)}" for each in parameter_values(asked.query, name)]
        got = "&".join(found)
        in_doubt = False
        try:
            is_met = fit((), ((name, condition),), asked.fields, asked.query)
            says = f"the query has {got}, not {wanted}" if found else f"the query has no {wanted}"
        except MessageError as error:
            is_met, says, in_doubt = False, error.detail, True
        yield Answered("query", wanted, got, is_met, says, in_doubt=in_doubt)


def met(answered: Answered) -> Met:
    """The same as data."""
    return {"condition": answered.condition, "wanted": answered.wanted, "got": answered.got}
