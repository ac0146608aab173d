"""`portico explain --live`: the running gateway is asked, with all that it knows."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, cast

from portico.cli.admin_client import AdminClient

if TYPE_CHECKING:
    from portico.snapshot.explain import Explanation, Question


def asked(question: Question, admin: AdminClient, others: int) -> Explanation:
    """What the gateway says of a request, with file and line as it has read them. Raises AdminError."""
    document = admin.explain(
        {
            "method": question.method,
            "url": question.url,
            "headers": [[*pair] for pair in question.headers],
            "body_base64": b64encode(question.body).decode(),
            "client_ip": question.client_ip,
            "listener": question.listener,
            "others": others,
        }
    )
    return cast("Explanation", document)
