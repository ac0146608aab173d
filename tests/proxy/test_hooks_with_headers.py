"""Hooks of policies for responses, beside header fields of the configuration."""

from __future__ import annotations

import pytest

from fuzz.case import Answer, Case
from fuzz.sent_back import responses_of
from fuzz.simulation import Simulation
from portico import policies
from portico.config import Config
from portico.core.errors import Answer as Answered
from portico.policies import Hooks

CONFIG = Config.model_validate(
    {
        "services": {"a": {"url": "http://192.0.2.80", "health_check": False}},
        "policies": {"headers": {"security": True, "response": {"add": {"Cache-Control": "private"}}}},
    }
)
GET = "GET /api/a/x HTTP/1.1\r\nHost: a\r\n\r\n"
WHOLE = "HTTP/1.1 200 OK\r\nDate: now\r\nX-Frame-Options: DENY\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    "HTTP/1.1 200 OK\r\nDate: now\r\nX-Frame-Options: DENY\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED])
def test_what_a_service_sets_is_set_once_where_a_hook_leaves_it(answer: str) -> None:
    hooks = Hooks(response=lambda exchange, edit: None)
    steps = [policies.Step("headers", None, lambda settings, context: hooks)]
    with Simulation(Case([GET * 3], [Answer(answer)]), steps, CONFIG) as simulation:
        simulation.play()
        responses = responses_of(simulation, simulation.clients[0])
        assert len(responses) == 3, "heads that come again are remembered"
        for response in responses:
            assert response.all(b"x-frame-options") == [b"DENY"]
            assert response.all(b"x-content-type-options") == [b"nosniff"]
            assert response.all(b"cache-control") == [b"private"]


PAGE = Answered(200, [b"X-Frame-Options: DENY"], b"maintenance")


@pytest.mark.parametrize(
    "hooks",
    [Hooks(request=lambda exchange: PAGE), Hooks(response=lambda exchange, edit: PAGE)],
    ids=["request", "response"],
)
def test_what_a_policy_answers_is_set_once(hooks: Hooks) -> None:
    steps = [policies.Step("headers", None, lambda settings, context: hooks)]
    with Simulation(Case([GET * 2], [Answer(WHOLE)]), steps, CONFIG) as simulation:
        simulation.play()
        responses = responses_of(simulation, simulation.clients[0])
        assert [bytes(response.body) for response in responses] == [b"maintenance"] * 2
        for response in responses:
            assert response.all(b"x-frame-options") == [b"DENY"]
