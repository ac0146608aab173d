"""Networks that a `geo` names and an `if` refuses are those of `ip_filter`, or their location stays closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imports.support import Found, imported


def read(directory: Path, geo: str, location: str, source: str = "") -> Found:
    text = f"""
events {{}}
http {{
  geo {source} $blocked {{ {geo} }}
  server {{
    listen 80;
    location /a {{ {location} proxy_pass http://127.0.0.1:9001; }}
    location / {{ proxy_pass http://127.0.0.1:9002; }}
  }}
}}
"""
    return imported("nginx", directory / "nginx.conf", text)


@pytest.mark.parametrize(
    ("geo", "condition", "expected"),
    [
        ("default 0; 10.0.0.0/8 1; 192.0.2.1 1;", "$blocked", {"deny": ["10.0.0.0/8", "192.0.2.1/32"]}),
        ("10.0.0.0/8 yes;", "$blocked = yes", {"deny": ["10.0.0.0/8"]}),
        ("default 1; 10.0.0.0/8 0;", "$blocked", {"allow": ["10.0.0.0/8"]}),
        ("default 0; 2001:db8::/32 1;", "$blocked != 1", {"allow": ["2001:db8::/32"]}),
    ],
)
def test_networks_become_a_filter(tmp_path: Path, geo: str, condition: str, expected: dict[str, Any]) -> None:
    found = read(tmp_path, geo, f"if ({condition}) {{ return 403; }}")
    name = found.asked("x/a/b")
    assert name is not None
    networks = found.policies(name[0])["ip_filter"]
    said = {key: [str(each) for each in getattr(networks, key)] for key in ("allow", "deny")}
    assert {key: value for key, value in said.items() if value} == expected
    assert found.asked("x/ab") == (name[0], "/ab")  # nginx goes by letters


@pytest.mark.parametrize(
    ("geo", "location", "source"),
    [
        ("default 0; 10.0.0.0/8 1; 10.1.0.0/16 0;", "if ($blocked) { return 403; }", ""),
        ("ranges; default 0; 10.0.0.0-10.0.0.9 1;", "if ($blocked) { return 403; }", ""),
        ("default 0; 10.0.0.0/8 1;", "if ($blocked) { return 403; }", "$http_x_real_ip"),
        ("default 0; 10.0.0.0/8 1;", "if ($blocked) { return 404; }", ""),
        ("default 0; 10.0.0.0/8 1;", "allow 192.0.2.0/24; deny all; if ($blocked) { return 403; }", ""),
        ("default 0; 10.0.0.0/8 1;", "if ($blocked) { return 403; } rewrite ^/a/(.*) /$1 last;", ""),
    ],
)
def test_what_a_filter_cannot_say_stays_closed(tmp_path: Path, geo: str, location: str, source: str) -> None:
    found = read(tmp_path, geo, location, source)
    name = found.asked("x/a/b")
    assert name is not None
    assert name[0] in found.closed()
