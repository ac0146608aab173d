"""Requests that are refused for what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from portico.policies.consumer_fields import percent_encoded
from portico.policies.deny import DenyRule
from portico.policies.when import When
from portico.render.expressions import expression_of, literal
from portico.render.haproxy.answers import refusal
from portico.render.haproxy.conditions import meets
from portico.render.haproxy.names import Names
from portico.render.haproxy.parameters import is_there, variable_of
from portico.render.haproxy.text import equals, found_in


def is_checked(rules: Sequence[DenyRule], *, knows_consumer: bool) -> bool:
    """Whether HAProxy can tell to which requests each of these rules applies."""
    return not any(rule.when.claims or (rule.when.consumer is not None and not knows_consumer) for rule in rules)


def denying(names: Names, rules: Sequence[DenyRule], *, of_consumers: bool) -> Iterator[str]:
    """The lines of those rules that ask who it is, or of the others."""
    for rule in rules:
        if rule.needs_identity == of_consumers:
            yield from refusal(403, "request_denied", " ".join(_conditions(names, rule.when)))


def _conditions(names: Names, when: When) -> Iterator[str]:
    """What has to hold, all of it."""
    if when.methods is not None:
        yield equals("method", *sorted({*when.methods, *(["HEAD"] if "GET" in when.methods else [])}))
    if when.path is not None:
        yield found_in("var(txn.at)", expression_of(when.path))
    for name, value in when.headers.items():
        source = f"req.fhdr({name})"
        yield f"{{ {source} -m found }}" if value is True else meets(source, value)
    for name, condition in when.query.items():
        yield is_there(name) if condition is True else meets(f"var({variable_of(names, name)})", condition)
    if when.content_type is not None:
        kinds = "|".join(literal(kind).replace(r"\*", "[^/;]*") for kind in when.content_type)
        yield found_in("req.fhdr(Content-Type)", rf"(?i)^\s*(?:{kinds})\s*(?:;|$)")
    if when.consumer is True:
        yield "{ var(txn.consumer) -m found }"
    elif when.consumer is not None:
        yield equals("var(txn.consumer)", *map(percent_encoded, when.consumer))
