"""A thousand mutated tokens; `make fuzz` goes on with others."""

from __future__ import annotations

from random import Random

import pytest

from .case import Case
from .tokens import check_mutant, check_tokens, make_tokens

SEEDS, EACH = 10, 100


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_mutant_lets_anybody_in(seed: int) -> None:
    random = Random(seed)
    for _ in range(EACH):
        number = random.randrange(10**12)
        try:
            check_mutant(Random(number))
        except Exception as error:
            raise AssertionError(f"mutant {number}") from error


def test_cases_are_numbers() -> None:
    case = make_tokens(Random(1))
    check_tokens(Case.load({"clients": case.clients}))
    check_tokens(Case(["GET / HTTP/1.1\r\n\r\n"]))
