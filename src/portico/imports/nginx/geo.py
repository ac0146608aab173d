"""Networks of a `geo` that an `if` refuses, as `allow` and `deny` say it."""

from __future__ import annotations

from ipaddress import ip_network

from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.variables import Choice, Value, Var


def refused_networks(directive: Directive, choice: Choice | None) -> list[Directive] | None:
    """The lines that refuse with 403 whom the `if` refuses; None where they would refuse others.

    The networks of a `geo` are asked by their size, those of `allow` and `deny` in their order: so all of them have to
    be refused, or all others.
    """
    answers = [(each.name, each.args) for each in directive.block or ()]
    if (
        choice is None
        or choice.kind != "geo"
        or choice.source != (Var("remote_addr"),)
        or answers != [("return", ("403",))]
    ):
        return None
    said = [_holds(directive, value) for _, value, _ in choice.entries]
    default = _holds(directive, choice.default)
    if not said or None in said or default is None or any(each == default for each in said):
        return None
    lines = [Directive("allow" if default else "deny", (network,), line.where) for network, _, line in choice.entries]
    if not all(_is_network(network) for network, _, _ in choice.entries):
        return None
    return [*lines, Directive("deny", ("all",), directive.where)] if default else lines


def _holds(directive: Directive, value: Value) -> bool | None:
    """Whether an `if` about a variable alone holds where that has a value; None where that is not known."""
    words = " ".join(directive.args).strip("() ").split()
    text = "" if not value else value[0] if len(value) == 1 and isinstance(value[0], str) else None
    if text is None or len(words) not in (1, 3):
        return None
    if len(words) == 1:
        return text not in ("", "0")
    operand = words[2].strip("\"'")
    return {"=": text == operand, "!=": text != operand}.get(words[1])


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
