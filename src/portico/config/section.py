"""The base class of all parts of a configuration, and types of values that several of them use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
)

from portico.core.settings import Settings


class Section(Settings):
    """A part of the file; a key with nothing after its colon counts as not written, unless it is `NotEmpty`."""

    drops_empty: ClassVar[bool] = True


class Many(Section):
    """One of a kind of which a configuration may have thousands."""

    _field_sets: ClassVar[dict[frozenset[str], set[str]]] = {}
    _no_values: ClassVar[dict[Any, Any]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """The first instance of a class decides which names all share (PEP 412): it has to have them all."""
        first = object.__new__(cls)
        for name in cls.model_fields:
            object.__setattr__(first, name, None)

    def small(self) -> Self:
        """The same in a fifth of the memory.

        Its fields are set one by one, since the dictionary that Pydantic sets has keys and room of its own; its set of
        written fields, and dictionaries with nothing in them, are those of others like it.
        """
        small, written = object.__new__(type(self)), self.model_fields_set
        object.__setattr__(small, "__pydantic_fields_set__", self._field_sets.setdefault(frozenset(written), written))
        object.__setattr__(small, "__pydantic_extra__", None)
        object.__setattr__(small, "__pydantic_private__", self.__pydantic_private__)
        for name, value in self.__dict__.items():
            object.__setattr__(small, name, self._no_values if type(value) is dict and not value else value)
        return small


Small = AfterValidator(Many.small)
"""Makes small what is one of many."""

AnySection = TypeVar("AnySection", bound=Section)
AnyPath = TypeVar("AnyPath", str, Path)


def inherit(own: AnySection, base: AnySection) -> AnySection:
    """`own`, with what it leaves unwritten taken from `base`."""
    return base.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})


def _no_yes_no(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    return value


def _empty_as_mapping(value: Any) -> Any:
    return {} if value is None else value


def _share(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", value)):
        return float(match[1]) / 100
    if isinstance(value, (int, float)) and 1 < value <= 100:
        raise ValueError(f"has to be 1 or less: write {value:g}% or {value / 100:g}")
    return value


def written_as(kind: type[dict[Any, Any]] | type[list[Any]], form: str) -> BeforeValidator:
    """Refuses a value that is written as something else than this kind, and shows the `form` in which it is right."""
    what = "a list" if kind is list else "keys and values"

    def check(value: Any) -> Any:
        if isinstance(value, (str, int, float, dict, list)) and not isinstance(value, kind):
            raise ValueError(f"expected {what}: write {form}")
        return value

    return BeforeValidator(check)


def _unset_if_empty(value: Any) -> Any:
    return None if value == "" else value


def names_like(kind: str) -> AfterValidator:
    """Checks the name of some kind of thing, in which `*` and `?` may stand for other characters."""

    def check(text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.*?-]{1,100}", text):
            raise ValueError(f"expected the name of a {kind}, in which * and ? may stand for other characters")
        return text

    return AfterValidator(check)


Whole = Annotated[int, BeforeValidator(_no_yes_no)]
"""An integer; `yes` is not 1."""

NoneIsEmpty = BeforeValidator(_empty_as_mapping)
"""For sections that may be written as a key and nothing else."""

Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=float | str), Field(ge=0, le=1)]
"""A part of a whole: 0.2, or 20%."""

Secret = Annotated[SecretStr | None, BeforeValidator(_unset_if_empty)]
"""Text that no log and no message shows; empty counts as none."""


def no_nul(value: AnyPath) -> AnyPath:
    """The path itself: no file has this character in its name."""
    if "\0" in str(value):
        raise ValueError("the path of a file has no NUL character")
    return value


FilePath = Annotated[Path, BeforeValidator(lambda value: value or None), AfterValidator(no_nul)]
"""The path of a file, not empty; relative ones start at the working directory."""


def is_word(value: Any, word: bool) -> bool:
    """Whether `value` is YAML's true or false, or that word as text, as from the environment."""
    if isinstance(value, str):
        return value.lower() in (("true", "yes", "on") if word else ("false", "no", "off"))
    return value is word
