"""What a location does with a request: `set`, `if`, `rewrite` and `return` in their order, then what answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from portico.imports.nginx.answering import ELSEWHERE
from portico.imports.nginx.branches import State
from portico.imports.nginx.geo import refused_networks
from portico.imports.nginx.locations import Branch
from portico.imports.nginx.narrowing import Conditions, Narrow, Test
from portico.imports.nginx.policies import ClosedError
from portico.imports.nginx.rewriting import Rewriting
from portico.imports.nginx.syntax import Directive
from portico.imports.nginx.variables import Var, Variables

_ELSEWHERE_TOO = frozenset({*ELSEWHERE, "rewrite", "return", "try_files", "error_page", "break"})


@dataclass(slots=True)
class Walk(Rewriting):
    """Makes the branches of one location of a server."""

    def branches(self, variables: Variables) -> list[Branch]:
        """All branches, those that are asked first in front."""
        state = State(variables.copy(), self.location.scope)
        try:
            if self.location.unsaid:
                self.closed(
                    state, self.location.directive, f"which requests come here cannot be said: {self.location.unsaid}"
                )
            elif self.location.scope.one("internal") is not None:
                self._add(state, self.location.directive, {"respond": 404})
            else:
                self.run(self.location.block, state)
        except ClosedError as closed:
            self.closed(state, closed.directive, closed.why)
        return [*self.found, *self.last]

    def run(self, block: Sequence[Directive], state: State) -> None:
        """A location's statements, and then what answers there."""
        if not self.statements(block, state):
            self.content(state)

    def statements(self, block: Sequence[Directive], state: State) -> bool:
        """Whether one of them has ended the request."""
        for each in block:
            if each.name == "set" and len(each.args) == 2:
                state.variables.set(each.value.removeprefix("$"), each.args[1], each.where)
                self.ledger.taken(each)
            elif each.name == "auth_request_set" and len(each.args) == 2:
                state.variables.set(each.value.removeprefix("$"), each.args[1], each.where)
            elif each.name == "break":
                return False
            elif each.name == "return":
                self.answer(each, state)
                return True
            elif each.name == "if" and each.block is not None:
                if self.condition(each, state):
                    return True
            elif each.name == "rewrite" and self.rewrite(each, state):
                return True
        return False

    def condition(self, directive: Directive, state: State) -> bool:
        """An `if`. Whether it has ended the request whatever that is."""
        block = directive.block or ()
        if self._is_preflight(directive, state):
            return False
        outcome = self._outcome(directive, state)
        if outcome is False:
            self.ledger.taken(directive, *block)
            return False
        if outcome is None:
            self._unknown(directive, state)
            return False
        self.ledger.taken(directive)
        if outcome is True:
            return self._inside(block, state, state.narrow)
        if not any(each.name in ("return", "rewrite", "proxy_pass", *ELSEWHERE) for each in block):
            self._edits(directive, state)
            return False
        return self._branch(directive, outcome, state)

    def _branch(self, directive: Directive, outcome: Test, state: State) -> bool:
        block = directive.block or ()
        narrowed = [both for each in outcome.any_of if (both := state.narrow.and_(each)) is not None]
        if outcome.negated:
            if len(narrowed) != 1:
                self._unknown(directive, state)
                return False
            inner = Walk(
                self.location, self.ledger, self.services, self.chooser, self.scheme, self.server_name, self.root
            )
            copy = state.copy()
            copy.scope = state.scope.inside(block)
            if not inner.statements(block, copy):
                inner.content(copy)
            self.last = [*inner.found, *inner.last, *self.last]
            state.narrow = narrowed[0]
            return False
        for narrow in narrowed:
            copy = state.copy()
            copy.variables.own |= dict(narrow.chosen)
            try:
                self._inside(block, copy, narrow)
            except ClosedError as closed:
                copy.narrow = narrow
                self.closed(copy, closed.directive, closed.why)
        return False

    def _inside(self, block: Sequence[Directive], state: State, narrow: Narrow) -> bool:
        """The block of an `if` for those requests. Whether it has ended them."""
        before = state.narrow, state.scope
        state.narrow, state.scope = narrow, state.scope.inside(block)
        ended = self.statements(block, state)
        if not ended and any(each.name in ("proxy_pass", *ELSEWHERE) for each in block):
            self.content(state)
            ended = True
        if not ended and narrow is not before[0] and state.uri is not None:
            self.content(state)
            ended = True
        state.narrow, state.scope = before
        return ended

    def _outcome(self, directive: Directive, state: State) -> Test | bool | None:
        words = [*directive.args]
        if not words or not words[0].startswith("(") or not words[-1].endswith(")"):
            return None
        words[0], words[-1] = words[0][1:], words[-1][:-1] if len(words) > 1 else words[0][1:-1]
        words = [word for word in words if word != ""] if len(words) > 3 else [w for i, w in enumerate(words) if w or i]
        if words and re.fullmatch(r"!?-[fdex]", words[0]):
            self.ledger.changed(directive, "no files are looked for: none is there")
            return words[0].startswith("!")
        if len(words) == 2 and words[1] in ("=", "!="):
            words.append("")
        if len(words) == 2 and words[1] == "":
            words = words[:1]
        if len(words) not in (1, 3) or (len(words) == 3 and words[1] not in ("=", "!=", "~", "~*", "!~", "!~*")):
            return None
        value = state.variables.expand(words[0], directive.where)
        operator, operand = (words[1], words[2]) if len(words) == 3 else ("", "")
        is_path = value in ((Var("path"),), (Var("uri"),))
        if is_path and operator in ("!~", "!~*") and self._is_own_path(operand):
            return False  # the location has seen to it already
        return Conditions(state.variables, self.scheme).of(value, operator, operand)

    def _is_own_path(self, expression: str) -> bool:
        return self.location.is_pattern and expression == self.location.path

    def _unknown(self, directive: Directive, state: State) -> None:
        """A condition that no route can ask for: what it refuses is refused to all, what else it does is left."""
        block = directive.block or ()
        refusal = next((each for each in block if each.name == "return" and _refuses(each)), None)
        choice = state.variables.choices.get(directive.args[0].strip("($)") if directive.args else "")
        networks = refused_networks(directive, choice) if self._is_plain(directive, state) else None
        if networks is not None:
            self.ledger.taken(directive, *block)
            state.scope = state.scope.inside(networks)
            return
        if refusal is not None:
            why = "no route can ask for this, and it refuses requests"
            if choice is not None and choice.kind == "geo":
                why += "; write its networks into policies.ip_filter"
            raise ClosedError(directive, why)
        if any(each.name in ("proxy_pass", "rewrite", "return", *ELSEWHERE) for each in block):
            why = "no route can ask for this, and it decides where requests go"
            if choice is not None and choice.source == (Var("request_uri"),):
                why += "; whole paths are read from a map of $uri in place of $request_uri"
            raise ClosedError(directive, why)
        for each in block:
            if each.name == "set" and each.args:
                state.variables.own[each.value.removeprefix("$")] = (Var(f"if:{each.where.line}"),)
        self._edits(directive, state)

    def _is_plain(self, directive: Directive, state: State) -> bool:
        """Whether what an `if` refuses holds for all of the location, which goes nowhere else and has no such rules."""
        block = self.location.block
        return (
            any(each is directive for each in block)
            and any(each.name == "proxy_pass" for each in block)
            and not any(each.name in _ELSEWHERE_TOO for each in block)
            and not state.scope.all("allow", "deny")
            and state.scope.value("satisfy", "all") == "all"
        )

    def _edits(self, directive: Directive, state: State) -> None:
        """A block that only sets variables or fields for some requests."""
        about_cors = []
        for each in directive.block or ():
            if each.name == "add_header" and each.value.lower().startswith("access-control-"):
                about_cors.append(each)
            elif each.name == "set" and each.args:
                state.variables.own[each.value.removeprefix("$")] = (Var(f"if:{each.where.line}"),)
                self.ledger.left(each, "what depends on this condition is left")
            elif each.name != "break":
                self.ledger.left(each, "this is not done for some requests only")
        state.cors += about_cors
        self.ledger.taken(directive)

    def _is_preflight(self, directive: Directive, state: State) -> bool:
        """Whether an `if` answers preflights, which the policy cors does."""
        words = " ".join(directive.args).replace("'", "").replace('"', "")
        if not re.fullmatch(r"\(\s*\$request_method\s*(=|~\*?)\s*\^?\(?OPTIONS\)?\$?\s*\)", words):
            return False
        block = directive.block or ()
        answers = [each for each in block if each.name == "return" and each.value in ("200", "204")]
        fields = [each for each in (*block, *state.scope.all("add_header")) if each.name == "add_header"]
        if not answers or not any(each.value.lower() == "access-control-allow-origin" for each in fields):
            return False
        state.cors += [
            each for each in block if each.name == "add_header" and each.value.lower().startswith("access-control-")
        ]
        self.ledger.taken(directive, *block, why="cors answers preflights")
        return True


def _refuses(directive: Directive) -> bool:
    return bool(re.fullmatch(r"[45]\d\d", directive.value))
