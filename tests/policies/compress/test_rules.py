"""Which responses are compressed, and the tags of those that are."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policies.exchanges import exchange
from portico.policies.compress import CompressSettings
from portico.policies.compress.rules import Rules
from portico.policies.compress.tags import coded_tag, with_known_tags


@pytest.mark.parametrize(
    ("kind", "covered"),
    [
        (b"text/html; charset=utf-8", True),
        (b"Text/HTML", True),
        (b"application/json", True),
        (b"application/problem+json", True),
        (b"image/svg+xml", True),
        (b"application/x-ndjson", True),
        (b"font/ttf", True),
        (b"text/event-stream; charset=utf-8", False),
        (b"application/grpc", False),
        (b"image/png", False),
        (b"font/woff2", False),
        (b"application/zip", False),
        (b"", False),
        (b"nonsense", False),
    ],
)
def test_what_is_usually_worth_it(kind: bytes, covered: bool) -> None:
    assert Rules(CompressSettings()).covers(kind) is covered


def test_types_of_ones_own() -> None:
    rules = Rules(CompressSettings(types=["text/event-stream", "image/*", "*+cbor"]))
    covered = [b"text/event-stream", b"image/png", b"application/x+cbor"]
    assert [rules.covers(kind) for kind in [*covered, b"text/html"]] == [True, True, True, False]
    both = Rules(CompressSettings(types=["default", "Application/PDF"]))
    assert [both.covers(kind) for kind in (b"text/html", b"application/pdf", b"image/png")] == [True, True, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encodings": ["deflate"]}, "'zstd', 'br' or 'gzip'"),
        ({"encodings": ["gzip", "gzip"]}, "each is named once"),
        ({"encodings": []}, "at least 1"),
        ({"types": ["json"]}, "expected a media type without parameters"),
        ({"types": ["text/html; charset=utf-8"]}, "expected a media type without parameters"),
        ({"levels": {"gzip": 10}}, "less than or equal to 9"),
        ({"levels": {"zstd": 22}}, "less than or equal to 19"),
        ({"min_size": -1}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CompressSettings.model_validate(settings)


def test_strong_tags_get_the_coding_and_weak_ones_stay() -> None:
    assert coded_tag(b'"hi"', b"gzip") == b'W/"hi-gzip"'
    assert coded_tag(b'W/"hi"', b"gzip") == b'W/"hi"'
    assert coded_tag(b"hi", b"gzip") == b"hi"


def test_clients_tags_are_those_of_the_service_again() -> None:
    made = exchange('If-None-Match: W/"a-gzip", "b-gzip", W/"c", W/"d-zstd"', "If-Match: *", 'If-Range: W/"a-gzip"')
    assert made.request is not None
    before = list(made.request.fields.lines)
    seen, known = with_known_tags(made.request)
    changed = b'If-None-Match: "a", "b-gzip", W/"c", "d"'
    assert seen.fields.lines == [changed if line.startswith(b"If-None") else line for line in before]
    assert known == {b'"a"': b'W/"a-gzip"', b'"d"': b'W/"d-zstd"'}
    assert made.request.fields.lines == before, "the connection's own request is as it was"


def test_a_request_without_our_tags_stays_as_it_is() -> None:
    made = exchange('If-None-Match: "a"')
    assert made.request is not None
    assert with_known_tags(made.request)[0] is made.request
