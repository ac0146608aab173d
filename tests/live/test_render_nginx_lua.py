"""What `portico render nginx --lua` writes, run by nginx beside Portico: both check tokens, keys and limits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from live.render_beside import Both, beside
from live.render_cases import CASES, HARD, Case, key
from live.test_render_nginx import start_nginx
from portico.render import render_nginx
from support.nginx import lua_library, module
from support.site import program
from support.tokens import SECRET

pytestmark = [
    pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(module("ngx_http_lua_module") is None, reason="libnginx-mod-http-lua is not installed"),
    pytest.mark.skipif(lua_library("cjson") is None, reason="lua-cjson is not installed"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_KEY", SECRET)
        with beside(partial(render_nginx, lua=True), start_nginx, tmp_path_factory.mktemp("lua")) as both:
            yield both


def test_all_cases_are_compared(both: Both) -> None:
    assert both.compared() == len(CASES)


@pytest.mark.parametrize("case", [*CASES, *HARD], ids=str)
def test_both_answer_the_same(both: Both, case: Case) -> None:
    both.compare(case)


@pytest.mark.parametrize("case", [case for case in (*CASES, *HARD) if case.status in (401, 403)], ids=str)
def test_both_refuse_for_the_same_reason(both: Both, case: Case) -> None:
    nginx, portico = both.ask(case)
    if portico.get("content-type") == "application/problem+json":
        assert nginx.get("content-type") == "application/problem+json"
        assert nginx.all("www-authenticate") == portico.all("www-authenticate")
        if case.method != "HEAD":
            theirs, ours = nginx.json(), portico.json()
            for member in theirs.keys() & {"status", "title", "reason", "instance"}:
                assert theirs[member] == ours[member]


@pytest.mark.parametrize(
    ("target", "lines", "admitted"),
    [
        ("/of-consumer/1", (key("open-sesame"),), 2),
        ("/of-consumer/1", (key("abracadabra"),), 2),
        ("/of-day/1", ("X-Key: a",), 3),
        ("/of-day/1", ("X-Key: b",), 2),
    ],
)
def test_both_admit_as_many(both: Both, target: str, lines: tuple[str, ...], admitted: int) -> None:
    answers = [both.ask(Case("GET", target, 200, lines=lines)) for _ in range(admitted + 1)]
    for pair in answers[:admitted]:
        assert [answer.status for answer in pair] == [200, 200]
    for answer in answers[admitted]:
        assert answer.status == 429
        assert int(answer.get("retry-after") or 0) >= 1
