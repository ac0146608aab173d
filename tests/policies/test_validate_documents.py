"""Requests checked against documents of others than FastAPI, and those that cannot be checked."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from policies.exchanges import exchange
from policies.test_validate import FORM, JSON, Checked
from portico.core.errors import Refusal
from portico.core.exchange import RouteMatch
from portico.core.slices import at_once
from portico.openapi.document import judged
from portico.openapi.requests.schemas import Schemas, UncheckableError
from portico.policies.policy import Context, State
from portico.policies.validate import ValidateSettings, build_validate

OK = {"responses": {"200": {"description": "OK"}}}


def document(operation: dict[str, Any], version: str = "3.1.0", **components: Any) -> dict[str, Any]:
    """One with `POST /x/{id}`."""
    paths = {"/x/{id}": {"post": {**OK, **operation}, "get": {**OK, **operation}}}
    return {"openapi": version, "info": {}, "paths": paths, "components": components}


def with_body(schema: Any, version: str = "3.1.0", kind: str = "application/json", **components: Any) -> Checked:
    body = {"required": True, "content": {kind: {"schema": schema}}}
    return Checked(document({"requestBody": body}, version, **components))


def with_parameters(*parameters: Any, **more: Any) -> Checked:
    return Checked(document({"parameters": list(parameters)}), **more)


def details(checked: Checked, body: Any, *fields: Any) -> Any:
    return checked.errors("POST", "/x/1", fields or [JSON], json.dumps(body).encode())


NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_what_is_wrong_is_said_with_where_it_is() -> None:
    inner = {"type": "array", "items": {"type": "object", "properties": {"a/b": {"type": "boolean"}}}}
    checked = with_body({"type": "object", "properties": {"list": inner}, "required": ["name"]})
    assert details(checked, {"list": [{}, {"a/b": 5}]}) == [
        {"pointer": "#", "detail": '"name" is a required property'},
        {"pointer": "#/list/1/a~1b", "detail": 'it is not of type "boolean"'},
    ]


def test_an_answer_is_a_problem_document() -> None:
    answer = with_body(NAMED).answer("POST", "/x/1", [JSON], b'{"name": 5}')
    assert answer is not None
    said = msgspec.json.decode(answer.content("/public", "id", answer.status))
    assert (answer.status, said["reason"], said["detail"]) == (
        400,
        "request_invalid",
        'body at #/name: it is not of type "string"',
    )
    assert said["errors"] == [{"pointer": "#/name", "detail": 'it is not of type "string"'}]


def test_no_more_is_said_than_is_read_and_nothing_of_what_was_sent() -> None:
    checked = with_body({"type": "array", "items": {"type": "object", "maxProperties": 0}})
    assert len(details(checked, [{"password": "hunter2"}] * 1000)) == 10
    assert "hunter2" not in json.dumps(details(checked, [{"password": "hunter2"}] * 1000))
    assert details(checked, [{"a": 1}] * 5000) == [{"pointer": "#", "detail": "it does not fit the schema"}]


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "object", "required": ["id"], "properties": {"id": {"readOnly": True}}}, {}, True),
        ({"type": "object", "required": ["id"], "properties": {"id": {"$ref": "#/components/schemas/Id"}}}, {}, True),
        ({"type": "object", "required": ["id"], "properties": {"id": {}}}, {}, False),
        ({"type": "string", "nullable": True}, None, True),
        ({"type": "string", "nullable": True, "enum": ["a"]}, None, True),
        ({"type": "string", "nullable": True, "enum": ["a"]}, "b", False),
        ({"$ref": "#/components/schemas/Id", "nullable": True}, None, True),
        ({"type": "object", "nullable": True, "allOf": [{"$ref": "#/components/schemas/Named"}]}, None, True),
        ({"type": "string"}, None, False),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, False),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1.1, True),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer", "format": "int32"}, 2**40, True),
        ({"type": "string", "format": "byte"}, "?", True),
        ({"type": "string", "format": "date"}, "yesterday", False),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1, True),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "maxItems": 1}, [1, 1], True),
        ({"type": "object", "id": "http://127.0.0.1:1/x", "$schema": "http://127.0.0.1:1/y"}, {}, True),
        ({"$ref": "#/components/schemas/Tree"}, {"next": {"next": {}}}, True),
        ({"$ref": "#/components/schemas/Tree"}, {"next": {"next": 5}}, False),
        (True, 5, True),
        ({}, 5, True),
    ],
)
def test_schemas_of_openapi_3_0(schema: Any, value: Any, fits: bool) -> None:
    schemas = {
        "Id": {"type": "integer", "readOnly": True},
        "Named": NAMED,
        "Tree": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Tree"}}},
    }
    assert (details(with_body(schema, "3.0.3", schemas=schemas), value) == []) == fits


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": ["string", "null"]}, None, True),
        ({"const": 1}, 2, False),
        ({"type": "number", "exclusiveMinimum": 1}, 1, False),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1], False),
        ({"type": "object", "unevaluatedProperties": False, "allOf": [NAMED]}, {"name": "a"}, True),
        ({"type": "object", "unevaluatedProperties": False, "allOf": [NAMED]}, {"name": "a", "b": 1}, False),
        ({"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}}, {"a": "x"}, False),
        (False, 1, False),
        ({"not": {"type": "integer"}}, "5", True),
        ({"if": {"type": "integer"}, "then": {"minimum": 5}, "else": False}, "5", True),
        ({"contains": {"type": "integer"}, "maxContains": 1}, [1, "2"], True),
        ({"contains": {"type": "integer"}}, ["a"], False),
    ],
)
def test_schemas_of_later_ones(schema: Any, value: Any, fits: bool) -> None:
    checked = with_body(schema, schemas={"A": {"type": "integer"}})
    assert (details(checked, value) == []) == fits


@pytest.mark.parametrize(
    "schema", [{"type": "strange"}, {"pattern": "("}, {"minimum": "x"}, {"type": "string", "pattern": 5}]
)
def test_a_schema_that_is_wrong_checks_nothing(schema: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert details(with_body(schema), 5) == []
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize(
    ("parameter", "query", "fits"),
    [
        ({"schema": {"type": "array", "items": {"type": "integer"}}}, "a=1&a=2", True),
        ({"schema": {"type": "array", "items": {"type": "integer"}}}, "a=1&a=x", False),
        ({"schema": {"type": "array", "items": {"type": "integer"}}, "explode": False}, "a=1,2", True),
        ({"schema": {"type": "array", "items": {"type": "integer"}}, "explode": False}, "a=1,x", False),
        ({"schema": {"type": "array", "maxItems": 2}, "style": "pipeDelimited", "explode": False}, "a=1|2", True),
        (
            {"schema": {"type": "array", "maxItems": 2}, "style": "pipeDelimited", "explode": False},
            "a=1%7C2%7C3",
            False,
        ),
        ({"schema": {"type": "array", "maxItems": 2}, "style": "spaceDelimited", "explode": False}, "a=1+2+3", False),
        ({"schema": {"type": "object"}, "style": "deepObject"}, "a[b]=1", True),
        ({"schema": {**NAMED, "additionalProperties": False}, "style": "deepObject"}, "a[name]=x", True),
        ({"schema": {**NAMED, "additionalProperties": False}, "style": "deepObject"}, "a[other]=x", False),
        (
            {"schema": {"properties": {"n": {"type": "integer", "maximum": 5}}}, "style": "deepObject"},
            "a%5Bn%5D=6",
            False,
        ),
        ({"schema": {"type": "object"}}, "b=1", True),
        ({"content": {"application/json": {"schema": NAMED}}}, 'a={"name":"x"}', True),
        ({"content": {"application/json": {"schema": NAMED}}}, 'a={"name":5}', False),
        ({"content": {"application/json": {"schema": NAMED}}}, "a={", False),
        ({"content": {"text/csv": {"schema": NAMED}}}, "a=1", True),
        ({"schema": {"type": "integer"}}, "a=", True),
        ({"schema": {"type": "integer"}, "required": True}, "a=", False),
        ({"schema": {"type": "integer"}, "required": True}, "", False),
        ({"schema": {"type": "integer"}, "required": True, "allowEmptyValue": True}, "", True),
        ({"schema": {"enum": [1, 2]}}, "a=2", True),
        ({"schema": {"enum": [1, 2]}}, "a=3", False),
        ({"schema": {"type": "string", "maxLength": 2}}, "a=%C3%A4%C3%B6", True),
        ({"schema": {"type": "integer", "maximum": 5}}, "a=6&a=4", True),
        ({"schema": {"type": "integer", "maximum": 5}}, "a=6&a=7", False),
    ],
)
def test_parameters_are_found_by_their_styles(parameter: Any, query: str, fits: bool) -> None:
    checked = with_parameters({"name": "a", "in": "query", **parameter})
    found = checked.errors("GET", f"/x/1?{query}")
    assert (found == []) == fits
    assert all((each["parameter"], each["in"]) == ("a", "query") for each in found)


def test_parameters_of_the_path_are_too() -> None:
    numbers = {"name": "id", "in": "path", "required": True, "schema": {"type": "array", "items": {"type": "integer"}}}
    assert with_parameters(numbers).errors("GET", "/x/1,2") == []
    assert with_parameters(numbers).errors("GET", "/x/1,a") != []


def test_a_header_that_others_may_add_need_not_be_sent() -> None:
    needed = {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "integer"}}
    assert with_parameters(needed).errors("GET", "/x/1") == [
        {"parameter": "X-Tenant", "in": "header", "detail": "it is required"}
    ]
    assert with_parameters(needed, added=frozenset({b"x-tenant"})).errors("GET", "/x/1") == []
    assert with_parameters(needed, added=None).errors("GET", "/x/1") == []
    assert with_parameters(needed).errors("GET", "/x/1", request_lines=(b"X-Tenant: 5",)) == []
    for name in ("X-Request-ID", "X-Consumer-Username", "Authorization", "Accept", "Content-Type", "Host"):
        assert with_parameters({**needed, "name": name}).errors("GET", "/x/1") == []


@pytest.mark.parametrize(
    ("kinds", "kind", "expected"),
    [
        (("application/json",), "text/plain", "type_unsupported"),
        (("application/json",), "multipart/form-data; boundary=x", "type_unsupported"),
        (("application/json",), "application/problem+json", None),
        (("application/merge-patch+json",), "Application/Merge-Patch+JSON; charset=UTF-8", None),
        (("text/plain",), "image/png", None),
        (("image/*",), "image/png", None),
        (("application/json", "image/*"), "text/plain", None),
        (("*/*",), "text/plain", None),
        (("application/x-www-form-urlencoded",), "multipart/form-data; boundary=x", None),
        (("multipart/form-data",), "application/json", "type_unsupported"),
    ],
)
def test_types_that_the_service_does_not_take(kinds: tuple[str, ...], kind: str, expected: str | None) -> None:
    content = {each: {"schema": NAMED} for each in kinds}
    checked = Checked(document({"requestBody": {"content": content}}))
    answer = checked.answer("POST", "/x/1", [("Content-Type", kind)], b'{"name": "a"}')
    assert (answer and answer.reason) == expected
    if answer is not None:
        assert answer.status == 415


def test_a_body_that_is_not_sent() -> None:
    checked = with_body(NAMED)
    assert checked.errors("POST", "/x/1") == [{"pointer": "#", "detail": "a body is required"}]
    assert checked.errors("POST", "/x/1", [JSON]) == [{"pointer": "#", "detail": "a body is required"}]
    assert (
        Checked(document({"requestBody": {"content": {"application/json": {"schema": NAMED}}}})).errors("POST", "/x/1")
        == []
    )


def test_a_body_that_is_still_to_come_is_waited_for() -> None:
    checked = with_body(NAMED)
    assert checked.errors("POST", "/x/1", [JSON], b'{"name": "a"}', at_once=False) == []
    assert len(checked.errors("POST", "/x/1", [JSON], b'{"name": 1}', at_once=False)) == 1
    assert checked.errors("POST", "/x/1?", [("Content-Type", "text/plain")], b"x", at_once=False) == "type_unsupported"


def test_parameters_are_judged_before_the_body_is_waited_for() -> None:
    operation = {
        "parameters": [{"name": "a", "in": "query", "required": True}],
        "requestBody": {"content": {"application/json": {"schema": NAMED}}},
    }
    (error,) = Checked(document(operation)).errors("POST", "/x/1", [JSON], b"{}", at_once=False)
    assert error["parameter"] == "a"


def test_coded_bodies_are_decoded_as_far_as_they_may_be_long() -> None:
    checked = with_body(NAMED)
    written = document({"requestBody": {"content": {"application/json": {"schema": NAMED}}}})
    refusing = Checked(written, otherwise="refuse", max_body=1000)
    coded = [JSON, ("Content-Encoding", "gzip")]
    assert checked.errors("POST", "/x/1", coded, gzip.compress(b'{"name": "a"}')) == []
    assert len(checked.errors("POST", "/x/1", coded, gzip.compress(b'{"name": 1}'))) == 1
    assert checked.errors("POST", "/x/1", coded, b'{"name": 1}') == []
    assert refusing.errors("POST", "/x/1", coded, b'{"name": 1}') == "coding_unsupported"
    assert checked.errors("POST", "/x/1", [JSON, ("Content-Encoding", "x")], b"{}") == []
    assert refusing.errors("POST", "/x/1", coded, gzip.compress(b" " * 10_000_000)) == "body_too_large"


@pytest.mark.parametrize(
    ("target", "fields", "body", "reason"),
    [
        ("/nothing", [JSON], b"{", "operation_unknown"),
        ("/x//1", [JSON], b"{}", "operation_unknown"),
        ("/x/1?_method=PUT", [JSON], b"{}", "operation_unknown"),
        ("/x/1", [JSON, ("X-HTTP-Method-Override", "PUT")], b"{}", "operation_unknown"),
        ("/x/1", [JSON], b"{" + b" " * 2000, "body_too_large"),
        ("/x/1", [JSON, ("Incremental", "?1")], b"{}", "incremental_refused"),
        ("/x/1", [JSON, ("Content-Encoding", "x")], b"{}", "coding_unsupported"),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_what_cannot_be_checked_passes_or_is_refused(
    target: str, fields: Any, body: bytes, reason: str, is_there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    written = document({"requestBody": {"content": {"application/json": {"schema": NAMED}}}})
    passing, refusing = Checked(written, max_body=1000), Checked(written, max_body=1000, otherwise="refuse")
    if reason == "incremental_refused" and is_there:
        assert refusing.errors("POST", target, fields, body) != []  # nothing is held back
        return
    assert passing.errors("POST", target, fields, body, at_once=is_there) == []
    assert refusing.errors("POST", target, fields, body, at_once=is_there) == reason
    assert "requests pass that cannot be checked" in caplog.text


def test_without_a_document_nothing_can_be() -> None:
    assert Checked(None).errors("POST", "/x/1", [JSON], b"{") == []
    assert Checked(None, otherwise="refuse").errors("POST", "/x/1", [JSON], b"{") == "document_unavailable"


def test_a_body_of_two_types_is_refused() -> None:
    assert with_body(NAMED).errors("POST", "/x/1", [JSON, FORM], b'{"name": 1}') == "body_invalid"


def test_no_depth_is_too_much() -> None:
    tree = {"type": "object", "properties": {"c": {"$ref": "#/components/schemas/T"}}}
    either = {"anyOf": [{**tree, "required": ["y"]}, {**tree, "required": ["z"]}, {"type": "integer"}]}
    checked = with_body({"$ref": "#/components/schemas/T"}, schemas={"T": either})
    for depth, expected in (
        (100, "it does not fit the schema"),
        (250, "it is nested too deeply"),
        (50_000, "it is nested too deeply"),
    ):
        body = b'{"y":1,"c":' * depth + b'"x"' + b"}" * depth
        assert checked.errors("POST", "/x/1", [JSON], body) == [{"pointer": "#", "detail": expected}]


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_no_text_keeps_a_pattern_busy(version: str) -> None:
    looking = "(?=.*[0-9])(?=.*[a-z])"  # which takes a quarter of an hour for the last one
    checked = with_body({"type": "string", "pattern": looking}, version)
    assert [len(details(checked, text)) for text in ("a1", "a", "a" * 200, "A" * 1_000_000)] == [0, 1, 1, 0]
    named = {"type": "object", "patternProperties": {looking: {"type": "string"}}, "additionalProperties": False}
    assert details(with_body(named, version), {"A" * 1_000_000: 1, "a1": 1}) == []


@pytest.mark.parametrize("text", ["9" * 5000, "-" + "9" * 5000, "9" * 5000 + ".0"])
def test_an_integer_that_python_makes_none_of_is_for_the_service(text: str) -> None:
    many = {"type": "array", "items": {"type": "integer"}}
    checked = with_parameters(
        {"name": "a", "in": "query", "schema": {"type": "integer"}}, {"name": "b", "in": "query", "schema": many}
    )
    assert checked.errors("GET", f"/x/1?a={text}&b=1&b={text}") == []
    form = with_body({"type": "object", "properties": {"a": {"type": "integer"}, "b": many}}, kind=FORM[1])
    assert form.errors("POST", "/x/1", [FORM], f"a={text}&b={text}".encode()) == []


def test_a_body_of_fastapi_whose_required_is_no_list_checks_nothing() -> None:
    body = {"type": "object", "title": "Body_x", "properties": {"a": {"type": "string"}}, "required": 1.5}
    assert details(with_body(body), {"a": 1}) == []


def test_only_what_no_side_of_a_split_takes_is_refused() -> None:
    state = State()
    for service, schema in (("a", {"type": "integer"}), ("b", {"type": "boolean"})):
        text = document({"requestBody": {"content": {"application/json": {"schema": schema}}}})
        at_once(state.documents.learning((service, None), msgspec.json.encode(text)))
    policy = build_validate(ValidateSettings(), Context("gateway", state))
    assert policy is not None
    route = SimpleNamespace(name="r", encoded_slashes=False, case_insensitive=False)
    sides = [RouteMatch(route, SimpleNamespace(service_name=name, version=None), "/", b"/x/1") for name in "ab"]
    for body, taken in ((b"1", True), (b"true", True), (b'"x"', False)):
        asked = exchange("Content-Type: application/json", f"Content-Length: {len(body)}", method="POST")
        asked.match = RouteMatch(route, sides[0].handling, "/", b"/x/1", sides=tuple(sides))
        asked.content = body
        verdict = policy(asked)
        assert (verdict is None) == taken
        assert taken or (isinstance(verdict, Refusal) and verdict.reason == "request_invalid")


def test_it_is_off_where_nothing_is_to_be_checked() -> None:
    assert build_validate(ValidateSettings(request=False), Context("gateway", State())) is None


def test_a_panic_of_the_library_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicError(BaseException):
        pass

    def panic(value: Any) -> bool:
        raise PanicError

    compiled = Schemas(judged(document({}))).compiled(NAMED, "here")
    assert compiled is not None
    monkeypatch.setattr(compiled, "fits", panic)
    with pytest.raises(UncheckableError):
        compiled.problems({})


@pytest.mark.parametrize(
    "parameter",
    [
        {"name": [], "in": "query"},
        {"name": "a", "in": {}},
        {"name": "a", "in": "query", "schema": {"type": [[], {}]}},
        {"name": "a", "in": "query", "schema": {"enum": {}}},
        {"name": "a", "in": "query", "schema": []},
        {"name": "a", "in": "query", "style": [], "explode": "no"},
        {"name": "a", "in": "query", "content": []},
        {"name": "a", "in": "query", "content": {"application/json": []}},
        {"name": "a", "in": "query", "schema": {"properties": []}, "style": "deepObject"},
    ],
)
def test_a_parameter_that_makes_no_sense_checks_nothing(parameter: Any) -> None:
    assert with_parameters(parameter).errors("GET", "/x/1?a=5&a[b]=1") == []
