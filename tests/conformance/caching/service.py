"""The service behind the cache: it answers each case by the step that is under way, and keeps what it got."""

from __future__ import annotations

import gzip
import re
import threading
import time
from email.utils import formatdate

from conformance.strict import Head, take_request
from support.backend import Connection

from .case import Answer, Case

_PLACEHOLDER = re.compile(r"\{(now|rfc850|asctime|base|origin)([+-]\d+)?\}")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class Run:
    """A case while it is played to one cache."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.number = 0
        """Of the step under way, from 1."""
        self.arrived: list[Head] = []
        self.given: dict[int, list[tuple[str, str]]] = {}
        """The fields of the last answer of a step."""

    def begin(self, number: int) -> None:
        """The next requests belong to this step."""
        self.number = number

    def fill(self, text: str, host: str) -> str:
        """The text with dates (`{now-60}`, `{rfc850+60}`, `{asctime+60}`) and its URL (`{origin}{base}`) put in."""

        def value(found: re.Match[str]) -> str:
            kind = found[1]
            if kind in ("base", "origin"):
                return self.case.path if kind == "base" else f"http://{host}"
            return _date(kind, time.time() + int(found[2] or 0))

        return _PLACEHOLDER.sub(value, text)


def _date(kind: str, moment: float) -> str:
    if kind == "now":
        return formatdate(moment, usegmt=True)
    form = "%A, %d-%b-%y %H:%M:%S GMT" if kind == "rfc850" else "%a %b %e %H:%M:%S %Y"
    return time.strftime(form, time.gmtime(moment))


class Service:
    """The script of a `Backend`, for all cases at once: the first segment of a path names the case.

    What is of no case may be stored.
    """

    def __init__(self, runs: list[Run]) -> None:
        self._runs = {run.case.path: run for run in runs}
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        pending = b""
        while data := connection.receive():
            pending += data
            while found := take_request(pending):
                request, pending = found
                run = self._runs.get("/" + re.split(r"[/?]", request.target)[1])
                if run is None:
                    connection.answer(b"no case", "200 OK", "Cache-Control: max-age=600")
                    continue
                with self._lock:
                    run.arrived.append(request)
                    answer = run.case.steps[run.number - 1].answer
                if not self._answer(connection, run, request, answer):
                    return

    def _answer(self, connection: Connection, run: Run, request: Head, answer: Answer) -> bool:
        """Whether the connection goes on."""
        time.sleep(answer.delay)
        if answer.ends == "closes":
            return False
        host = request.all("host")[0]
        fields = [run.fill(line, host) for line in answer.fields]
        if answer.date and not any(line.lower().startswith("date:") for line in fields):
            fields.append(run.fill("Date: {now}", host))
        run.given[run.number] = [(name, value.strip()) for name, _, value in (line.partition(":") for line in fields)]
        if answer.interim:
            connection.send("\r\n".join(["HTTP/1.1 103 Early Hints", *answer.interim, "", ""]).encode())
        status, body, more = _selected(request, answer)
        head = [f"HTTP/1.1 {status} Said", *fields, *more]
        connection.send(
            "\r\n".join([*head, "", ""]).encode("latin-1") + body[: len(body) // 2 if answer.ends else None]
        )
        return not answer.ends


def _selected(request: Head, answer: Answer) -> tuple[int, bytes, list[str]]:
    """Status, the bytes behind the head, and the fields that describe them."""
    status, body, more = answer.status, answer.body.encode(), []
    if status == 304 and not request.all("if-none-match") and not request.all("if-modified-since"):
        status = 200
    if answer.gzip:
        body, more = gzip.compress(body), ["Content-Encoding: gzip"]
    ranges = request.all("range")
    if answer.ranges and ranges and (found := _RANGE.match(ranges[0])):
        first, last = int(found[1]), min(int(found[2] or len(body)), len(body) - 1)
        status, more = 206, [*more, f"Content-Range: bytes {first}-{last}/{len(body)}"]
        body = body[first : last + 1]
    if status in (204, 304):
        return status, b"", more
    if answer.chunked:
        coded = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return status, b"" if request.method == "HEAD" else coded, [*more, "Transfer-Encoding: chunked"]
    return status, b"" if request.method == "HEAD" else body, [*more, f"Content-Length: {len(body)}"]
