"""Which requests an `if` or a line of a `map` is about, as the conditions of a route."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from portico.core.conditions import value_pattern_of
from portico.core.hosts import host_name
from portico.imports.nginx.values import field_name
from portico.imports.nginx.variables import Choice, Value, Var, Variables, literal

_METHODS: Final = re.compile(r"\^?\(?(?:\?:)?([A-Z]+(?:\|[A-Z]+)*)\)?\$?")
_FALSE: Final = ("", "0")


@dataclass(frozen=True, slots=True)
class Narrow:
    """Conditions of a route; `pattern` is one on the path."""

    methods: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str | Literal[True]] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    pattern: str = ""
    chosen: tuple[tuple[str, Value], ...] = ()
    """What variables are for these requests, that a map has chosen."""

    def __hash__(self) -> int:
        return hash(repr(self))

    def and_(self, other: Narrow) -> Narrow | None:
        """Both; None where no route can ask for both."""
        if self.hosts and other.hosts and self.hosts != other.hosts:
            return None
        if self.pattern and other.pattern and self.pattern != other.pattern:
            return None
        methods = self.methods or other.methods
        if self.methods and other.methods:
            methods = tuple(each for each in self.methods if each in other.methods)
            if not methods:
                return None
        for mine, others in ((self.headers, other.headers), (self.query, other.query)):
            if any(mine[name] != others[name] for name in mine.keys() & others.keys()):
                return None
        return Narrow(
            methods,
            self.headers | other.headers,
            self.query | other.query,
            self.hosts or other.hosts,
            self.pattern or other.pattern,
            (*self.chosen, *other.chosen),
        )

    @property
    def weight(self) -> tuple[int, bool]:
        """By what routes for one path are ordered, the highest first."""
        return len(self.headers) + len(self.query), bool(self.methods)


@dataclass(frozen=True, slots=True)
class Test:
    """A condition that some requests meet: one of several narrowings, or, `negated`, none of them."""

    any_of: tuple[Narrow, ...]
    negated: bool = False


Outcome = Test | bool | None
"""What is known of a condition: it holds for some requests, for all, for none; None where nobody here can say."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Reads conditions; `scheme` is that of the listener, where all are alike."""

    variables: Variables
    scheme: str | None

    def of(self, value: Value, operator: str, operand: str) -> Outcome:
        """What `value operator operand` asks for; without an operator, whether the value is neither empty nor 0."""
        if operator.startswith("!"):
            if value == (Var("request_uri"),) and not _is_beginning(operand):
                return None  # what has a query does not match there, and would here: it would get through
            return _not(self.of(value, {"!=": "=", "!~": "~", "!~*": "~*"}[operator], operand))
        text = literal(value)
        if text is not None:
            return _of_text(text, operator, operand)
        if len(value) == 1 and isinstance(value[0], Var):
            return self._of_variable(value[0].name, operator, operand)
        return None

    def _of_variable(self, name: str, operator: str, operand: str) -> Outcome:
        choice = self.variables.choices.get(name)
        if choice is not None:
            return self._of_choice(name, choice, operator, operand)
        if name == "request_method":
            found = _METHODS.fullmatch(operand)
            return _one(methods=_methods(found[1])) if operator and found else None
        if name.startswith("http_") and name != "http_host":
            return _of_field(field_name(name[5:]), operator, operand)
        if name.startswith("arg_"):
            condition = _condition(operator, operand)
            return None if condition is None else _one(query={name[4:]: condition})
        if name.startswith("cookie_"):
            return _of_cookie(name[7:], operator, operand)
        if name in ("host", "http_host", "server_name"):
            return _of_host(operator, operand)
        if name in ("scheme", "https"):
            return self._of_scheme(name, operator, operand)
        if name == "request_uri" and not _is_of_path(operand):
            return None
        if name in ("uri", "path", "request_uri") and operator in ("~", "~*"):
            return _one(pattern=f"{operator} {operand}")
        if name in ("uri", "path") and operator == "=":
            return _one(pattern=f"= {operand}")
        return None

    def _of_scheme(self, name: str, operator: str, operand: str) -> Outcome:
        if self.scheme is None:
            return None
        if name == "https":
            return _of_text("on" if self.scheme == "https" else "", operator, operand)
        return _of_text(self.scheme, operator, operand)

    def _of_choice(self, name: str, choice: Choice, operator: str, operand: str) -> Outcome:
        """Which requests get a value from a map that meets the condition."""
        if choice.kind != "map":
            return None
        met: list[Narrow] = []
        missed = False
        for key, value, _ in choice.entries:
            holds = self.of(value, operator, operand) if literal(value) is not None else None
            if holds is None or isinstance(holds, Test):
                return None
            if not holds:
                missed = True
                continue
            narrow = self.of_entry(choice, key)
            if narrow is None or missed:
                return None  # the lines before it may take some of its requests
            met.append(replace(narrow, chosen=(*narrow.chosen, (name, value))))
        default = literal(choice.default)
        otherwise = None if default is None else _of_text(default, operator, operand)
        if otherwise is None or isinstance(otherwise, Test):
            return None
        if not otherwise:
            return Test(tuple(met)) if met else False
        return True if not missed else self._complement(choice, operator, operand)

    def _complement(self, choice: Choice, operator: str, operand: str) -> Outcome:
        """Where the default meets the condition: all requests but those of the lines that do not."""
        missing: list[Narrow] = []
        for key, value, _ in choice.entries:
            if _of_text(literal(value) or "", operator, operand):
                return None
            narrow = self.of_entry(choice, key)
            if narrow is None:
                return None
            missing.append(narrow)
        return Test(tuple(missing), negated=True)

    def of_entry(self, choice: Choice, key: str) -> Narrow | None:
        """The requests that take a line of a map; None where a route cannot ask for them."""
        operator, operand = "=", key
        if key.startswith("~*"):
            operator, operand = "~*", key[2:].strip()
        elif key.startswith("~"):
            operator, operand = "~", key[1:].strip()
        outcome = self.of(self.variables.expand(choice.source, choice.directive.where), operator, operand)
        if isinstance(outcome, Test) and not outcome.negated and len(outcome.any_of) == 1:
            return outcome.any_of[0]
        return None


def _is_of_path(pattern: str) -> bool:
    """Whether a pattern for path and query looks at the path alone."""
    return pattern.startswith("^/") and "?" not in pattern.replace("\\?", "")


def _is_beginning(pattern: str) -> bool:
    """Whether it is what a path begins with, so that no query makes a difference."""
    return re.fullmatch(r"\^/[\w/-]*", pattern) is not None


def _methods(text: str) -> tuple[str, ...]:
    """Those of `GET|HEAD`; here GET brings HEAD with it."""
    methods = [*dict.fromkeys(text.split("|"))]
    return tuple(each for each in methods if each != "HEAD" or "GET" not in methods)


def _one(**conditions: object) -> Test:
    return Test((Narrow(**conditions),))  # type: ignore[arg-type]


def _not(outcome: Outcome) -> Outcome:
    if outcome is None:
        return None
    return Test(outcome.any_of, not outcome.negated) if isinstance(outcome, Test) else not outcome


def _of_text(text: str, operator: str, operand: str) -> Outcome:
    if not operator:
        return text not in _FALSE
    if operator == "=":
        return text == operand
    return None if operator.startswith("-") else _finds(operand, operator == "~*", text)


def _finds(expression: str, ignores_case: bool, text: str) -> bool | None:
    from portico.core.patterns.pattern_set import PatternSet

    try:
        pattern = value_pattern_of(f"{'~*' if ignores_case else '~'} {expression}")
    except (ValueError, RecursionError):
        return None
    return bool(PatternSet([pattern]).matches(text))


def _condition(operator: str, operand: str) -> str | None:
    """What is asked of a value; None where Portico cannot ask it."""
    if not operator:
        return "~ ."
    if operator == "=":
        if not operand:
            return None
        plain = re.fullmatch(r"[A-Za-z0-9_./:@-]+(?: [A-Za-z0-9_./:@-]+)*", operand)
        return operand if plain else _taken("~ ^" + re.sub(r"[.\[\](){}*+?^$|\\]", r"\\\g<0>", operand) + "$")
    whole = re.fullmatch(r"\^((?:[A-Za-z0-9_/:@-]|\\\.)+)\$", operand)
    if operator == "~" and whole is not None:
        return whole[1].replace("\\.", ".")
    return _taken(f"{operator} {operand}") if operator in ("~", "~*") else None


def _taken(condition: str) -> str | None:
    try:
        value_pattern_of(condition)
    except (ValueError, RecursionError):
        return None
    return condition if condition.isascii() and condition.isprintable() else None


def _of_field(name: str, operator: str, operand: str) -> Outcome:
    if operator == "=" and not operand:
        return Test((Narrow(headers={name: "~ ."}),), negated=True)
    condition = _condition(operator, operand)
    return None if condition is None else _one(headers={name: condition})


def _of_cookie(name: str, operator: str, operand: str) -> Outcome:
    before = rf"(^|; *){re.escape(name)}="
    if not operator:
        condition = _taken(f"~ {before}[^;]")
    elif operator == "=":
        condition = _taken(f"~ {before}{re.escape(operand)}(;|$)")
    elif operand.startswith("^") and operand.endswith("$"):
        condition = _taken(f"{operator} {before}{operand[1:-1]}(;|$)")
    else:
        condition = None
    return None if condition is None else _one(headers={"Cookie": condition})


def _of_host(operator: str, operand: str) -> Outcome:
    if operator == "=":
        try:
            return _one(hosts=(host_name(operand, wildcard=False),))
        except ValueError:
            return None
    if operator in ("~", "~*"):
        plain = re.fullmatch(r"\^((?:[A-Za-z0-9-]|\\\.)+)\$", operand)
        if plain:
            return _of_host("=", plain[1].replace("\\.", "."))
        condition = _taken(f"~* {host_expression(operand)}")
        return None if condition is None else _one(headers={"Host": condition})
    return None


def host_expression(expression: str) -> str:
    """An expression for a host as one for the Host field, which may have a port."""
    return (
        expression[:-1] + "(:[0-9]+)?$" if expression.endswith("$") and not expression.endswith("\\$") else expression
    )
