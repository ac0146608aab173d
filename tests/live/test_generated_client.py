"""A client that others' generator makes of the merged document calls the services through the gateway.

The generator pins packages that Portico has in other versions, so it has an environment of its own: `make package` runs
this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from live.test_openapi import World
from support.world import until

GENERATOR: Final = "openapi-python-client==0.29.1"
CALLS: Final = """
import json, sys
from made import Client
from made.api.old import old_stock
from made.api.orders import orders_read_items_item_id_get as read_order
from made.api.orders_writing import orders_create_items_post as create_order
from made.api.users import users_read_items_item_id_get as read_user
from made.models import HTTPValidationError, OrdersItem

client = Client(base_url=sys.argv[1])
wrong = read_order.sync_detailed("x", client=client)
print(json.dumps({
    "read": read_order.sync(7, client=client, detail=True).to_dict(),
    "created": create_order.sync(client=client, body=OrdersItem(id=8, count=2)).to_dict(),
    "user": read_user.sync("ann", client=client).to_dict(),
    "old": old_stock.sync_detailed(client=client).status_code,
    "wrong": [wrong.status_code, isinstance(wrong.parsed, HTTPValidationError)],
}))
"""

pytestmark = [
    pytest.mark.skipif("PORTICO_FRESH" not in os.environ, reason="make package runs it: it installs packages"),
    pytest.mark.timeout(300),
]


def run(folder: Path, *command: object) -> str:
    """What a command prints that sees no package of this environment."""
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    arguments = [str(each) for each in command]
    done = subprocess.run(arguments, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_services_are_called_by_what_is_generated(tmp_path: Path) -> None:
    programs = tmp_path / "venv" / "bin"
    run(tmp_path, sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path, programs / "python", "-m", "pip", "install", "-q", GENERATOR)
    with ExitStack() as stack:
        world = World(stack)
        until(lambda: sum(state == "current" for state in world.states().values()) == 4)
        (tmp_path / "openapi.json").write_text(json.dumps(world.document()))
        where = ("--path", "openapi.json", "--output-path", "made", "--meta", "none")
        run(tmp_path, programs / "openapi-python-client", "generate", *where)
        (tmp_path / "calls.py").write_text(CALLS)
        seen = json.loads(run(tmp_path, programs / "python", "calls.py", world.gateway.url))
    assert seen == {
        "read": {"id": 7, "count": 5},
        "created": {"id": 8, "count": 2},
        "user": {"name": "ann"},
        "old": 200,
        "wrong": [422, True],
    }
