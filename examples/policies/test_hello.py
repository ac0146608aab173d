"""The first test: a gateway with the policy, before a service that answers 200 `ok`."""

from hello import Hello
from portico.testing import StartGateway


def test_hello(gateway: StartGateway) -> None:
    running = gateway(Hello)
    assert running.client.get("/").headers["X-Hello"] == "from service"
    assert running.service.requests[0].headers.get("X-Hello") == "from 127.0.0.1"
