"""Which version of a service a request gets, and which side of a split: what decides it, and what else there was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portico.config import ResolvedRoute
from portico.config.split import SplitChoice
from portico.config.versions import VersionChoice, kind_of
from portico.core.errors import Refusal
from portico.core.exchange import Exchange
from portico.core.messages import as_received
from portico.proxy.routing.versions import VersionMatches
from portico.snapshot.explain.explanation import Chosen, Side, Split
from portico.snapshot.split import number_of, rules_of

_ALONE: Final = "it has all of the weight"
_OPEN: Final = "each request is shared out anew, by weight"


def version_of(written: ResolvedRoute, matches: VersionMatches, exchange: Exchange) -> Chosen:
    """The version that a request gets, and what names it."""
    choice, request = written.choice, exchange.request
    assert choice is not None
    assert request is not None
    name = matches.chooser.choose(request)
    named = matches.chooser.named(request)
    decided = next((index for index, each in enumerate(named) if each is not None), None)
    sources = [_source(choice, index) for index in range(len(choice.sources)) if choice.sources[index] != "path"]
    if isinstance(name, Refusal):
        why = name.detail
    elif decided is None:
        why = f"the request names none in {' or '.join(sources)}: it is the default"
    else:
        why = f"the request names it in {sources[decided]}"
    chosen = None if isinstance(name, Refusal) else name
    return Chosen(name=chosen, why=why, others=[each for each in choice.order if each != chosen])


def _source(choice: VersionChoice, index: int) -> str:
    """What a version is named in."""
    source = choice.sources[index]
    match kind_of(source):
        case "header":
            return " or ".join(VersionChoice("", (source,), (), None).headers())
        case "media_type":
            return f"Accept: application/vnd.{choice.media_type}.VERSION+json"
        case _:
            return f"the parameter {choice.parameter}"


def split_of(written: ResolvedRoute, exchange: Exchange, weights: Mapping[str, float], taken: str | None) -> Split:
    """What decides which side a request gets, behind the policies; `taken` is the one that it got now, if any.

    `weights` are those that hold now, by the labels of the sides.
    """
    choice = written.split
    assert choice is not None
    why = ""
    if taken is not None:
        alone = [label for label, weight in weights.items() if weight] == [taken]
        why = _ruled(choice, exchange) or (_ALONE if alone else _kept(written, choice, exchange))
    sides = [Side(name=side.label, weight=weights.get(side.label, 0.0)) for side in choice.sides]
    return Split(side=taken if why else None, why=why or _OPEN, sides=sides)


def _ruled(choice: SplitChoice, exchange: Exchange) -> str:
    """The rule that it meets, whatever the weights are."""
    assert exchange.request is not None
    fields = as_received(exchange.request).fields
    for index, is_met in rules_of(choice):
        if is_met(fields):
            side = choice.sides[index]
            named = [*(f"the field {name}" for name in side.headers), *(f"the cookie {name}" for name in side.cookies)]
            return f"it has what {side.label} asks for: {' or '.join(named)}"
    return ""


def _kept(written: ResolvedRoute, choice: SplitChoice, exchange: Exchange) -> str:
    """By what the client stays on its side; empty where it is not known yet."""
    sticky, number = choice.sticky, number_of(written, choice.sticky)
    if sticky is None or number is None:
        return ""
    assert exchange.request is not None
    if sticky.header is not None:
        known = exchange.request.fields.get(sticky.header.lower().encode())
        return f"its {sticky.header} stays on one side" if known else ""
    if sticky.by == "consumer":
        return f"the consumer {exchange.consumer} stays on one side" if exchange.consumer else ""
    if sticky.by == "client_ip":
        return f"the client {exchange.client_ip} stays on one side"
    lines = exchange.response_lines
    number(exchange)
    known_by_cookie, exchange.response_lines = exchange.response_lines is lines, lines
    return "its cookie says so" if known_by_cookie else ""
