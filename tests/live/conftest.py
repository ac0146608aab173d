"""What the live tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.backend import Backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A well-behaved service, for a test of its own to script."""
    with Backend() as own:
        yield own
        assert not own.errors, own.errors
