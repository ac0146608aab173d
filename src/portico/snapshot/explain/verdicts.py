"""What the policies of a route make of a request, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from portico.core.errors import Answer, Refusal
from portico.policies import POLICY_SETTINGS
from portico.snapshot.explain.explanation import Verdict
from portico.snapshot.explain.trail import State, Step, Trail

SourceOf: TypeAlias = Callable[[str, str], "list[str | int]"]
"""Where the policies of a key and a scope are written."""

_LEFT: Final = re.compile(rb'"(?P<name>[^"]*)";r=(?P<left>\d+);t=(?P<reset>\d+)')
_ALLOWED: Final = re.compile(rb'"(?P<name>[^"]*)";q=(?P<allowed>\d+);w=(?P<window>\d+)(?P<cost>;portico-cost)?')
_PASSES: Final = {
    "authorize": "the consumer has what is asked for",
    "auth": "no credentials are shown, and none are needed",
    "body_size": "the body is not larger than it may be",
    "compress": "the response may be compressed",
    "cors": "no preflight, and no page of an origin that is refused",
    "decompress": "the body has no coding",
    "deny": "no rule is for this request",
    "endpoints": "the address is one of the networks of this endpoint",
    "ip_filter": "the address is accepted",
    "mcp": "the fields say what the body says, or are not there",
    "rate_limit": "it does not count",
    "redirect_slash": "no redirect",
    "split": "the side is chosen",
    "transform": "no rule changes the request",
    "validate": "the request is as the document has it",
    "versions": "responses say what version this is",
}
"""What is said of a policy that lets a request pass and changes nothing of it."""
_STANDING: Final = {
    "cache": "responses may be stored",
    "errors": "answers of the gateway's own have this form",
    "headers": "fields are changed on their way",
    "rewrite_cookies": "cookies of the service get the client's path and domain",
    "rewrite_location": "redirects and links of the service get the client's address",
}
"""What is said of a policy that has no word on requests."""


def verdicts(trail: Trail, written: Mapping[str, tuple[Any, str]], source: SourceOf) -> list[Verdict]:
    """What each policy says, in the order in which they are asked; then those that have no word on requests.

    `source` gives where the policies of a key and a scope are written.
    """
    ended_by = next((step.key for step in trail.steps if step.answer is not None), None)
    said = [_verdict(step, written, ended_by, source) for step in trail.steps]
    asked = {step.key for step in trail.steps}
    for key in POLICY_SETTINGS:
        settings, scope = written.get(key, (None, ""))
        if settings is not None and key not in asked:
            said.append(_said(key, scope, "passes", _standing(key, settings, trail), source))
    return said


def _standing(key: str, settings: Any, trail: Trail) -> str:
    """What is said of a policy that was not asked."""
    if key == "headers":
        return _requests(settings)
    if key == "identity":
        consumer = trail.exchange.consumer if trail.exchange is not None else None
        return "nobody is signed for" if consumer is None else f"signs for each attempt that {consumer} asks"
    return _STANDING.get(key, _PASSES.get(key, ""))


def _verdict(
    step: Step,
    written: Mapping[str, tuple[Any, str]],
    ended_by: str | None,
    source: SourceOf,
) -> Verdict:
    _, scope = written.get(step.key, (None, ""))
    scope = step.scope or scope
    if step.after is None:
        if step.before is not None:
            return _said(step.key, scope, "unknown", _waits(step), source)
        why = f"it is not asked: {ended_by} ends the request before" if ended_by else "it is not asked"
        return _said(step.key, scope, "unknown", why, source)
    if step.answer is not None:
        if step.asks and step.trail.is_open:
            return _said(step.key, scope, "unknown", _waits(step), source)
        says = "refused" if isinstance(step.answer, Refusal) or step.answer.status >= 400 else "answered"
        return _said(step.key, scope, says, _of_answer(step.answer), source)
    assert step.before is not None
    return _said(step.key, scope, "passes", "; ".join(_changes(step, step.before, step.after)), source)


def _said(key: str, scope: str, says: Any, detail: str, source: SourceOf) -> Verdict:
    where = source(key, scope)
    return {"key": key, "scope": scope, "source": where, "where": "", "says": says, "detail": detail}


def _waits(step: Step) -> str:
    if step.asks:
        return f"{', '.join(step.asks)} would be asked, and is not for an explanation"
    return "it needs the body, which is not known"


def _of_answer(answer: Answer) -> str:
    if isinstance(answer, Refusal):
        return f"{answer.status} {answer.reason}: {answer.detail}"
    return f"{answer.status}"


def _changes(step: Step, before: State, after: State) -> Iterator[str]:
    """What a policy that lets a request pass makes of it, or why it says nothing."""
    found = [*_of_step(step), *_of_consumer(before, after), *_of_request(before, after), *_of_response(before, after)]
    yield from found or [_PASSES.get(step.key, "nothing to say")]


def _of_step(step: Step) -> Iterator[str]:
    if step.asks and step.key == "plugins":
        yield (
            f"{', '.join(step.asks)} would be called, and is not for an explanation: what follows supposes that it "
            "changes nothing"
        )
    elif step.asks:
        yield (
            f"{', '.join(step.asks)} would be asked, and is not for an explanation: what follows supposes that it says "
            "yes and names nobody"
        )


def _of_consumer(before: State, after: State) -> Iterator[str]:
    if after.consumer != before.consumer and after.consumer is not None:
        scopes = f" with the scopes {' '.join(after.scopes)}" if after.scopes else ""
        yield f"the consumer is {after.consumer or 'without a name'}{scopes}"
    if after.shadow != before.shadow:
        yield f"it would refuse, were it enforced: {after.shadow}"


def _of_request(before: State, after: State) -> Iterator[str]:
    if after.method != before.method:
        yield f"the method becomes {_text(after.method)}"
    if after.target != before.target:
        yield f"the path becomes {_text(after.target)}"
    if after.query != before.query:
        yield f"the query becomes {_text(after.query) or 'empty'}"
    gone, come = _names(before.lines, after.lines), _names(after.lines, before.lines)
    changed = [name for name in come if name in gone]
    if gone := [name for name in gone if name not in changed]:
        yield f"the service does not get {', '.join(gone)}"
    if changed:
        yield f"changes {', '.join(changed)}"
    if come := [name for name in come if name not in changed]:
        yield f"the service gets {', '.join(come)}"
    if after.framing != before.framing:
        yield f"the body becomes {after.framing} bytes" if after.framing >= 0 else "the length of the body is not known"
    if added := _names(after.request_lines, before.request_lines):
        yield f"the service gets {', '.join(added)}"


def _of_response(before: State, after: State) -> Iterator[str]:
    lines = [line for line in after.response_lines if line not in before.response_lines]
    known = b"\n".join(before.response_lines)
    policies = b"\n".join(line for line in lines if line.startswith(b"RateLimit-Policy:"))
    allowed = {found["name"]: found for found in _ALLOWED.finditer(policies)}
    for line in lines:
        if line.startswith(b"RateLimit:"):
            for found in _LEFT.finditer(line):
                if found[0] not in known:
                    yield _of_limit(found, allowed.get(found["name"]))
    others = [line for line in lines if not line.startswith((b"RateLimit:", b"RateLimit-Policy:"))]
    if names := _names(others, ()):
        yield f"the client gets {', '.join(names)}"


def _of_limit(found: re.Match[bytes], allowed: re.Match[bytes] | None) -> str:
    left, reset, name = int(found["left"]), int(found["reset"]), _text(found["name"])
    if allowed is None:
        return f"{name}: {left} left"
    kind = "of what responses cost " if allowed["cost"] else ""
    budget = f"{int(allowed['allowed'])} {kind}in {int(allowed['window'])} s"
    until = f"whole again in {reset} s" if left else f"the next in {reset} s"
    return f"{name}: {left} left behind this request, of {budget}; {until}"


def _names(lines: Iterable[bytes], but: Sequence[bytes]) -> list[str]:
    """The names of those lines that are not among others, each once."""
    return [*dict.fromkeys(_text(line.partition(b":")[0]) for line in lines if line not in but)]


def _requests(settings: Any) -> str:
    """What `headers` does with requests and responses."""
    said = []
    for direction, edits in (("the service", settings.request), ("the client", settings.response)):
        for verb, names in (("set", edits.set), ("added", edits.add), ("removed", edits.remove)):
            if names:
                said.append(f"{', '.join(names)} {verb} for {direction}")
    return "; ".join(said) or _STANDING["headers"]


def _text(data: bytes) -> str:
    return data.decode("latin-1")
