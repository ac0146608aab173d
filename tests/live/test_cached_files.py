"""Files of Starlette and nginx through the cache: ranges, HEAD, preconditions, codings, and a browser that seeks."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from support import nginx
from support.backend import content
from support.browser import needs_chromium
from support.messages import Message
from support.process import free_port
from support.redis_servers import RedisServer
from support.server import at
from support.service import UvicornService
from support.site import Site, program
from support.world import Gateway, until

DATA = content(300_000)
"""Several pieces of what a store keeps."""
PROSE = b"All that can be said twice can be said shorter. " * 2000
MODIFIED = time.time() - 40 * 86400
"""So long ago that a file is fresh by it."""
SECONDS, RATE = 60, 22050
LATER, EARLIER = formatdate(MODIFIED + 86400, usegmt=True), formatdate(MODIFIED - 86400, usegmt=True)

_NGINX = """\
    access_log {log};
    gzip on;
    types {{ text/plain txt; text/html html; audio/wav wav; }}
    gzip_types text/plain;
    gzip_vary on;
    gzip_proxied any;
    server {{
        listen 127.0.0.1:{port};
        root {files};
    }}
"""

Asked = Callable[[str], int]
"""How many requests a service has got for a path of its own."""


@dataclass
class Files:
    """What serves the files through the gateway: `prefix` is its path there, `place` that of the files behind it."""

    gateway: Gateway
    prefix: str
    place: str
    asked: Asked
    directory: Path

    def change(self, name: str, content: bytes) -> None:
        """Have other content in a file of this name, and another date."""
        (self.directory / name).write_bytes(content)

    def ask(self, method: str, name: str, *lines: str) -> Message:
        return self.gateway.ask(method, f"{self.prefix}{self.place}/{name}", *lines)

    def get(self, name: str, *lines: str) -> Message:
        return self.ask("GET", name, *lines)

    def kept(self, name: str, *lines: str) -> Message:
        """What the service answers, once that is stored: nobody waits for it to be."""
        whole = self.get(name, *lines)
        until(lambda: self.get(name, *lines, "Cache-Control: only-if-cached").status == 200, f"{name} is stored")
        return whole

    def cost(self, name: str) -> int:
        """How many requests for this file have reached the service."""
        return self.asked(f"{self.place}/{name}")


def _write_files(directory: Path) -> None:
    for number in range(7):
        (directory / f"data{number}.bin").write_bytes(DATA)
    for name in ("prose.txt", "news.txt"):
        (directory / name).write_bytes(PROSE)
    for name in ("sound.wav", "song.wav"):
        with wave.open(str(directory / name), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            sound.writeframes(bytes(RATE * 2 * SECONDS))
    (directory / "page.html").write_text("<!doctype html><title>player</title><video id=player></video>")
    for file in directory.iterdir():
        os.utime(file, (MODIFIED, MODIFIED))


@pytest.fixture(scope="module")
def everywhere() -> Iterator[dict[str, Files]]:
    """Each service of files through each store."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portico-files-")))
        directory.chmod(0o755)
        _write_files(directory)
        starlette = stack.enter_context(UvicornService({"PORTICO_FILES": str(directory)}, "support.files:app"))
        services = {"starlette": starlette.url}
        counts: dict[str, Asked] = {"starlette": lambda path: int(starlette.get("/asked").json().get(path, 0))}
        places = {"file": ("starlette", "/file"), "static": ("starlette", "/static"), "zip": ("starlette", "/zip")}
        if program("nginx"):
            site = Site(free_port(), 0, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portico-nginx-"))))
            log = site.directory / "access"
            text = _NGINX.format(port=site.port, log=log, files=directory)
            stack.enter_context(at(site, nginx.command(site, text)))
            services["nginx"] = f"http://127.0.0.1:{site.port}"
            counts["nginx"] = lambda path: len(re.findall(f" {re.escape(path)} HTTP", log.read_text()))
            places["nginx"] = ("nginx", "")
        redis = stack.enter_context(RedisServer())
        policies = {store: {"cache": {"store": store, "max_object": "64MiB"}} for store in ("memory", "redis")}
        config = {
            "gateway": {"redis_url": redis.url, "cache": {"redis_timeout": "1s"}},
            "services": {name: {"url": url, "health_check": False} for name, url in services.items()},
            "routes": [
                {"service": service, "path": f"/{store}/{service}", "policies": policies[store]}
                for service in services
                for store in policies
            ],
        }
        gateway = stack.enter_context(Gateway(config))
        yield {
            f"{name} {store}": Files(gateway, f"/{store}/{service}", place, counts[service], directory)
            for name, (service, place) in places.items()
            for store in policies
        }


PLACES = [f"{name} {store}" for name in ("file", "static", "zip", "nginx") for store in ("memory", "redis")]


@pytest.fixture
def files(everywhere: dict[str, Files], request: pytest.FixtureRequest) -> Files:
    if request.param not in everywhere:
        pytest.skip("nginx is not installed")
    return everywhere[request.param]


def each_place(*without: str) -> pytest.MarkDecorator:
    places = [place for place in PLACES if place.split()[0] not in without]
    return pytest.mark.parametrize("files", places, indirect=True)


PLAIN = "Accept-Encoding: identity"


def parts_of(response: Message) -> list[tuple[str, bytes]]:
    """The Content-Range and the bytes of every part of a multipart/byteranges."""
    found = re.fullmatch(r"multipart/byteranges; *boundary=\"?([^\"]+)\"?", response.get("content-type") or "")
    assert found, response.fields
    edge = b"--" + found[1].encode()
    *pieces, end = response.body.split(edge)[1:]
    assert end.rstrip() == b"--"
    parts = []
    for piece in pieces:
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        (line,) = [line for line in head.decode().split("\r\n") if line.lower().startswith("content-range:")]
        parts.append((line.partition(": ")[2], body.removesuffix(b"\r\n")))
    return parts


@each_place()
def test_a_file_comes_from_the_store_as_it_came_from_the_service(files: Files) -> None:
    before = files.cost("data0.bin")
    first, second = files.kept("data0.bin", PLAIN), files.get("data0.bin", PLAIN)
    assert first.body == second.body == DATA
    assert files.cost("data0.bin") == before + 1
    for name in ("content-type", "etag", "last-modified", "content-length", "date"):
        assert first.get(name) == second.get(name)
    assert "hit" in (second.get("cache-status") or "")


@each_place()
def test_ranges_of_a_stored_file(files: Files) -> None:
    files.kept("data1.bin", PLAIN)
    before = files.cost("data1.bin")
    bounds = {
        "0-0": (0, 0),
        "0-": (0, 299_999),
        "65535-65536": (65_535, 65_536),
        "65536-131071": (65_536, 131_071),
        "100000-250000": (100_000, 250_000),
        "299999-": (299_999, 299_999),
        "299990-400000": (299_990, 299_999),
        "-7": (299_993, 299_999),
        "-400000": (0, 299_999),
    }
    for spec, (first, last) in bounds.items():
        response = files.get("data1.bin", PLAIN, f"Range: bytes={spec}")
        assert (response.status, response.body) == (206, DATA[first : last + 1]), spec
        assert response.get("content-range") == f"bytes {first}-{last}/{len(DATA)}", spec
        assert response.get("content-length") == str(last - first + 1)
    refused = files.get("data1.bin", PLAIN, "Range: bytes=300000-")
    assert (refused.status, refused.get("content-range")) == (416, f"bytes */{len(DATA)}")
    assert files.cost("data1.bin") == before


@each_place()
def test_several_ranges_of_a_stored_file(files: Files) -> None:
    files.kept("data2.bin", PLAIN)
    before = files.cost("data2.bin")
    response = files.get("data2.bin", PLAIN, "Range: bytes=0-9,65530-65545,-5")
    assert response.status == 206
    assert parts_of(response) == [
        ("bytes 0-9/300000", DATA[:10]),
        ("bytes 65530-65545/300000", DATA[65530:65546]),
        ("bytes 299995-299999/300000", DATA[-5:]),
    ]
    assert files.cost("data2.bin") == before


@each_place()
def test_a_range_first_and_the_whole_after_it(files: Files) -> None:
    part = files.get("data3.bin", PLAIN, "Range: bytes=10-19")
    assert (part.status, part.body) == (206, DATA[10:20])
    assert files.get("data3.bin", PLAIN).body == DATA
    again = files.get("data3.bin", PLAIN, "Range: bytes=20-29")
    assert (again.status, again.body) == (206, DATA[20:30])


@each_place()
def test_head_of_a_stored_file(files: Files) -> None:
    whole = files.kept("data4.bin", PLAIN)
    before = files.cost("data4.bin")
    head = files.ask("HEAD", "data4.bin", PLAIN)
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "etag", "last-modified", "content-length"):
        assert head.get(name) == whole.get(name)
    assert files.cost("data4.bin") == before


@each_place()
def test_preconditions_on_a_stored_file(files: Files) -> None:
    whole = files.kept("data5.bin", PLAIN)
    before, etag, date = files.cost("data5.bin"), whole.get("etag") or "", whole.get("last-modified")
    statuses = {
        f"If-None-Match: {etag}": 304,
        f"If-None-Match: W/{etag.removeprefix('W/')}": 304,
        f'If-None-Match: "x", {etag}': 304,
        'If-None-Match: "x"': 200,
        f"If-Modified-Since: {date}": 304,
        f"If-Modified-Since: {LATER}": 304,
        f"If-Modified-Since: {EARLIER}": 200,
    }
    for line, status in statuses.items():
        response = files.get("data5.bin", PLAIN, line)
        assert response.status == status, line
        assert response.body == (b"" if status == 304 else DATA)
        assert response.get("etag") == etag
    assert files.cost("data5.bin") == before


@each_place()
def test_if_range_on_a_stored_file(files: Files) -> None:
    whole = files.kept("data6.bin", PLAIN)
    before, etag, date = files.cost("data6.bin"), whole.get("etag") or "", whole.get("last-modified")
    statuses = {etag: 206, '"x"': 200, f"W/{etag}": 200, date: 206, LATER: 200, EARLIER: 200}
    for condition, status in statuses.items():
        response = files.get("data6.bin", PLAIN, "Range: bytes=5-9", f"If-Range: {condition}")
        assert response.status == status, condition
        assert response.body == (DATA[5:10] if status == 206 else DATA)
    assert files.cost("data6.bin") == before


@each_place("file", "static")
def test_a_variant_for_each_coding_that_the_service_uses(files: Files) -> None:
    accepted = {"gzip, deflate, br": True, "br;q=1.0, gzip;q=0.8": True, "gzip": True, "identity": False}
    before = files.cost("prose.txt")
    for _ in range(2):
        for codings, is_coded in accepted.items():
            response = files.kept("prose.txt", f"Accept-Encoding: {codings}")
            assert response.get("content-encoding") == ("gzip" if is_coded else None), codings
            assert (gzip.decompress(response.body) if is_coded else response.body) == PROSE
    plain = files.get("prose.txt")
    assert (plain.get("content-encoding"), plain.body) == (None, PROSE)
    part = files.get("prose.txt", PLAIN, "Range: bytes=10-19")
    assert (part.status, part.body) == (206, PROSE[10:20])
    assert files.cost("prose.txt") == before + 2, "one for each coding"


@each_place("file", "static")
def test_a_file_that_changes_has_new_variants_of_each_coding(files: Files) -> None:
    """Starlette gives all codings of a file the same ETag: one must not stand for the other."""
    gzipped, now = "Accept-Encoding: gzip", "Cache-Control: no-cache"
    assert files.get("news.txt", PLAIN, now).body.startswith(PROSE)
    files.change("news.txt", PROSE + files.prefix.encode())
    assert files.get("news.txt", gzipped, now).get("content-encoding") == "gzip"
    for coding in PLAIN, gzipped, PLAIN:
        response = files.get("news.txt", coding, now)
        assert response.get("content-encoding") == ("gzip" if coding == gzipped else None)
        body = gzip.decompress(response.body) if coding == gzipped else response.body
        assert body == PROSE + files.prefix.encode()


SEEK = """
async ([source, times]) => {
    const player = document.getElementById("player");
    const heard = name => new Promise((resolve, reject) => {
        player.addEventListener(name, resolve, {once: true});
        player.addEventListener("error", () => reject(player.error.message), {once: true});
    });
    const loaded = heard("loadedmetadata");
    player.muted = true;
    player.src = source;
    await loaded;
    const seen = [];
    for (const time of times) {
        const sought = heard("seeked");
        player.currentTime = time;
        await sought;
        seen.push([player.currentTime, player.seekable.length, player.seekable.end(0)]);
    }
    await player.play();
    const ended = heard("ended");
    player.currentTime = player.duration - 0.3;
    await ended;
    return {duration: player.duration, seen: seen};
}
"""


def seek(browser: Any, files: Files, name: str) -> list[int]:
    """Have a player in a new page seek to and fro in a file; the statuses of what it asked for."""
    times = [50, 5, 30.5, 59]
    with closing(browser.new_page()) as page:
        page.set_default_timeout(30_000)
        page.goto(f"{files.gateway.url}{files.prefix}{files.place}/page.html")
        statuses: list[int] = []
        page.on("response", lambda response: statuses.append(response.status) if name in response.url else None)
        found = page.evaluate(SEEK, [f"{files.prefix}{files.place}/{name}", times])
    assert found["duration"] == SECONDS
    assert found["seen"] == [[time, 1, SECONDS] for time in times]
    return statuses


@needs_chromium
@each_place("file", "zip")
def test_a_browser_seeks_in_a_stored_file(files: Files, browser: Any) -> None:
    files.kept("sound.wav", f"Host: 127.0.0.1:{files.gateway.port}")
    before = files.cost("sound.wav")
    assert set(seek(browser, files, "sound.wav")) == {206}
    assert files.cost("sound.wav") == before


@needs_chromium
@each_place("file", "zip", "nginx")
def test_a_player_alone_has_a_file_stored(files: Files, browser: Any) -> None:
    """It asks for nothing but ranges, the first of which is all of it, and leaves before it has come."""
    host = f"Host: 127.0.0.1:{files.gateway.port}"
    assert set(seek(browser, files, "song.wav")) == {206}
    until(lambda: files.get("song.wav", host, "Cache-Control: only-if-cached").status == 200, "the song is stored")
    before = files.cost("song.wav")
    assert set(seek(browser, files, "song.wav")) == {206}
    assert files.cost("song.wav") == before
