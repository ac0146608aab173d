"""Several documents as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from portico.openapi.document import judged
from portico.openapi.merge import Merged, merge
from portico.openapi.ways import Part, Requirement, Way
from support.openapi_validator import validate

OK = {"200": {"description": "fine"}}
FASTAPI_ERRORS: dict[str, Any] = {
    "HTTPValidationError": {
        "type": "object",
        "properties": {"detail": {"type": "array", "items": {"$ref": "#/components/schemas/ValidationError"}}},
    },
    "ValidationError": {"type": "object", "properties": {"msg": {"type": "string"}}},
}


def answering(*schemas: str) -> dict[str, Any]:
    """Responses with these schemas."""
    return {
        str(200 + number): {
            "description": "",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
        }
        for number, name in enumerate(schemas)
    }


def document(paths: Mapping[str, Any], version: str = "3.1.0", **parts: Any) -> Any:
    info = {"title": "T", "version": "1"}
    return judged({"openapi": version, "info": info, "paths": paths, **parts})


def way(name: str, prefix: str | None = None, **more: Any) -> Way:
    start = f"/api/{name}" if prefix is None else prefix
    return Way(f"{name}-route", name, name, lambda path, method: start + path, **more)


def part(name: str, content: Any, *ways: Way, **about: Any) -> Part:
    return Part(name, name, content, ways or (way(name),), about)


def merged(*parts: Part, schemes: Mapping[str, Any] | None = None) -> Merged:
    found = merge(parts, "Gateway", schemes or {})
    validate(found.content)
    return found


def get(**operation: Any) -> dict[str, Any]:
    return {"get": {"responses": OK, **operation}}


def schemas_at(content: Any, path: str) -> list[str]:
    responses = content["paths"][path]["get"]["responses"].values()
    return [each["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] for each in responses]


def test_paths_are_the_public_ones_and_equal_components_are_there_once() -> None:
    items = {"Item": {"type": "object", "title": "Item", "description": "of orders"}}
    others = {"Item": {"type": "object", "title": "Item", "description": "of users"}}
    found = merged(
        *(
            part(
                name,
                document(
                    {"/health": get(responses=answering("Item", "HTTPValidationError", "Error"))},
                    components={"schemas": {**own, **FASTAPI_ERRORS, "Error": {"type": "string"}, "Unused": {}}},
                ),
            )
            for name, own in (("orders", items), ("users", others), ("again", others))
        )
    )
    content = found.content
    assert list(content["paths"]) == ["/api/orders/health", "/api/users/health", "/api/again/health"]
    assert schemas_at(content, "/api/orders/health") == ["orders_Item", "HTTPValidationError", "Error"]
    assert schemas_at(content, "/api/users/health") == ["users_Item", "HTTPValidationError", "Error"]
    assert schemas_at(content, "/api/again/health") == ["users_Item", "HTTPValidationError", "Error"]
    assert set(content["components"]["schemas"]) == {*FASTAPI_ERRORS, "orders_Item", "users_Item", "Error"}
    named = {name: each.get("title") for name, each in content["components"]["schemas"].items()}
    assert (named["orders_Item"], named["users_Item"]) == ("orders_Item", "users_Item"), "clients are named by them"
    assert found.apart == {"schemas/Item": ["orders_Item", "users_Item"]}
    assert content["info"]["x-portico"]["apart"] == found.apart


def test_what_is_equal_but_refers_to_what_is_not_is_apart() -> None:
    """Two versions of FastAPI: `ValidationError` has grown, `HTTPValidationError` reads the same in both."""
    newer = {**FASTAPI_ERRORS, "ValidationError": {"type": "object", "properties": {"input": {}}}}
    content = merged(
        *(
            part(name, document({"/a": get(responses=answering("HTTPValidationError"))}, components={"schemas": own}))
            for name, own in (("old", FASTAPI_ERRORS), ("new", newer))
        )
    ).content
    assert set(content["components"]["schemas"]) == {
        *("old_HTTPValidationError", "old_ValidationError", "new_HTTPValidationError", "new_ValidationError")
    }
    inner = content["components"]["schemas"]["new_HTTPValidationError"]["properties"]["detail"]["items"]
    assert inner == {"$ref": "#/components/schemas/new_ValidationError"}


def test_schemas_that_refer_to_themselves() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Tree"}}}
    same = [
        part(name, document({"/a": get(responses=answering("Tree"))}, components={"schemas": {"Tree": tree}}))
        for name in ("a", "b")
    ]
    assert set(merged(*same).content["components"]["schemas"]) == {"Tree"}
    other = document(
        {"/a": get(responses=answering("Tree"))}, components={"schemas": {"Tree": {**tree, "title": "other"}}}
    )
    found = merged(*same, part("c", other)).content["components"]["schemas"]
    assert set(found) == {"a_Tree", "c_Tree"}
    assert found["c_Tree"]["properties"]["next"] == {"$ref": "#/components/schemas/c_Tree"}


def test_all_kinds_of_components_are_told_apart() -> None:
    def own(title: str) -> Part:
        components = {
            "schemas": {"S": {"title": title}},
            "parameters": {"P": {"name": "p", "in": "query", "schema": {"$ref": "#/components/schemas/S"}}},
            "responses": {
                "R": {
                    "description": title,
                    "headers": {"H": {"$ref": "#/components/headers/H"}},
                    "links": {"L": {"$ref": "#/components/links/L"}},
                    "content": {"text/plain": {"examples": {"E": {"$ref": "#/components/examples/E"}}}},
                }
            },
            "headers": {"H": {"schema": {"$ref": "#/components/schemas/S"}}},
            "examples": {"E": {"value": {"$ref": title}}},
            "links": {"L": {"operationId": "op", "description": title}},
            "requestBodies": {"B": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S"}}}}},
            "callbacks": {
                "C": {"{$request.query.url}": {"post": {"requestBody": {"$ref": "#/components/requestBodies/B"}}}}
            },
            "securitySchemes": {"K": {"type": "apiKey", "in": "header", "name": title}},
        }
        operation = {
            "operationId": "op",
            "parameters": [{"$ref": "#/components/parameters/P"}],
            "requestBody": {"$ref": "#/components/requestBodies/B"},
            "responses": {"200": {"$ref": "#/components/responses/R"}},
            "callbacks": {"C": {"$ref": "#/components/callbacks/C"}},
            "security": [{"K": []}],
        }
        return part(title, document({"/a": {"post": operation}}, components=components))

    content = merged(own("one"), own("two")).content
    for field, known in content["components"].items():
        assert len(known) == 2, field
        assert {name.partition("_")[0] for name in known} == {"one", "two"}
    operation = content["paths"]["/api/two/a"]["post"]
    assert operation["security"] == [{"two_K": []}]
    assert operation["callbacks"] == {"C": {"$ref": "#/components/callbacks/two_C"}}
    assert content["components"]["examples"]["two_E"] == {"value": {"$ref": "two"}}, "an example is data"
    assert "#/components/schemas/one_" not in str(content["components"]["responses"]["two_R"])
    assert content["components"]["links"]["two_L"]["operationId"] == operation["operationId"] == "two_op"


def test_discriminators_still_mean_the_same_schemas() -> None:
    def own(title: str) -> Part:
        schemas = {
            "Pet": {"oneOf": [{"$ref": "#/components/schemas/Cat"}], "discriminator": {"propertyName": "kind"}},
            "Cat": {"title": title},
            "Base": {
                "properties": {"kind": {"type": "string"}, "own": {"title": title}},
                "discriminator": {"propertyName": "kind", "mapping": {"dog": "Dog"}},
            },
            "Dog": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"title": title}]},
            "Cow": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"title": title}]},
        }
        return part(title, document({"/a": get(responses=answering("Pet", "Base"))}, components={"schemas": schemas}))

    schemas = merged(own("x"), own("y")).content["components"]["schemas"]
    assert schemas["y_Pet"]["discriminator"]["mapping"] == {"Cat": "#/components/schemas/y_Cat"}
    assert schemas["y_Base"]["discriminator"]["mapping"] == {
        "dog": "#/components/schemas/y_Dog",
        "Cow": "#/components/schemas/y_Cow",
    }


def test_references_to_other_places_get_components_of_their_own() -> None:
    shared = {
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
        "get": {"responses": OK, "parameters": [{"name": "q", "in": "query", "schema": {"type": "string"}}]},
    }
    content = merged(
        part(
            "a",
            document(
                {
                    "/x/{id}": shared,
                    "/y/{id}": {"$ref": "#/paths/~1x~1{id}"},
                    "/z": get(
                        parameters=[
                            {
                                "name": "q",
                                "in": "query",
                                "schema": {"$ref": "#/paths/~1x~1{id}/get/parameters/0/schema"},
                            }
                        ]
                    ),
                }
            ),
        )
    ).content
    assert [each["name"] for each in content["paths"]["/api/a/y/{id}"]["get"]["parameters"]] == ["q", "id"]
    reference = content["paths"]["/api/a/z"]["get"]["parameters"][0]["schema"]["$ref"]
    assert content["components"]["schemas"][reference.rpartition("/")[2]] == {"type": "string"}


def test_ids_and_tags_are_those_of_one_service() -> None:
    paths = {
        "/a": get(operationId="read", tags=["things"]),
        "/b": get(operationId="other", tags=["One"]),
        "/c": get(),
    }
    one = document(paths, tags=[{"name": "things", "description": "about things"}, {"name": "unused"}])
    content = merged(
        part("one", one, way("one"), Way("v1", "one_v1", "one v1", lambda path, _: f"/v1/one{path}", deprecated=True)),
        part("two", document(paths)),
    ).content
    ids = [item["get"].get("operationId") for item in content["paths"].values()]
    assert ids == ["one_read", "one_other", None, "one_v1_read", "one_v1_other", None, "two_read", "two_other", None]
    tags = [item["get"]["tags"] for item in content["paths"].values()]
    assert tags[:5] == [["one: things"], ["one"], ["one"], ["one v1: things"], ["one v1"]]
    assert content["tags"][:2] == [
        {"name": "one: things", "description": "about things"},
        {"name": "one", "description": "T"},
    ]
    deprecated = [path for path, item in content["paths"].items() if item["get"].get("deprecated")]
    assert deprecated == ["/v1/one/a", "/v1/one/b", "/v1/one/c"]


def test_a_service_that_has_an_id_twice() -> None:
    """As FastAPI warns of, and allows."""
    links = {"L": {"operationId": "same"}, "M": {"operationId": "other"}, "N": {"operationRef": "#/paths/~1a/get"}}
    responses = {"200": {"description": "", "links": links}}
    content = merged(
        part("a", document({"/a": get(operationId="same", responses=responses), "/b": get(operationId="same")}))
    )
    operations = [item["get"] for item in content.content["paths"].values()]
    assert [each["operationId"] for each in operations] == ["a_same", "a_same_2"]
    assert operations[0]["responses"]["200"]["links"] == {"L": {"operationId": "a_same"}}


def test_what_is_there_already_is_left_out_aloud() -> None:
    found = merged(
        part("a", document({"/x": get(summary="a's"), "/{id}": get()}), way("a", "")),
        part("b", document({"/x": get(summary="b's"), "/{name}": get(summary="b's"), "/y": get()}), way("b", "")),
        part("c", document({"/x": get(summary="a's"), "/y": {"post": {"responses": OK}}}), way("c", "")),
    )
    assert found.content["paths"]["/x"]["get"]["summary"] == "a's"
    assert set(found.content["paths"]["/y"]) == {"get", "post"}
    assert found.left_out == (
        "GET /x of the route b-route: the route a-route has it",
        "GET /{id} of the route b-route: the route a-route has it",
    )
    assert found.content["info"]["x-portico"]["left_out"] == list(found.left_out)


def test_a_path_has_one_spelling() -> None:
    """FastAPI lets two operations of one path name its parameters differently; a document does not."""
    named: list[Any] = [{"name": name, "in": "path", "required": True, "schema": {}} for name in ("id", "user", "q")]
    components = {"parameters": {"U": named[1]}}
    paths = {
        "/u/{id}/x": {"get": {"responses": OK, "parameters": named[:1]}},
        "/u/{user}/x": {"put": {"responses": OK, "parameters": [{"$ref": "#/components/parameters/U"}]}},
    }
    content = merged(part("a", document(paths, components=components))).content
    assert list(content["paths"]) == ["/api/a/u/{id}/x"]
    item = content["paths"]["/api/a/u/{id}/x"]
    assert [[each["name"] for each in item[method]["parameters"]] for method in ("get", "put")] == [["id"], ["id"]]
    assert "components" not in content


@pytest.mark.parametrize(
    ("gateway", "own", "needed"),
    [
        ([], None, None),
        ([], [{"service": ["a"]}], [{"service": ["a"]}]),
        ([{"gateway_bearer": ["s"]}], None, [{"gateway_bearer": ["s"]}]),
        ([{"gateway_bearer": []}], [{"service": ["a"]}], [{"gateway_bearer": []}]),
        ([{"gateway_bearer": []}], [{"key": []}], [{"gateway_bearer": [], "key": []}]),
        ([{"gateway_key": []}], [{"service": []}], [{"gateway_key": [], "service": []}]),
        ([{"gateway_bearer": []}, {}], [], [{"gateway_bearer": []}, {}]),
        ([{"gateway_bearer": []}], [{"unknown": []}], [{"gateway_bearer": []}]),
    ],
)
def test_what_a_request_needs_is_what_both_ask_for(
    gateway: list[Requirement], own: list[Any] | None, needed: list[Any] | None
) -> None:
    schemes = {
        "gateway_bearer": {"type": "http", "scheme": "bearer"},
        "gateway_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    services = {
        "service": {"type": "oauth2", "flows": {"password": {"tokenUrl": "token", "scopes": {}}}},
        "key": {"type": "apiKey", "in": "query", "name": "k"},
    }
    operation = {"responses": OK} if own is None else {"responses": OK, "security": own}
    one = part(
        "a",
        document({"/x": {"get": operation}}, components={"securitySchemes": services}),
        way("a", security=tuple(gateway)),
    )
    content = merged(one, schemes=schemes).content
    assert content["paths"]["/api/a/x"]["get"].get("security") == needed
    known = content.get("components", {}).get("securitySchemes", {})
    assert set(known) == {name for each in needed or () for name in each}
    if "service" in known:
        assert known["service"]["flows"]["password"]["tokenUrl"] == "./api/a/token"


def test_hosts_and_conditions_of_a_way() -> None:
    asked = {"name": "X-Beta", "in": "header", "required": True, "schema": {"const": "1"}}
    one = Way("r", "a", "a", lambda path, _: path, servers=({"url": "//a.example"},), parameters=(asked,))
    two = Way("s", "a", "a", lambda path, _: path, servers=({"url": "//b.example"},))
    found = merged(part("a", document({"/x": get(servers=[{"url": "http://10.0.0.1"}])}), one, two))
    operation = found.content["paths"]["/x"]["get"]
    assert operation["servers"] == [{"url": "//a.example"}, {"url": "//b.example"}]
    assert operation["parameters"] == [asked]
    assert found.left_out == ()


def test_what_only_the_gateway_writes_is_no_parameter() -> None:
    names = ("x-consumer-username", "X_Consumer_Scopes", "X-Request-ID", "x-consumer")
    parameters = [{"name": name, "in": "header", "schema": {}} for name in names]
    parameters.append({"name": "x-consumer-id", "in": "query", "schema": {}})
    content = merged(part("a", document({"/x": get(parameters=parameters)}), way("a"))).content
    kept = [each["name"] for each in content["paths"]["/api/a/x"]["get"]["parameters"]]
    assert kept == ["X-Request-ID", "x-consumer", "x-consumer-id"]


def test_webhooks_have_names_of_their_own() -> None:
    def own(title: str) -> Part:
        hooks = {"paid": {"post": {"operationId": "paid", "summary": title, "responses": OK}}}
        return part(title, document({"/a": get()}, webhooks=hooks))

    content = merged(own("a"), own("b")).content
    assert set(content["webhooks"]) == {"paid", "b_paid"}
    assert "operationId" not in content["webhooks"]["paid"]["post"]


def test_services_without_a_document_are_named_with_why() -> None:
    found = merged(
        part("gone", None, state="missing"),
        part("away", document({"/a": get()}), state="last known", title="Away\nAPI", version="2"),
        part("hidden", document({"/a": get()}), Way("h", "h", "h", lambda path, method: None), state="current"),
    )
    assert found.content["info"]["description"].splitlines() == [
        "- **gone** (no document is known yet)",
        "- **away**: Away API 2 (last known: it does not answer at the moment)",
        "- **hidden**",
    ]
    assert list(found.content["paths"]) == ["/api/away/a"]


def test_one_that_cannot_be_merged_takes_no_other_with_it() -> None:
    broken = document({"/a": {"get": {"responses": OK, "tags": 5, "parameters": [{"in": []}]}}})
    found = merge([part("broken", broken), part("fine", document({"/a": get()}))], "Gateway", {})
    assert list(found.content["paths"]) == ["/api/fine/a"]
    assert found.failed["broken"].startswith("its document cannot be merged: ")
    validate(found.content)


def test_nothing_at_all_is_a_document() -> None:
    assert merged().content["paths"] == {}
