from __future__ import annotations

import json
import re
from typing import Any

from portico.config import json_schema


def definition(name: str) -> dict[str, Any]:
    found = json_schema()["$defs"][name]
    assert isinstance(found, dict)
    return found


def test_it_is_json_of_a_known_draft() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "Portico configuration"
    assert set(schema["properties"]) == {
        "include",
        "gateway",
        "services",
        "routes",
        "policies",
        "consumers",
        "discover",
    }
    assert schema["additionalProperties"] is False
    json.dumps(schema, allow_nan=False)


def test_every_reference_leads_somewhere() -> None:
    schema = json_schema()
    names = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert names
    assert names <= set(schema["$defs"])


def test_secrets_are_text() -> None:
    assert {"type": "string", "format": "password", "writeOnly": True} in definition("GatewaySettings")["properties"][
        "admin_token"
    ]["anyOf"]


def test_short_and_long_forms() -> None:
    health = definition("ServiceSettings")["properties"]["health_check"]["anyOf"]
    assert {"$ref": "#/$defs/HealthCheckSettings"} in health
    assert {"type": "string"} in health
    retries = definition("ServiceSettings")["properties"]["retries"]["anyOf"]
    assert {"$ref": "#/$defs/RetrySettings"} in retries


def test_policies_may_be_written_in_part() -> None:
    assert "required" not in definition("AuthorizeSettings")
    assert set(definition("Policies")["properties"]) >= {"cors", "rate_limit", "auth", "authorize"}


def test_numbers_may_come_from_the_environment() -> None:
    port = definition("GatewaySettings")["properties"]["port"]
    assert port["default"] == 8000
    pattern = port["anyOf"][1]["pattern"]
    assert re.search(pattern, "${GATEWAY_PORT:-8000}")
    assert not re.search(pattern, "8000")
