"""Certificates, and how long they last."""

from __future__ import annotations

import time
from typing import Any

from portico.processes.control.dashboard.page import Context, Page, Visit
from portico.processes.control.dashboard.words import moment_of

_SOON = 21 * 86_400
"""Seconds before its end when one that nobody renews looks so; ordered ones are renewed long before."""


async def certificates(visit: Visit) -> Context:
    """Every certificate, the one that ends first at the top."""
    found = await visit.get("/admin/certificates")
    shown = [{**each, "tone": tone(each)} for each in found["certificates"]]
    return {"certificates": sorted(shown, key=lambda each: moment_of(each["expires"]) or 0.0)}


def tone(certificate: dict[str, Any]) -> str:
    """How it looks: `bad` where clients are refused, `warn` where they soon will be."""
    end = moment_of(certificate["expires"])
    if certificate["state"] != "valid" or end is None:
        return "bad"
    return "warn" if certificate["problem"] or end - time.time() < _SOON else "good"


CERTIFICATES = Page("certificates", "Certificates", certificates)
