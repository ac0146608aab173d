"""The policies of examples/policies in a whole gateway, with two workers: what has to hold for both of them holds."""

from __future__ import annotations

import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import ask
from support.world import Gateway

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
KEY = "0123456789abcdef0123456789abcdef"
ATTEMPTS = 24
"""Each on a connection of its own, so that both workers get some."""


def used(name: str, /, **settings: Any) -> dict[str, Any]:
    """An entry of the list: the class of an example, as `file:Class`."""
    return {"use": f"{EXAMPLES}/{name}", "with": settings}


def personal(connection: Connection) -> None:
    """A service whose every answer has personal data in it."""
    while connection.next_request() is not None:
        body = json.dumps({"name": "Ann", "email": "ann@example.com"}).encode()
        connection.answer(body, "200 OK", "Content-Type: application/json", "Cache-Control: public")


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend(personal) as own:
        yield own


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("switch") / "maintenance"


@pytest.fixture(scope="module")
def gateway(service: Backend, switch: Path) -> Iterator[Gateway]:
    every = [
        {**used("maintenance.py:Maintenance", switch=str(switch)), "before": "auth"},
        used("hello.py:Hello"),
        used("masking.py:MaskPersonalData", fields=["email"]),
        used("experiment.py:Experiment", name="checkout", variants={"old": 1, "new": 1}),
    ]
    signed = [used("signed.py:SignedRequests", keys={"partner-1": KEY}, seen=str(switch.parent / "seen"))]
    url = {"url": service.url, "health_check": False}
    services = {"shop": {**url, "policies": {"plugins": every}}, "bank": {**url, "policies": {"plugins": signed}}}
    with Gateway({"gateway": {"workers": 2}, "services": services}) as own:
        yield own


def test_they_work_together(gateway: Gateway, service: Backend) -> None:
    response = ask(gateway.port, "GET", "/api/shop/ann")
    assert response.json() == {"name": "Ann", "email": "***"}
    assert response.get("x-hello") == "from shop"
    assert response.get("cache-control") == "private"
    request = service.requests[-1]
    assert (request.get("x-hello"), request.get("accept-encoding")) == ("from 127.0.0.1", "identity")
    assert f"experiment_checkout={request.get('x-variant')};" in str(response.get("set-cookie"))


def test_the_switch_is_every_workers(gateway: Gateway, switch: Path) -> None:
    for begin, status in ((True, 503), (False, 200)):
        if begin:
            switch.touch()
        else:
            switch.unlink()
        statuses = {ask(gateway.port, "GET", "/api/shop/").status for _ in range(ATTEMPTS)}
        assert statuses == {status}


def test_a_signature_works_once_whichever_worker_gets_it(gateway: Gateway, service: Backend) -> None:
    when, nonce, host = int(time.time()), "0123456789abcdef", f"127.0.0.1:{gateway.port}"
    signed = "\n".join(("GET", host, "/api/bank/pay", "", "", str(when), nonce)).encode()
    mac = hmac.new(KEY.encode(), signed, "sha256").hexdigest()
    field = f"X-Signature: key=partner-1, time={when}, nonce={nonce}, mac={mac}"
    before = len(service.requests)
    outcomes = Counter(
        ask(gateway.port, "GET", "/api/bank/pay", f"Host: {host}", field).status for _ in range(ATTEMPTS)
    )
    assert outcomes == {200: 1, 401: ATTEMPTS - 1}
    assert len(service.requests) == before + 1
