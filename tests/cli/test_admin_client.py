from __future__ import annotations

import pytest

from portico.cli.admin_client import AdminClient, AdminError


@pytest.mark.parametrize("token", ["s3cret\n", "s3\ncret", "s3cret\x00", " s3cret", "s3cret\udcff"])
def test_a_token_that_cannot_be_sent_is_not_shown(token: str) -> None:
    with pytest.raises(AdminError) as caught:
        AdminClient("127.0.0.1", 1, token).services()
    assert str(caught.value).startswith("ADMIN_TOKEN: holds control characters, or white space at an end")
    assert "s3" not in str(caught.value)
    assert caught.value.__cause__ is None
