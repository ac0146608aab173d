"""Edits of JSON, compiled once and applied to many texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from portico.core.json_text.merging import MergeValue
from portico.core.json_text.pointers import Level, inner_names_of, plain
from portico.core.json_text.steps import merging, picking, removing, renaming, setting
from portico.core.json_text.syntax import BYTE_ORDER_MARK, SPACE, check_depth, check_syntax, may_be_deep
from portico.core.json_text.tree import Child, Source
from portico.core.json_text.tree import Value as Tree
from portico.core.json_text.values import Value, json_value


class JsonEdit:
    """Changes of a JSON text that leave all else as it was written: numbers, order, escapes, white space.

    Pointers are JSON Pointers (RFC 6901). What comes first here is done first:

    - `pick` leaves out all that no pointer leads to, and what holds nothing of it; where nothing is picked, an object
      or array is empty, any other value null.
    - `remove` leaves out what the pointers mean.
    - `rename` gives a member another name in its object, or moves a value to another pointer, of which an empty one
      means the whole document. What was there is replaced.
    - `set` writes values in the order given, over what is there or behind the last member; `-` appends to an array.
      Parents that are missing or null are made: arrays where `-` follows, else objects.
    - `merge` is a JSON Merge Patch (RFC 7396): a value, or a mapping of names to such.
    - `wrap` puts the whole into a new object, under a name or a pointer.

    The pointers of pick, of remove and of rename are looked up before anything of that kind is done: two names can be
    exchanged, and two elements removed by the indexes that they had. What a pointer does not find is left alone, and so
    is what `rename` and `set` find no place for: in a string, number or boolean, and in an array under anything but `-`
    or the index of an element.

    Where an object has a name more than once, a pointer means all of these members, so that it makes no difference
    which of them a reader takes. Of those that move elsewhere only the last arrives, which most readers take.

    Raises ValueError (JsonEditError among them) for pointers and values that are none.
    """

    __slots__ = ("_steps", "_prefix", "_suffix")

    def __init__(
        self,
        *,
        pick: Iterable[str] = (),
        remove: Iterable[str] = (),
        rename: Mapping[str, str] | None = None,
        set: Mapping[str, Value] | None = None,  # noqa: A002 - the name that rules have for it
        merge: MergeValue | None = None,
        wrap: str | None = None,
    ) -> None:
        level = Level()
        steps = (
            picking([*pick], level) if pick else None,
            removing([*remove], level) if remove else None,
            renaming(rename, level) if rename else None,
            setting(set, level) if set else None,
            None if merge is None else merging(merge, level),
        )
        level.close()
        self._steps = tuple(step for step in steps if step)
        self._prefix, self._suffix = (b"", b"") if wrap is None else _around(wrap)

    def apply(self, body: bytes, context: Any = None) -> bytes:
        """The body edited; `context` is what values that are callable get.

        Raises JsonEditError for a body that is no JSON in UTF-8 (RFC 8259) or is nested more than 500 levels deep, and
        where a callable gives none. A byte order mark stays.
        """
        mark, text = b"", body
        if body.startswith(BYTE_ORDER_MARK):
            mark, text = BYTE_ORDER_MARK, body.removeprefix(BYTE_ORDER_MARK)
        source = Source(text)
        check_syntax(text)
        if may_be_deep(text):
            check_depth(source.shape)
        start, end = 0, len(text)
        if text[0] in SPACE or text[-1] in SPACE:
            start, end = end - len(text.lstrip(SPACE)), len(text.rstrip(SPACE))
        root = Child(b"", b"", b"", Tree(source, start, end))
        for step in self._steps:
            step(root, context)
        out = [mark, self._prefix, text[:start]]
        root.value.write(out)
        out += (text[end:], self._suffix)
        return b"".join(out)


def _around(wrap: str) -> tuple[bytes, bytes]:
    """What comes before and behind a document that is wrapped."""
    names = inner_names_of(wrap) if wrap.startswith("/") else (plain(wrap),)
    keys = [json_value(name.decode("utf-8", "surrogatepass")) for name in names]
    return b"".join(b"{" + key + b":" for key in keys), b"}" * len(keys)
