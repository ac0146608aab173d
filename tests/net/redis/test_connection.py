"""URLs of Redis: what they mean, what is wrong with them, what may be shown of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from portico.net.redis.connection import check_url, masked, tls_files
from portico.net.redis.probe import unreachable

GOOD = [
    "redis://localhost:6379",
    "redis://h/3",
    "redis://h?db=3",
    "redis://:pw@[::1]:6380/0",
    "redis://user:p%40ss%2Fw@h",
    "valkey://h",
    "valkeys://h:1/3?ca=/a",
    "rediss://h?ca=a&certificate=b&key=c",
    "unix:///run/redis.sock",
    "unix://:pw@/run/my%20redis.sock?db=2",
    "redis+sentinel://h1,h2:26379/main",
    "redis+sentinel://u:p@h1/main/2?sentinel_password=x",
    "rediss+sentinel://h/main?ca=a",
    "redis+cluster://h1:1,h2:2",
    "valkeys+cluster://h",
]


@pytest.mark.parametrize("url", GOOD)
def test_what_is_understood(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "expected redis://"),
        ("hunter2", "expected redis://"),
        ("http://hunter2", "expected redis://"),
        ("REDIS://hunter2", "expected redis://"),
        ("redis+unix:///hunter2", "expected redis://"),
        ("redis+://hunter2", "expected redis://"),
        ("redis://", "expected host or host:port"),
        ("redis://:hunter2@", "expected host or host:port"),
        ("redis://h:99999", "expected host or host:port"),
        ("redis://h:0", "expected host or host:port"),
        ("redis://::1", "goes into brackets"),
        ("redis://hunter2,h", "several hosts need redis"),
        ("redis://h/hunter2", "the database is a number"),
        ("redis://h/1?db=2", "given twice"),
        ("redis://h?hunter2=1", "known here: db, ca, certificate, key"),
        ("redis://h?password=hunter2", "known here: db, ca, certificate, key"),
        ("redis://h?hunter2", "has to be name=value"),
        ("redis://h?ca=hunter2", "needs TLS: write rediss"),
        ("rediss://h?ca=", "the option ca is empty"),
        ("rediss://h?key=hunter2", "needs certificate beside it"),
        ("redis://u:hunter/2@h", "percent-encoded"),
        ("redis://u:hunter@2@h", "percent-encoded"),
        ("unix://hunter2", "three slashes"),
        ("unix://run/hunter2", "three slashes"),
        ("redis+sentinel://hunter2", "ends with the name of the master"),
        ("redis+cluster://h/2", "no numbered databases"),
    ],
)
def test_errors_do_not_repeat_the_url(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        check_url(url)
    assert message in str(raised.value)
    assert "hunter" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://user:pw@h/0", "redis://***@h/0"),
        ("redis://u:p@ss/w?@h/0?db=1", "redis://***@h/0?db=1"),
        ("redis+sentinel://h/m?sentinel_password=pw&ca=a", "redis+sentinel://h/m?sentinel_password=***&ca=a"),
        ("redis://h?Password=pw&username=me", "redis://h?Password=***&username=***"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("pw", "***"),
    ],
)
def test_what_may_be_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_files_for_tls() -> None:
    assert tls_files("rediss://h?ca=%2Fa&certificate=b&db=3") == {"ca": "/a", "certificate": "b"}


def test_no_library_is_loaded_before_it_is_needed() -> None:
    code = "import sys, portico.net.redis.connection, portico.processes.worker.main; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_a_redis_that_is_down_is_reported_without_secrets(scheme: str) -> None:
    problem = unreachable(f"{scheme}://me:hunter2@127.0.0.1:1{'/main' * (scheme == 'redis+sentinel')}", 5)
    assert problem is not None
    assert problem.startswith(f"{scheme}://***@127.0.0.1:1")
    assert "hunter2" not in problem
    assert len(problem) < 250
