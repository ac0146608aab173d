"""Which coding a client gets, by what it accepts."""

from __future__ import annotations

import pytest

from portico.policies.compress.negotiation import Choice, choose

ALL = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        (b"", None),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip, deflate, br", b"br"),
        (b"deflate", None),
        (b"gzip;q=1.0, br;q=0.9, zstd;q=0.5", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000, br;q=0.001", b"br"),
        (b"*", b"zstd"),
        (b"*;q=0.5, zstd;q=0", b"br"),
        (b"gzip, *;q=0", b"gzip"),
        (b"*;q=0", None),
        (b"identity", None),
        (b"identity, gzip", b"gzip"),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip;q=0.8", b"gzip"),
        (b"gzip ; q=0.8 , br ; q=0.7", b"gzip"),
        (b"gzip;q=2, br;q=0.1", b"br"),
        (b"gzip;level=9, br", b"br"),
        (b",, gzip ,", b"gzip"),
        (b"gzip;q=", None),
    ],
)
def test_the_coding_that_a_client_likes_best(accepted: bytes | None, coding: bytes | None) -> None:
    assert choose(accepted, ALL).coding == coding


def test_what_is_not_offered_is_not_chosen() -> None:
    assert choose(b"zstd, br;q=0.5", (b"gzip", b"br")).coding == b"br"
    assert choose(b"zstd", (b"gzip",)).coding is None


@pytest.mark.parametrize(
    ("accepted", "refuses"),
    [
        (b"gzip, identity;q=0", True),
        (b"gzip, *;q=0", True),
        (b"gzip, *;q=0, identity;q=0.1", False),
        (b"gzip", False),
        (b"*", False),
    ],
)
def test_whether_a_client_refuses_what_is_not_coded(accepted: bytes, refuses: bool) -> None:
    assert choose(accepted, ALL) == Choice(choose(accepted, ALL).coding, refuses)
