"""Patterns in RE2's words. Envoy compares the whole path, as it was sent: `%2f` may be `%2F`."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from portico.core.conditions import is_value_pattern
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of
from portico.render.expressions import expression_of, literal, value_expression

_HEX: Final = r"(?:[0-9A-F]|\[[0-9A-F-]+\])"
_CLASS: Final = r"\[(?:\\.|[^\]\\])*\]"
_ENCODED: Final = re.compile(rf"%(?:{_HEX}\{{2\}}|\(\?:(?:{_HEX}|\|)+\)|{_HEX}{_HEX})|\\.|{_CLASS}")
_LETTERS: Final = re.compile(r"\[([0-9A-F-]+)\]|[A-F]")
_UNRESERVED: Final = "-._~"


def whole_path(path: str) -> str:
    """What matches the whole of the paths that a route's path takes."""
    return _either_case(_whole(expression_of(path), ".*"))


def whole_value(condition: str) -> str:
    """What matches the whole of the values of fields that meet a condition."""
    # A field may hold bytes that are no UTF-8, which a dot does not take.
    return "(?s)" + _whole(value_expression(condition), r"\C*") if is_value_pattern(condition) else literal(condition)


def parameter(value: str) -> str:
    """What matches the whole of a parameter's value, as it was sent."""
    return "".join(map(_sent, value))


def hidden(text: str) -> str:
    """What matches a name or value of the query however it was encoded: for rules that refuse."""
    return "".join(f"(?:{_encoded(letter)}|{_sent(letter)})" for letter in text)


def _encoded(letter: str) -> str:
    return "".join(_either_case(f"%{byte:02X}") for byte in letter.encode())


def beginning(path: str) -> str:
    """What finds a prefix at the beginning of a path, with the slash behind it."""
    return f"^{_either_case(literal(path.rstrip('/')))}/" + ("?" if path != "/" else "")


def anchored(path: str) -> str:
    """What finds all of a path: in Envoy, what replaces a path replaces each place that is found."""
    return f"^{whole_path(path)}$"


def group_names(path: str) -> tuple[str, ...]:
    """The names of a pattern's groups, in the order of their numbers."""
    return pattern_of(path).names if is_pattern(path) else ()


def is_plain(path: str) -> bool:
    """Whether a path that is no pattern can be compared as it stands."""
    return not is_pattern(path) and "%" not in path


def exact(path: str) -> str:
    """The whole path, or the prefix, of a route without a pattern."""
    return literal_of(path) if is_exact(path) else path


def _whole(expression: str, any_text: str) -> str:
    """The same, of all of the text."""
    if _is_one(expression):
        begins, ends = expression.startswith("^"), expression.endswith("$") and not expression.endswith(r"\$")
        inner = expression[begins : len(expression) - ends]
        return ("" if begins else any_text) + inner + ("" if ends else any_text)
    return f"{any_text}(?:{expression}){any_text}"


def _is_one(expression: str) -> bool:
    """Whether it has no alternatives but in groups."""
    depth = 0
    for part in re.findall(rf"\\.|{_CLASS}|.", expression, re.DOTALL):
        depth += {"(": 1, ")": -1}.get(part, 0)
        if part == "|" and not depth:
            return False
    return True


def _either_case(expression: str) -> str:
    return _ENCODED.sub(lambda found: _lower_too(found[0]) if found[0][0] == "%" else found[0], expression)


def _lower_too(encoded: str) -> str:
    def both(found: re.Match[str]) -> str:
        if found[1] is None:
            return f"[{found[0]}{found[0].lower()}]"
        return f"[{found[1]}{''.join(re.findall('[A-F]-[A-F]|[A-F]', found[1])).lower()}]"

    return _LETTERS.sub(both, encoded)


def _sent(letter: str) -> str:
    if letter.isascii() and (letter.isalnum() or letter in _UNRESERVED):
        return literal(letter)
    sent = _either_case("".join(quote(letter, safe="")))
    others = [r"\+"] if letter == " " else [literal(letter)]
    return f"(?:{'|'.join([sent, *others])})"
