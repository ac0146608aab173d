"""The smallest case that still fails the same property: what a reader has to look at, and what goes into the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from .case import Answer, Case

T = TypeVar("T")
Fails = Callable[[Case], bool]


def shrink(case: Case, fails: Fails, most: int = 3000) -> Case:
    """Try smaller cases, at most `most` of them, as long as one fails."""
    left = most
    progress = True
    while progress and left > 0:
        progress = False
        for smaller in _smaller(case):
            left -= 1
            if left <= 0:
                break
            if fails(smaller):
                case, progress = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with a part left out or made plain, the boldest first."""
    for clients in _shorter_lists(case.clients):
        yield replace(case, clients=clients)
    for answers in _shorter_lists(case.answers):
        yield replace(case, answers=answers)
    for texts in _shorter_lists(case.policies):
        yield replace(case, policies=texts)
    plain: dict[str, Any]
    for plain in (
        *({"limits": {}}, {"trusted": False}, {"hangs_up": False}, {"dials": "o"}, {"sizes": [1 << 20]}),
        *({"sizes": case.sizes[:1]}, {"schedule": ""}),
    ):
        if any(getattr(case, key) != value for key, value in plain.items()):
            yield replace(case, **plain)
    for schedule in _shorter_texts(case.schedule):
        yield replace(case, schedule=schedule)
    for index, client in enumerate(case.clients):
        for text in _shorter_texts(client):
            yield replace(case, clients=[*case.clients[:index], text, *case.clients[index + 1 :]])
    for index, answer in enumerate(case.answers):
        others = case.answers[:index], case.answers[index + 1 :]
        for text in _shorter_texts(answer.raw):
            yield replace(case, answers=[*others[0], replace(answer, raw=text), *others[1]])
        if (answer.early, answer.end) != (False, "keep"):
            yield replace(case, answers=[*others[0], Answer(answer.raw), *others[1]])


def _shorter_lists(items: list[T]) -> Iterator[list[T]]:
    if len(items) > 1:
        for index in range(len(items)):
            yield items[:index] + items[index + 1 :]


def _shorter_texts(text: str) -> Iterator[str]:
    """The text without halves, quarters and so on, down to single characters where it is short."""
    size = len(text) // 2
    least = 0 if len(text) <= 400 else len(text) // 400
    while size > least:
        for start in range(0, len(text), size):
            yield text[:start] + text[start + size :]
        size //= 2
