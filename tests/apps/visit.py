"""One situation of an application while it runs: what a driver has to look at it with."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from support.authority import Authority
from support.browser import FLAGS
from support.client import ask
from support.process import Job, Process, free_port
from support.waiting import until
from support.world import Gateway

from .application import ADDRESS, DOMAIN, Application, Situation, at_ports
from .environment import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Browser, FilePayload, Page, Response

PROGRAMS: Final = Path(__file__).with_name("programs")
_PUBLIC: Final = Path(__file__).with_name("public")
WITHIN: Final = 30.0
"""Seconds that a page, a widget or a client may take."""
MEGABYTES_12: Final[FilePayload] = {"name": "big.csv", "mimeType": "text/csv", "buffer": b"x," * 6_000_000}
"""A file that a user uploads, larger than what gateways admit by default."""
_UP_WITHIN: Final = 120.0
_SECRET: Final = {"SECRET_KEY": "made for a run of make apps, and for that only"}


class Instance(Process):
    """One process of the application. What its instances share, a database say, is in the folder `SHARED`."""

    def __init__(
        self, app: Application, situation: Situation, environment: Environment, port: int, shared: Path
    ) -> None:
        super().__init__()
        self.port = port
        self._app = app
        variables = {**environment.variables(self.directory), "PYTHONPATH": str(self.directory)}
        self._env = {**variables, **app.variables(situation, port), "SHARED": str(shared)}
        program, *arguments = app.argv(situation, port)
        self._command = (shutil.which(program, path=self._env["PATH"]) or program, *arguments)
        shutil.copytree(PROGRAMS, self.directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))

    def start(self) -> None:
        self.launch()
        self.wait_until_ready(self.is_ready, _UP_WITHIN)

    def is_ready(self) -> bool:
        try:
            return ask(self.port, "GET", self._app.ready, f"Host: localhost:{self.port}").status > 0
        except (OSError, ValueError):
            return False


class Visit:
    """The application behind a gateway, in one situation.

    `url` is where a user finds it; `browser` finds it there, and so do programs that `client` runs.
    """

    def __init__(
        self, app: Application, situation: Situation, environment: Environment, gateway: Gateway, browser: Browser
    ) -> None:
        self.situation = situation
        self.url = app.url(situation)
        self.host = app.host(situation)
        self.gateway = gateway
        self._environment = environment
        self._browser = browser

    @contextmanager
    def page(self, *expected: str) -> Iterator[Page]:
        """A page of a new user, who has neither cookies nor anything stored.

        Fails if a request of it to the public name failed whose method and URL none of the patterns `expected` match;
        a picture of a page that failed is in the application's folder.
        """
        context = self._browser.new_context(ignore_https_errors=True, accept_downloads=True)
        context.set_default_timeout(WITHIN * 1000)
        page = context.new_page()
        failed: list[str] = []

        def look(response: Response) -> None:
            what = f"{response.request.method} {response.url}"
            if response.status >= 400 and DOMAIN in response.url:
                failed.append(f"{what}: {response.status}")
            if f"//{ADDRESS}" in response.url:
                failed.append(f"{what}: an address behind the gateway")

        page.on("response", look)
        try:
            yield page
            unexpected = [each for each in failed if not any(re.search(pattern, each) for pattern in expected)]
            assert not unexpected, "; ".join(unexpected[:3])
        except Exception as error:
            with suppress(Exception):  # what went wrong before counts
                page.screenshot(path=self._environment.folder / f"{self.situation}.png")
            if failed:
                error.add_note("failed: " + "; ".join(failed[:3]))
            raise
        finally:
            context.close()

    def client(self, program: str, *arguments: str) -> str:
        """What a program of ours wrote that uses the application's own client; it fails if that does."""
        port = {443 if self.url.startswith("https") else 80: self.gateway.port}
        ca = str(self.gateway.directory / "ca.pem")
        trusted = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), ca) if 443 in port else {}
        own = {"PYTHONPATH": str(_PUBLIC), "PUBLIC": json.dumps(port), **trusted}
        variables = {**self._environment.variables(self._environment.folder), **own}
        command = [self._environment.programs / "python", PROGRAMS / program, self.url, *arguments]
        with Job(*command, env=variables) as job:
            return job.result(WITHIN * 2)

    def replace_workers(self) -> None:
        """On SIGUSR1 the workers of now accept no more, and clients of WebSockets are asked to come anew."""
        before = set(self.gateway.workers())
        self.gateway.signal(signal.SIGUSR1)
        until(lambda: (now := set(self.gateway.workers())) and not now & before, "other workers serve")

    def instances(self) -> set[str]:
        """The addresses of those that have answered a request."""
        upstreams = {str(each.get("upstream")) for each in self.gateway.log()}
        return {each for each in upstreams if each.startswith(ADDRESS)}


@contextmanager
def visit(app: Application, situation: Situation, environment: Environment) -> Iterator[Visit]:
    """Everything that it takes, on free ports; nothing of it is left."""
    with ExitStack() as stack:
        real: Mapping[int, int] = {shown: free_port() for shown in app.ports(situation)}
        shared = Path(stack.enter_context(TemporaryDirectory(prefix="portico-apps-")))
        for port in real.values():
            stack.enter_context(Instance(app, situation, environment, port, shared))
        gateway = stack.enter_context(_gateway(app, situation, real))
        yield Visit(app, situation, environment, gateway, stack.enter_context(_browser(gateway.port)))


@contextmanager
def _gateway(app: Application, situation: Situation, ports: Mapping[int, int]) -> Iterator[Gateway]:
    config = at_ports(app.configuration(situation), ports)
    config.get("gateway", {}).pop("port", None)
    gateway = Gateway(env=_SECRET)
    if tls := config.get("gateway", {}).get("tls"):
        leaf = Authority(gateway.directory).leaf("example", DOMAIN, f"*.{DOMAIN}")
        tls.update(leaf.written)
    gateway.write(config)
    with gateway:
        gateway.wait_until_ready(lambda: len(gateway.workers()) > 0)
        yield gateway


@contextmanager
def _browser(port: int) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # as late as that: a test reads all applications, and drives none

    names = [f"MAP {name}:{public} {ADDRESS}:{port}" for name in (DOMAIN, f"*.{DOMAIN}") for public in (80, 443)]
    flags = [*FLAGS, f"--host-resolver-rules={', '.join(names)}, MAP * ~NOTFOUND , EXCLUDE {ADDRESS}"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        try:
            yield browser
        finally:
            browser.close()
