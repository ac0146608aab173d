"""The example of docs/services.md in JavaScript distinguishes genuine identities from others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from .tokens import KEY, OTHER_KEY, token

PAGE = (Path(__file__).parents[2] / "docs" / "services.md").read_text(encoding="utf-8")


def node() -> Path | None:
    """The one on PATH, or the one that Playwright ships."""
    if found := shutil.which("node"):
        return Path(found)
    spec = find_spec("playwright")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    return next((path for folder in folders if (path := folder / "driver" / "node").exists()), None)


def test_the_example_in_javascript() -> None:
    program = node()
    if program is None:
        pytest.skip("there is no node")
    example = re.search(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert example
    genuine = token()
    shown: list[tuple[str, str, bytes | None]] = [
        ("GET", "/me", genuine),
        ("GET", "/me", genuine),  # again
        ("POST", "/me", token(jti="j2")),
        ("GET", "/you", token(jti="j3")),
        ("GET", "/me", token(OTHER_KEY, jti="j4")),
        ("GET", "/me", token(aud="users", jti="j5")),
        ("GET", "/me", token(exp=1, jti="j6")),
        ("GET", "/me", token(request_id="r2", jti="j7")),
        ("GET", "/me", token(header={"alg": "none"}, jti="j8")),
        ("GET", "/me", None),
        ("GET", "/me", token(jti="j9")),
    ]
    requests = [
        {
            "method": method,
            "url": target,
            "headers": {"x-request-id": "r1", **({"x-consumer-identity": text.decode()} if text else {})},
        }
        for method, target, text in shown
    ]
    calls = f"const all = {json.dumps(requests)}.map(each => user(each, 'orders', {json.dumps(KEY)}));"
    code = f"{example[1]}\n{calls}\nconsole.log(JSON.stringify(all));"
    run = subprocess.run([program, "-e", code], capture_output=True, text=True, check=True, timeout=60)
    alice = {"name": "alice", "scopes": ["orders:read", "orders:list"]}
    assert json.loads(run.stdout) == [alice, *[None] * (len(shown) - 2), alice]
