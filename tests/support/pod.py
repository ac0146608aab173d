"""A pod of the gateway as its Deployment says: command, environment, user, mounts, probes and hooks.

Root makes it a root of its own, read-only, with what containers have and nothing else, and starts the command as the
user of the Deployment. Who is not root gets the same command with other paths in place of those that are mounted.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from deploy.containers import variables

from . import portico
from .client import Wire
from .manifests import Cluster, Document, containers, template
from .messages import CutShortError
from .process import Process
from .waiting import until

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCOUNT_FILES: Final = {"token_file": "token", "ca_file": "ca.crt"}
_VENV, _SOURCE, _PROGRAMS = "/venv", "/source", "/programs"
"""Where, in a root of its own, the packages are, the gateway's source, and the command `portico`."""
_OF_SYSTEM: Final = ("/usr", "/bin", "/lib", "/lib64", "/sbin")
_OF_ETC: Final = ("passwd", "group", "hosts", "nsswitch.conf", "resolv.conf", "ld.so.cache", "localtime")


@cache
def can_isolate() -> bool:
    """Whether this process may make mounts of its own, and become another user."""
    if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot", "mount"))):
        return False
    trial = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def mount_volume(folder: Path, files: Mapping[str, str], mode: int = 0o644) -> None:
    """Write a ConfigMap or Secret as kubelet does: everything at once, by turning one symbolic link."""
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir(parents=True)
    for name, text in files.items():
        (version / name).write_text(text)
        (version / name).chmod(mode)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    new = folder / "..data_tmp"
    new.symlink_to(version.name)
    previous = (folder / "..data").resolve() if (folder / "..data").exists() else None
    new.replace(folder / "..data")
    if previous is not None:
        shutil.rmtree(previous)


class Pod(Process):
    """One pod on loopback, at a `port` of its own, with the API server of its cluster at `api_port`."""

    SEPARATES = True
    STOP_WITHIN = 0.0

    def __init__(self, cluster: Cluster, port: int, api_port: int, account: Mapping[str, str]) -> None:
        super().__init__()
        self.deployment = cluster.one("Deployment")
        self.spec: Document = template(self.deployment)["spec"]
        (self.container,) = containers(self.deployment)
        self.port = port
        self.isolated = can_isolate()
        self._volumes = self.directory / "volumes"
        self._paths: dict[str, Path] = {}
        for mount in self.container["volumeMounts"]:
            self._paths[mount["mountPath"]] = self._volumes / mount["name"]
        self._config = cluster.one("ConfigMap")["data"]
        secrets = dict.fromkeys(cluster.one("Secret")["data"], "a key for tests of thirty-two bytes and more")
        self._fill(secrets, account)
        named = {each["name"]: each["value"] for each in self.container["env"]}
        kubelets = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
        path = os.pathsep.join([_PROGRAMS if self.isolated else str(self._programs()), "/usr/bin", "/bin"])
        # The ports are all that no pod has: here it shares its addresses with others
        ports = {"GATEWAY_PORT": str(port), "GATEWAY_ADMIN": "127.0.0.1:0"}
        self._environment = {**variables(), "PATH": path, "HOME": "/", **kubelets, **named, **ports}

    # ---- what it has

    def write_config(self, text: str) -> None:
        """Another ConfigMap, as it reaches a pod that runs."""
        self._config = {"portico.yaml": text}
        mount_volume(self._volume("configMap"), {"portico.yaml": self._here(text)})

    @property
    def config(self) -> str:
        text: str = self._config["portico.yaml"]
        return text

    def _volume(self, kind: str) -> Path:
        (name,) = (each["name"] for each in self.spec["volumes"] if kind in each)
        return self._volumes / str(name)

    def _fill(self, secrets: Mapping[str, str], account: Mapping[str, str]) -> None:
        for path in self._paths.values():
            path.mkdir(parents=True)
        self._paths[ACCOUNT] = self._volumes / "account"
        self._paths[ACCOUNT].mkdir()
        mount_volume(self._paths[ACCOUNT], account)
        group = self.spec["securityContext"]["fsGroup"]
        (secret,) = (each["secret"] for each in self.spec["volumes"] if "secret" in each)
        mount_volume(self._volume("secret"), secrets, secret["defaultMode"])
        self.write_config(self.config)
        if self.isolated:
            for file in self._volume("secret").rglob("*"):
                os.chown(file, 0, group, follow_symlinks=False)
        for folder in (self.directory, self._volumes):
            folder.chmod(0o755)

    def _here(self, text: str) -> str:
        """Where nothing can be mounted, other paths stand in place of those that the files name."""
        if self.isolated:
            return text
        for path, folder in self._paths.items():
            text = text if path == "/tmp" else text.replace(path, str(folder))
        account = {name: str(self._paths[ACCOUNT] / file) for name, file in _ACCOUNT_FILES.items()}
        return text.replace("gateway:\n", f"gateway:\n  kubernetes: {json.dumps(account | {'namespace': 'portico'})}\n")

    # ---- how it is started

    def command(self) -> list[str]:
        started = [self._here(each) for each in (*self.container["command"], *self.container["args"])]
        environment = [f"{name}={self._here(value)}" for name, value in self._environment.items()]
        if self.isolated:
            script = self.directory / "start"
            script.write_text(self._mounts())
            return ["unshare", "--mount", "sh", "-e", str(script), *self._user(), "env", "-i", *environment, *started]
        state = {"XDG_STATE_HOME": str(self._paths["/var/lib/portico"].parent), "TMPDIR": str(self._paths["/tmp"])}
        own = [f"{name}={value}" for name, value in state.items()]
        return ["env", "-i", *environment, *own, *started]

    def _programs(self) -> Path:
        """A folder with the command as an image has it."""
        folder = self.directory / "programs"
        folder.mkdir(exist_ok=True)
        python, source = (f"{_VENV}/bin/python", _SOURCE) if self.isolated else (sys.executable, portico.source())
        script = folder / "portico"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {python} -m portico "$@"\n')
        script.chmod(0o755)
        return folder

    def _user(self) -> list[str]:
        """The user of the Deployment, without any of root's rights."""
        context = self.spec["securityContext"]
        assert self.container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        ids = ["--reuid", context["runAsUser"], "--regid", context["runAsGroup"], "--groups", context["fsGroup"]]
        rights = ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        return ["setpriv", *map(str, ids), *rights]

    def _mounts(self) -> str:
        """A script that makes a root of what the container has, and runs the rest of its words there."""
        root = self.directory / "root"
        root.mkdir(exist_ok=True)
        lines = [f"r={shlex.quote(str(root))}", "mount -t tmpfs -o mode=755 root $r", "mkdir $r/etc $r/run $r/var"]
        lines += ["mkdir $r/proc $r/dev $r/var/lib", "ln -s ../run $r/var/run"]
        for path in map(Path, _OF_SYSTEM):
            if path.is_symlink():
                lines.append(f"cp -P {path} $r{path}")
            elif path.is_dir():
                lines.append(f"mkdir $r{path}; mount --rbind {path} $r{path}")
        lines += [f"cp -L /etc/{name} $r/etc/ 2>/dev/null || true" for name in _OF_ETC]
        lines += ["mount --rbind /proc $r/proc", "mount --rbind /dev $r/dev"]
        for target, folder in self._bound().items():
            lines.append(
                f"mkdir -p $r{shlex.quote(target)}; mount --bind {shlex.quote(folder)} $r{shlex.quote(target)}"
            )
            lines.append(f"mount -o remount,bind,ro $r{shlex.quote(target)}")
        group = self.spec["securityContext"]["fsGroup"]
        for target in self._emptied():
            lines += [f"mkdir -p $r{target}", f"mount -t tmpfs -o mode=2777,gid={group} none $r{target}"]
        lines += ["mount -o remount,ro $r", 'exec chroot $r "$@"']
        return "\n".join([*lines, ""])

    def _bound(self) -> dict[str, str]:
        """What is at which path: Python with the packages, and the volumes that come from elsewhere."""
        bound = {_VENV: sys.prefix, _SOURCE: str(portico.source()), _PROGRAMS: str(self._programs())}
        if not sys.base_prefix.startswith(_OF_SYSTEM):
            bound[sys.base_prefix] = sys.base_prefix
        emptied = self._emptied()
        return bound | {path: str(folder) for path, folder in self._paths.items() if path not in emptied}

    def _emptied(self) -> list[str]:
        empty = {each["name"] for each in self.spec["volumes"] if "emptyDir" in each}
        return [mount["mountPath"] for mount in self.container["volumeMounts"] if mount["name"] in empty]

    # ---- what kubelet does

    def probe(self, kind: str) -> bool:
        """One probe; whether it passes (kubelet: from 200 to 399, in time)."""
        wanted = self.container[kind]
        get = wanted["httpGet"]
        assert get["port"] in {port["name"] for port in self.container["ports"]}
        lines = (f"Host: 127.0.0.1:{self.port}", "User-Agent: kube-probe/1.37", "Accept: */*", "Connection: close")
        try:
            with Wire(self.port) as wire:
                wire.socket.settimeout(wanted["timeoutSeconds"])
                return 200 <= wire.ask("GET", get["path"], *lines).status < 400
        except (TimeoutError, OSError, ValueError, CutShortError):
            return False

    def passes(self, kind: str) -> bool:
        """Whether it passes before it has failed so often in a row that kubelet would act."""
        return any(self.probe(kind) for _ in range(self.container[kind]["failureThreshold"]))

    def is_ready(self) -> bool:
        return self.probe("startupProbe")

    def pre_stop(self) -> None:
        """Run its hook to the end, inside."""
        hook: list[str] = self.container["lifecycle"]["preStop"]["exec"]["command"]
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--root", *self._user()] if self.isolated else []
        subprocess.run([*inside, *hook], check=True, timeout=self.spec["terminationGracePeriodSeconds"])

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.err().splitlines() if line.startswith("{")]

    def wait_for(self, what: str) -> dict[str, Any]:
        """The first event that says so."""
        found = until(lambda: [event for event in self.events() if what in event["event"]], what)
        return found[0]
