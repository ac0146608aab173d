"""The gateway as its Deployment starts, probes and ends it: exactly that command, environment, user and file system."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.api_server import ApiServer, endpoint, endpoint_slice
from support.authority import Authority
from support.backend import Backend, Connection
from support.client import Wire
from support.manifests import KUBERNETES, Cluster, collected
from support.pod import Pod, can_isolate
from support.proc import children
from support.process import free_port
from support.waiting import until

SLOW = 1.5
"""Seconds that the slow requests take: they are under way when SIGTERM comes."""
TOKEN = "the token of the account"


def slow_at_times(connection: Connection) -> None:
    """Answers `/slow` when it has had its time, and all else at once."""
    while (request := connection.next_request()) is not None:
        if request.target == "/slow":
            time.sleep(SLOW)
        connection.answer(request.target.encode())


@pytest.fixture(scope="module")
def one_pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    folder = tmp_path_factory.mktemp("pod")
    authority = Authority(folder / "authority")
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    account = {"token": TOKEN, "ca.crt": authority.ca.read_text(), "namespace": "portico"}
    tls = authority.server_context(authority.leaf("api", "127.0.0.1"))
    cluster = Cluster([*collected(KUBERNETES / "overlays" / "single")])
    with ApiServer(token_file, tls=tls) as server, Backend(slow_at_times) as gemini:
        endpoints = [endpoint("127.0.0.1", pod="gemini-1")]
        server.put(endpoint_slice("gemini-1", "gemini", endpoints, {"http": gemini.port}, namespace="portico"))
        with Pod(cluster, free_port(), server.port, account) as own:
            yield own


@pytest.fixture
def pod(one_pod: Pod) -> Pod:
    """It, started anew where a test has ended it."""
    if one_pod.running.poll() is not None:
        one_pod.start()
    return one_pod


def test_probes_pass_once_the_pods_of_services_are_known(pod: Pod) -> None:
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod.passes(kind)
    with Wire(pod.port) as wire:
        assert wire.ask("GET", "/api/gemini/x").status == 200, "a pod that is ready knows where its services are"
        answer = wire.ask("GET", "/api/portfolio/x")
        assert (answer.status, answer.json()["reason"]) == (401, "credentials_missing"), "the secret was read"


def test_the_user_is_not_root_and_the_root_is_read_only(pod: Pod) -> None:
    if not can_isolate():
        pytest.skip("only root makes a root of its own")
    context = pod.spec["securityContext"]
    for pid in (pod.pid, *children(pod.pid)):
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Uid"].split() == [str(context["runAsUser"])] * 4
        assert status["Gid"].split() == [str(context["runAsGroup"])] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        writable = {each[4] for each in mounts if "rw" in each[5].split(",")}
        assert "/" not in writable
        own = {path for path in writable if not path.startswith(("/proc", "/dev", "/usr", "/sys"))}
        assert own == {"/var/lib/portico", "/tmp"}


def test_a_changed_configmap_is_taken_over_while_the_pod_runs(pod: Pod) -> None:
    """Kubelet turns the symbolic link of the folder; the file's own never changes. A wrong one is not taken."""
    before = pod.config
    added = "routes: [{name: probe, path: = /hello, respond: {status: 200, body: hello}}]\n"
    pod.write_config(before + added.replace("= /hello", '"= /hello"'))
    with Wire(pod.port) as wire:
        until(lambda: wire.ask("GET", "/hello").status == 200, "the new route is there")
        pod.write_config(before + "routs: []\n")
        pod.wait_for("the configuration is wrong and was not taken over")
        assert wire.ask("GET", "/hello").status == 200
        pod.write_config(before)
        until(lambda: wire.ask("GET", "/hello").status == 404, "the first one is back")


class Client(threading.Thread):
    """Asks again and again on a connection that it keeps, until it is told to close that and `leave` is set."""

    def __init__(self, port: int, path: str, leave: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.path = path
        self.leave = leave
        self.statuses: list[int] = []
        self.failed: list[str] = []

    def run(self) -> None:
        wire: Wire | None = None
        while not (wire is None and self.leave.is_set()):
            try:
                wire = wire or Wire(self.port)
                answer = wire.ask("GET", f"/api/gemini/{self.path}")
            except Exception as error:
                self.failed.append(repr(error))
                return
            self.statuses.append(answer.status)
            if answer.get("connection") == "close":
                wire.close()
                wire = None
            time.sleep(0.1)


def test_a_pod_that_ends_fails_no_request(pod: Pod) -> None:
    """As in a rolling update: out of its Service while the hook runs, then SIGTERM, with requests all the time.

    New connections come for a while after the pod was told to end; then only those that are open go on.
    """
    left = threading.Event()
    clients = [Client(pod.port, path, left) for path in ("x", "y", "slow", "slow")]
    for client in clients:
        client.start()
    until(lambda: all(client.statuses for client in clients), "requests are served")
    begun = time.monotonic()
    hook = threading.Thread(target=pod.pre_stop)
    hook.start()
    until(lambda: time.monotonic() - begun > 1.0, "kube-proxy has heard of it everywhere")
    left.set()
    while hook.is_alive():
        assert pod.passes("readinessProbe"), "the pod serves to the end of its hook"
        assert pod.passes("livenessProbe")
        hook.join(0.5)
    pod.signal(signal.SIGTERM)
    code = pod.running.wait(pod.spec["terminationGracePeriodSeconds"] - (time.monotonic() - begun))
    for client in clients:
        client.join(20)
    assert code == 0
    assert [client.failed for client in clients] == [[]] * len(clients)
    assert {status for client in clients for status in client.statuses} == {200}
    assert all(len(client.statuses) > 20 for client in clients if client.path != "slow")
    assert not [line for line in pod.err().splitlines() if "traceback" in line.lower()]
