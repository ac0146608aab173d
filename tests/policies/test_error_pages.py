"""Error pages: which form a client gets, what is put into it, and that nothing of it can break out."""

from __future__ import annotations

import json
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from portico.core.errors import Answer, Refusal
from portico.policies.error_pages import ErrorPages, ErrorsSettings, errors_over
from portico.policies.error_templates import NAMES, html_template, json_template, text_template, words_in

from .exchanges import exchange

ADAPTER: TypeAdapter[Any] = TypeAdapter(ErrorsSettings)
HTML = {"html": {"body": "<h1>{status} {title}</h1>"}}
BROWSER = "Accept: text/html,*/*;q=0.8"


def pages(written: dict[str, Any], **texts: str) -> ErrorPages:
    return ErrorPages(ADAPTER.validate_python(written), texts)


def sent(own: ErrorPages, refusal: Refusal, *lines: str) -> tuple[Answer, bytes, list[bytes]]:
    """The answer, its body, and all of its lines."""
    asked = exchange(*lines)
    answer = own.page(asked, refusal)
    return answer, answer.content("/x", "abc", answer.status), [*answer.head_lines(), *asked.response_lines]


def refusal(reason: str = "no_route", detail: str = "nothing here") -> Refusal:
    return Refusal(reason, detail, (b"X-A: 1",))


def test_a_browser_gets_the_page_and_a_program_the_problem_document() -> None:
    own = pages({"404": HTML})
    answer, body, lines = sent(own, refusal(), BROWSER)
    assert (answer.status, answer.reason, body) == (404, "no_route", b"<h1>404 Not Found</h1>")
    assert lines == [b"X-A: 1", b"Content-Type: text/html; charset=utf-8", b"Cache-Control: no-store", b"Vary: Accept"]
    for accept in ("Accept: application/json", "Accept: */*", "X-B: 1"):
        answer, body, lines = sent(own, refusal(), accept)
        assert json.loads(body)["reason"] == "no_route"
        assert lines[1:] == [b"Content-Type: application/problem+json", b"Cache-Control: no-store", b"Vary: Accept"]


@pytest.mark.parametrize(
    ("written", "status", "body"),
    [
        ({"4xx": {"text": {"body": "class"}}}, 404, b"class"),
        ({"4xx": {"text": {"body": "class"}}, "404": {"text": {"body": "own"}}}, 404, b"own"),
        ({"4xx": {"text": {"body": "class"}}, "404": {"text": {"body": "own"}}}, 400, b"class"),
        ({"4xx": {"text": {"body": "class"}}, "404": HTML}, 404, b"class"),
        ({"4xx": {"text": {"body": "class"}}, "404": False}, 404, None),
        ({"4xx": {"text": {"body": "class"}}}, 503, None),
        ({"4xx": False, "404": {"text": {"body": "own"}}}, 404, b"own"),
        ({"404": {"intercept": False}}, 404, None),
    ],
)
def test_a_status_comes_before_its_class(written: dict[str, Any], status: int, body: bytes | None) -> None:
    """Form by form; `false` turns one status off."""
    _, own, _ = sent(pages(written), Refusal("x", "d", status=status), "Accept: text/plain")
    assert (own == body) if body is not None else (json.loads(own)["status"] == status)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"code": "{reason}"}, b"application/json"),
        ({"title": "{title}", "code": "{reason}"}, b"application/problem+json"),
        ({"type": "https://errors.example/{reason}"}, b"application/problem+json"),
        ('{"code": "{reason}"}', b"application/json"),
    ],
)
def test_json_of_ones_own(written: Any, kind: bytes) -> None:
    answer, body, lines = sent(pages({"404": {"json": written}}), refusal(), "Accept: application/json")
    assert lines == [b"X-A: 1", b"Content-Type: " + kind, b"Cache-Control: no-store"], "one form: nothing varies"
    assert "no_route" in body.decode()
    assert json.loads(body)
    assert answer.proxy_error is None


def test_a_number_stays_one_and_texts_may_hold_several_names() -> None:
    made = json_template({"code": "{status}", "list": [{"{status}": "{status}"}], "text": "{status}: {title} {x}"})
    values = dict.fromkeys(NAMES, "a") | {"status": "404"}
    assert json.loads(made(values)) == {"code": 404, "list": [{"404": 404}], "text": "404: a {x}"}


def test_files_are_read_by_their_names() -> None:
    own = pages(
        {"404": {"html": "a.html", "json": "b.json"}}, **{"a.html": "<p>{reason}", "b.json": '{"r": "{reason}"}'}
    )
    assert sent(own, refusal(), BROWSER)[1] == b"<p>no_route"
    assert json.loads(sent(own, refusal())[1]) == {"r": "no_route"}


def test_what_is_behind_a_failure_is_said_beside_a_page() -> None:
    answer, _, _ = sent(pages({"5xx": HTML}), Refusal("upstream_refused", "x"), BROWSER)
    assert answer.proxy_error == "connection_refused"


def test_a_request_that_could_not_be_read_has_no_accept() -> None:
    asked = exchange()
    asked.request = None
    assert pages({"4xx": HTML}).page(asked, refusal()).status == 404


@given(st.text(), st.sampled_from(NAMES))
def test_no_value_breaks_out_of_html(value: str, name: str) -> None:
    made = html_template(f"<p title=\"{{{name}}}\" lang='{{{name}}}'>{{{name}}}</p>")(
        dict.fromkeys(NAMES, value)
    ).decode()
    inner = made.removeprefix('<p title="').removesuffix("</p>")
    assert not set("<\"'") & set(inner.replace("\" lang='", "", 1).replace("'>", "", 1))

    class Reader(HTMLParser):
        tags: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags = [*getattr(self, "tags", []), tag]

    reader = Reader()
    reader.feed(made)
    assert reader.tags == ["p"]
    assert unescape(made).count(value.encode("utf-8", "replace").decode()) >= 3


@given(st.text(), st.sampled_from([each for each in NAMES if each != "status"]))
def test_no_value_breaks_out_of_json(value: str, name: str) -> None:
    made = json_template({"a": f"x{{{name}}}y"})(dict.fromkeys(NAMES, value))
    assert json.loads(made) == {"a": f"x{value}y"}


@given(st.text().filter(lambda text: "{" not in text))
def test_text_without_names_stays_as_it_is(text: str) -> None:
    css = text + "body { color: {red}; } a{b}"
    assert text_template(css)(dict.fromkeys(NAMES, "?")).decode() == css.encode("utf-8", "replace").decode()


def test_words_that_are_no_names() -> None:
    found = words_in({"a": "{status} {request-id} {requestid}", "{titel}": ["{ x }", {"b": "{reson}"}], "n": 5})
    assert list(found) == ["requestid", "titel", "reson"]


def test_levels_are_merged_form_by_form() -> None:
    base = {"5xx": {"html": "a.html", "json": {"a": 1, "b": 2}}, "404": {"html": "b.html"}}
    own = {"5XX": {"json": {"c": 3}, "intercept": True}, "404": False, "403": {"text": "t"}}
    assert errors_over(own, base) == {
        "5xx": {"html": "a.html", "json": {"c": 3}, "intercept": True},
        "404": False,
        "403": {"text": "t"},
    }
    assert errors_over(True, base) == errors_over({}, base) == base
