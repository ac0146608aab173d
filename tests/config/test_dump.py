from __future__ import annotations

import json

import pytest

from config.conftest import Load
from config.test_load import CONTRACT
from portico.config import Config, dump_config, load_config, load_dumped


def test_a_configuration_survives_dumping(load: Load) -> None:
    environ = {"SECRET_KEY": "s" * 32, "ADMIN_TOKEN": "t", "REDIS_URL": "redis://:pw@h", "RATE_LIMIT_BURST": "3"}
    config = load(CONTRACT, environ)
    there = load_dumped(dump_config(config))
    assert there.all_routes == config.all_routes
    assert there.own_policies == config.own_policies
    assert there.token_settings == config.token_settings
    for field in Config.model_fields:
        assert getattr(there, field) == getattr(config, field)
    assert there.services["portfolio"].model_fields_set == config.services["portfolio"].model_fields_set
    assert there.gateway.admin_token is not None
    assert there.gateway.admin_token.get_secret_value() == "t"
    (settings, _) = there.all_routes[2].policies["auth"]
    assert settings.jwt.secret.get_secret_value() == "s" * 32
    assert dump_config(there) == dump_config(config)


def test_the_sample_survives_dumping() -> None:
    config = load_config(None, {})
    assert load_dumped(dump_config(config)).all_routes == config.all_routes


def test_a_configuration_made_in_python_survives_dumping() -> None:
    config = Config.model_validate({"services": {"a": {"url": "http://h"}}, "gateway": {"admin_token": "t"}})
    assert load_dumped(dump_config(config)).services == config.services


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="malformed"):
        load_dumped(b"nonsense")


@pytest.mark.parametrize("own", [False, True], ids=["shared policies", "own policies"])
def test_ten_thousand_routes_load(own: bool) -> None:
    tree = {
        "services": {f"s{n}": {"url": f"http://h:{n + 1}", "default_routes": False} for n in range(100)},
        "policies": {"rate_limit": {"burst": 5}, "cors": {}},
        "routes": [
            {"service": f"s{n % 100}", "path": f"/r/{n}"}
            | ({"policies": {"rate_limit": {"burst": n + 1}}} if own else {})
            for n in range(10_000)
        ],
    }
    dumped = json.dumps({"tree": tree, "policy_defaults": {}}).encode()
    assert len(load_dumped(dumped).all_routes) == 10_000
