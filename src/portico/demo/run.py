"""The demo: three sample services and the gateway in front of them, one command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Final

from portico.config import Config
from portico.processes.ipc.listeners import Listeners, open_listener
from portico.processes.supervisor.child import Child
from portico.processes.supervisor.main import Supervisor

SAMPLES: Final = {"gemini": 8001, "atc": 8002, "portfolio": 8003}
"""The sample services and their ports."""

_WHAT: Final = {
    "gemini": "analyses a price series",
    "atc": "classifies its trend",
    "portfolio": "keeps positions",
}

_TRY: Final = (
    ("/", "curl '{}/health'"),
    ("/api/gemini", "curl '{}/api/gemini/api/analyze?window=30'"),
    ("/api/atc", "curl -N '{}/api/atc/api/trend/stream?limit=5&interval=0.5'"),
    ("/api/portfolio", "curl '{}/api/portfolio/api/summary'"),
    ("/v1/portfolio", "curl -i '{}/v1/portfolio/positions'"),
)
"""Commands to try, each with the route that it needs."""


def run_demo(config: Config, config_path: Path | None) -> None:
    """Run until Ctrl-C or SIGTERM. Raises ListenError where a port is taken, before anything was started."""
    samples = {
        name: open_listener("127.0.0.1", port, f": the sample service {name} has this port")
        for name, port in SAMPLES.items()
    }
    listeners = Listeners.open(config.gateway)
    _prepare_registering(listeners)
    supervisor = Supervisor(config, config_path, listeners)
    for name, listener in samples.items():
        supervisor.companions.append(Child(name, _Sample(listener, supervisor)))
    admin = listeners.admin.getsockname()[1] if listeners.admin is not None else None
    print(introduction(config, listeners.gateway[0].own.getsockname()[1], admin), flush=True)  # noqa: T201
    _import_what_all_need()
    supervisor.run()


def _import_what_all_need() -> None:
    """Once, rather than in each of the processes that are forked from this one: on the first start, also compiled."""
    import fastapi  # noqa: F401
    import uvicorn  # noqa: F401


def _prepare_registering(listeners: Listeners) -> None:
    """Samples that are to register (PORTICO_REGISTER) do so with this gateway, unless configured otherwise."""
    if listeners.admin is not None and not os.environ.get("REDIS_URL"):
        host, port = listeners.admin.getsockname()[:2]
        os.environ.setdefault("PORTICO_ADMIN", f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


class _Sample:
    """One sample service as a child process of the supervisor."""

    def __init__(self, listener: socket.socket, supervisor: Supervisor) -> None:
        self.listener = listener
        self.supervisor = supervisor

    def __call__(self, child: Child) -> None:
        self.supervisor.listeners.close()
        self.supervisor.listeners.close_admin()
        asyncio.run(self._serve(child.name))

    async def _serve(self, name: str) -> None:
        import uvicorn

        os.environ["PORTICO_SERVICE_URL"] = f"http://127.0.0.1:{SAMPLES[name]}"
        server = uvicorn.Server(uvicorn.Config(f"portico.demo.services.{name}:app", log_level="warning"))

        def stop() -> None:
            loop.remove_reader(self.supervisor.lifeline)
            server.should_exit = True

        loop = asyncio.get_running_loop()
        loop.add_reader(self.supervisor.lifeline, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        await server.serve(sockets=[self.listener])


def introduction(config: Config, port: int, admin: int | None = None) -> str:
    """What is where, and what to try: only links that lead somewhere with this configuration.

    `port` is the gateway's, `admin` that of the admin API, if there is one.
    """
    base = f"{'http' if config.gateway.listeners[0].tls is None else 'https'}://localhost:{port}"
    paths = {route.path for route in config.all_routes}
    documented = f"; {base}/docs" if config.gateway.endpoints.docs == "public" else ""
    rows = [("WHAT", "WHERE", "DOES"), ("gateway", base, f"routes, balances, limits, logs{documented}")]
    if admin is not None:
        rows.append(("dashboard", f"http://localhost:{admin}/dashboard/", "shows it, and steers it"))
    for name, own in SAMPLES.items():
        through = f"; {base}/api/{name}/docs" if f"/api/{name}" in paths else ""
        rows.append((name, f"http://localhost:{own}/docs", _WHAT[name] + through))
    table = "\n".join(f"{what:<11}{where:<34}{does}" for what, where, does in rows)
    commands = "\n".join(f"  {command.format(base)}" for prefix, command in _TRY if prefix in paths | {"/"})
    return f"""\
{table}

Try:
{commands}

{_limit(config)}Ctrl-C stops everything. Below: the access log, a line for each request.
"""


def _limit(config: Config) -> str:
    written, _ = config.own_policies.get("rate_limit", (None, ""))
    limits = written if isinstance(written, list) else [written] if written else []
    rates = [
        f"{limit.requests_per_minute:g} requests a minute, {limit.burst} at once"
        for limit in limits
        if "burst" in limit.numbers
    ]
    return f"Each client may make {'; '.join(rates)}; beyond that the answer is 429.\n" if rates else ""
