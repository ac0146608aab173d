"""The configuration without a file: three services on this machine, open to every origin, 60 requests a minute."""

from __future__ import annotations

from typing import Any


def _service(port: int) -> dict[str, Any]:
    return {
        "url": f"http://localhost:{port}",
        "health_check": "/health",
        "timeout": 30.0,
        "retries": 3,
        "versions": {"v1": {}, "v2": {}},
    }


SAMPLE: dict[str, Any] = {
    "gateway": {"title": "Crypto Probability API Gateway", "allow_sample_secret_key": True},
    "services": {"gemini": _service(8001), "atc": _service(8002), "portfolio": _service(8003)},
    "policies": {
        "cors": {"allow_origins": ["*"], "allow_methods": ["*"], "allow_headers": ["*"]},
        "rate_limit": {"requests_per_minute": 60, "burst": 20},
    },
}
