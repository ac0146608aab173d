"""A small API server of Kubernetes: it has EndpointSlices, and lists and watches them as the real one does.

Every change has a resource version; a watch from one brings all later changes and then what happens. Versions that
were compacted are gone (410), later ones than the server has are too large (504).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .backend import Backend, Connection
from .messages import Message

LABEL = "kubernetes.io/service-name"
PATH = "/apis/discovery.k8s.io/v1/namespaces/"


def endpoint(address: str, *more: str, pod: str = "", **conditions: bool) -> dict[str, Any]:
    """One endpoint; `conditions` are those that are written."""
    target = {"targetRef": {"kind": "Pod", "name": pod, "uid": f"uid-of-{pod}"}} if pod else {}
    return {"addresses": [address, *more], "conditions": conditions, "nodeName": "node", **target}


def endpoint_slice(
    name: str,
    service: str,
    endpoints: Sequence[Mapping[str, Any]] | None,
    ports: Mapping[str, int] | None,
    family: str = "IPv4",
    namespace: str = "shop",
) -> dict[str, Any]:
    """A slice; `ports` are numbers by name."""
    listed = [{"name": each, "port": port, "protocol": "TCP"} for each, port in (ports or {}).items()]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: service}, "uid": f"uid-of-{name}"},
        "addressType": family,
        "endpoints": endpoints,
        "ports": listed or None,
    }


def status(code: int, reason: str, message: str) -> dict[str, Any]:
    """What a failed request, or the last event of a watch, says."""
    kinds = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**kinds, "message": message, "reason": reason, "code": code}


class ApiServer(Backend):
    """Answers those who show the token in `token_file` as it is now; `tls` is how it speaks."""

    def __init__(self, token_file: Path, tls: SSLContext | None = None, port: int = 0) -> None:
        super().__init__(self._answer_all, name="api server", tls=tls, port=port)
        self._token_file = token_file
        self._news = threading.Condition()
        self.version = 1000
        """The resource version of now."""
        self.slices: dict[tuple[str, str], dict[str, Any]] = {}
        """By namespace and name; what is changed here is a change that no watch brings."""
        self._oldest = 1000
        self._history: list[tuple[int, str, dict[str, Any]]] = []
        self._watch_end: tuple[int, dict[str, Any] | None] = (0, None)
        self.refuse: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """What the next requests to `list` or `watch` a service are answered, in place of what they ask for."""
        self.watch_seconds = 3600.0
        """How long a watch lasts at most."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Every accepted request: `list` or `watch`, and its parameters."""

    # ---- what happens in the cluster

    def put(self, *slices: dict[str, Any]) -> None:
        """Create or change slices."""
        with self._news:
            for each in slices:
                key = each["metadata"]["namespace"], each["metadata"]["name"]
                self._happens("MODIFIED" if key in self.slices else "ADDED", each)

    def delete(self, name: str, namespace: str = "shop") -> None:
        with self._news:
            self._happens("DELETED", self.slices[namespace, name])

    def bookmark(self) -> None:
        """Other objects have changed: watches that want bookmarks are told the version."""
        with self._news:
            self.version += 10
            self._history.append((self.version, "BOOKMARK", {}))
            self._news.notify_all()

    def compact(self) -> None:
        """Forget what was before now: who watches from there has come too late."""
        with self._news:
            self.version += 10
            self._oldest = self.version
            self._history.clear()

    def end_watches(self, last: dict[str, Any] | None = None) -> None:
        """End every watch that runs, with this status as its last event if there is one."""
        with self._news:
            self._watch_end = self._watch_end[0] + 1, last
            self._news.notify_all()

    def requests_to(self, kind: str, service: str) -> list[dict[str, str]]:
        """The parameters of every accepted request to `list` or `watch` a service."""
        return [wanted for asked, wanted in self.asked if asked == kind and _service(wanted) == service]

    def _happens(self, kind: str, each: dict[str, Any]) -> None:
        self.version += 1
        own = {**each, "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1"}
        own["metadata"] = {**each["metadata"], "resourceVersion": str(self.version)}
        key = own["metadata"]["namespace"], own["metadata"]["name"]
        if kind == "DELETED":
            del self.slices[key]
        else:
            self.slices[key] = own
        self._history.append((self.version, kind, own))
        self._news.notify_all()

    # ---- what it answers

    def _answer_all(self, connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            if request.get("authorization") != f"Bearer {self._token_file.read_text()}":
                self._fail(connection, status(401, "Unauthorized", "Unauthorized"))
                continue
            parts = urlsplit(request.target)
            wanted = {key: values[0] for key, values in parse_qs(parts.query).items()}
            namespace, _, what = unquote(parts.path).removeprefix(PATH).partition("/")
            if what != "endpointslices" or not parts.path.startswith(PATH):
                self._fail(connection, status(404, "NotFound", "the server could not find the requested resource"))
                continue
            kind = "watch" if wanted.get("watch") == "true" else "list"
            self.asked.append((kind, wanted))
            if refusals := self.refuse.get((kind, _service(wanted))):
                self._fail(connection, refusals.pop(0))
            elif kind == "watch":
                if not self._watch(connection, request, namespace, wanted):
                    return
            else:
                self._list(connection, namespace, wanted)

    def _list(self, connection: Connection, namespace: str, wanted: Mapping[str, str]) -> None:
        if wanted.get("resourceVersion", "0") not in ("", "0"):
            self._fail(connection, status(504, "Timeout", "Too large resource version"))
            return
        with self._news:
            items = [each for each in self.slices.values() if _selected(each, namespace, wanted)]
            version = str(self.version)
        kinds = {"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1"}
        document = {**kinds, "metadata": {"resourceVersion": version}, "items": items or None}
        connection.answer(json.dumps(document).encode(), "200 OK", "Content-Type: application/json")

    def _watch(self, connection: Connection, request: Message, namespace: str, wanted: Mapping[str, str]) -> bool:
        """Stream until it ends; whether the connection goes on."""
        seen = int(wanted["resourceVersion"])
        with self._news:
            if seen < self._oldest:
                self._fail(connection, status(410, "Expired", f"too old resource version: {seen} ({self._oldest})"))
                return True
            if seen > self.version:
                too_large = f"Too large resource version: {seen}, current: {self.version}"
                self._fail(connection, status(504, "Timeout", too_large))
                return True
            number = self._watch_end[0]
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.send(head.encode())
        end = time.monotonic() + min(self.watch_seconds, float(wanted.get("timeoutSeconds", 1800)))
        while not self.ended:
            with self._news:
                if not self._news.wait_for(partial(self._later, seen, number), timeout=min(1, end - time.monotonic())):
                    if time.monotonic() < end:
                        continue
                    break
                later = [each for each in self._history if each[0] > seen]
                ending = self._watch_end if self._watch_end[0] > number else None
            for version, kind, own in later:
                seen = version
                if kind == "BOOKMARK":
                    if wanted.get("allowWatchBookmarks") == "true":
                        own = {"kind": "EndpointSlice", "metadata": {"resourceVersion": str(version)}}
                        _send(connection, kind, own)
                elif _selected(own, namespace, wanted):
                    _send(connection, kind, own)
            if ending is not None:
                if ending[1] is not None:
                    _send(connection, "ERROR", ending[1])
                break
        connection.send(b"0\r\n\r\n")
        return True

    def _later(self, seen: int, number: int) -> bool:
        return self._watch_end[0] > number or any(version > seen for version, *_ in self._history)

    def _fail(self, connection: Connection, said: dict[str, Any]) -> None:
        code = int(said["code"])
        line = f"{code} {HTTPStatus(code).phrase}"
        connection.answer(json.dumps(said).encode(), line, "Content-Type: application/json")


def _service(wanted: Mapping[str, str]) -> str:
    return wanted.get("labelSelector", "").removeprefix(f"{LABEL}=")


def _selected(each: Mapping[str, Any], namespace: str, wanted: Mapping[str, str]) -> bool:
    label, _, value = wanted.get("labelSelector", "").partition("=")
    metadata = each["metadata"]
    return metadata["namespace"] == namespace and (not label or metadata["labels"].get(label) == value)


def _send(connection: Connection, kind: str, own: Mapping[str, Any]) -> None:
    """An event, in two chunks, as a proxy on the way might cut it."""
    line = json.dumps({"type": kind, "object": own}).encode() + b"\n"
    for piece in (line[:7], line[7:]):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
