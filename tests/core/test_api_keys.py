"""How API keys look: what a scanner finds, what a typing error shows."""

from __future__ import annotations

import re

import pytest

from portico.core.api_keys import PATTERN, is_mistyped, named_by, new_key, shown


def test_a_new_key_has_its_form_and_its_checksum() -> None:
    keys = [new_key() for _ in range(100)]
    assert len({key.text for key in keys}) == 100
    for key in keys:
        found = re.fullmatch(PATTERN, key.text)
        assert found
        assert (found[1], len(key.text)) == (key.id, 55)
        assert key.text.startswith(shown(key.id))
        assert not is_mistyped(key.text)


def test_every_single_mistyped_character_is_seen() -> None:
    text = new_key().text
    for index in range(len("portico_"), len(text)):
        for other in "aZ0_-":
            if other != text[index]:
                assert is_mistyped(text[:index] + other + text[index + 1 :])
    swapped = text[:20] + text[21] + text[20] + text[22:]
    assert is_mistyped(swapped) == (swapped != text)
    assert is_mistyped(text[:-1])
    assert is_mistyped(text + "x")


def test_a_known_key_has_a_known_checksum() -> None:
    """The form may not change: scanners know it, and so do the holders of keys."""
    assert not is_mistyped("portico_AAAAAAAA_" + "B" * 32 + KNOWN)


KNOWN = "1aWtBJ"


def test_what_is_another_kind_of_key_is_not_mistyped() -> None:
    assert not is_mistyped("sk-anything")


@pytest.mark.parametrize("written", ["AAAAAAAA", "portico_AAAAAAAA", "portico_AAAAAAAA_", "portico_AAAAAAAA_secret"])
def test_a_key_is_named_by_its_beginning(written: str) -> None:
    assert named_by(written) == "AAAAAAAA"


@pytest.mark.parametrize("written", ["", "AAAA", "portico_AAAA", "AAAAAAAAA", "sha256:00", "AAAAAAAA/revoke"])
def test_what_names_no_key(written: str) -> None:
    assert named_by(written) is None
