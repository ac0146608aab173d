from __future__ import annotations

import pytest

from portico.config.gateway import GatewaySettings
from portico.config.problems import nearest
from portico.config.services import ServiceSettings
from portico.policies.rate_limit import RateLimit

LIMIT, SERVICE, GATEWAY = RateLimit.model_fields, ServiceSettings.model_fields, GatewaySettings.model_fields


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("ulr", "url"),
        ("ur", "url"),
        ("urls", "url"),
        ("URL", "url"),
        ("timout", "timeout"),
        ("tiemout", "timeout"),
        ("retires", "retries"),
        ("health-check", "health_check"),
        ("healthcheck", "health_check"),
        ("helth_chekc", "health_check"),
        ("instanses", "instances"),
        ("loadbalancing", "load_balancing"),
        ("hedges", "hedge"),
        ("polices", "policies"),
        ("balancing", "load_balancing"),
        ("uri_of_it", None),
        ("nonsense", None),
        ("x", None),
        ("", None),
    ],
)
def test_the_nearest_key_of_a_service(word: str, meant: str | None) -> None:
    assert nearest(word, SERVICE) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("requests_per_second", None),
        ("request_per_minute", "requests_per_minute"),
        ("requests_per_mintue", "requests_per_minute"),
        ("requests_pre_hour", "requests_per_hour"),
        ("brust", "burst"),
    ],
)
def test_the_nearest_key_of_a_limit(word: str, meant: str | None) -> None:
    assert nearest(word, LIMIT) == meant


def test_transposed_letters_are_one_edit() -> None:
    assert nearest("weigth", ["height", "weight"]) == "weight"
    assert nearest("prot", GATEWAY) == "port"
    assert nearest("hots", ["host", "hosts"]) in ("host", "hosts")
    assert nearest("no", ["on"]) is None
