"""Routes and consumers, of which a configuration may have thousands, in little memory."""

import sys
from typing import Any

import pytest
from pydantic import BaseModel

from portico.config import ConsumerSettings, RouteSettings
from portico.config.section import Many


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (RouteSettings, {"name": "a", "service": "b", "path": "/c"}),
        (
            RouteSettings,
            {"respond": {"status": 200}, "path": "= /x", "headers": {"X-A": "1"}, "policies": {"cors": False}},
        ),
        (ConsumerSettings, {"name": "ada", "scopes": ["a", "b"]}),
    ],
)
def test_a_small_one_is_the_same(kind: type[Many], written: dict[str, Any]) -> None:
    whole = kind.model_validate(written)
    small = whole.small()
    assert small == whole == kind.model_validate(small.model_dump(exclude_unset=True))
    assert small.model_fields_set == whole.model_fields_set
    changed = small.model_copy(update={"name": "else"})
    assert (changed.name, changed.model_fields_set) == ("else", whole.model_fields_set | {"name"})  # type: ignore[attr-defined]
    assert small.model_fields_set == whole.model_fields_set


def test_what_is_alike_is_one_object() -> None:
    ones = [RouteSettings.model_validate({"service": "a", "path": f"/{number}"}).small() for number in range(100)]
    assert {id(each.headers) for each in ones} == {id(ones[0].query)}
    assert len({id(each.model_fields_set) for each in ones}) == 1


def test_names_of_fields_are_shared() -> None:
    """Some thirty instances without them, as Pydantic makes them, and there would be no room for shared ones."""
    whole: BaseModel = RouteSettings.model_construct(name="a")
    small = RouteSettings.model_construct(name="a").small()
    assert sys.getsizeof(small.__dict__) < sys.getsizeof(whole.__dict__)
