"""Rules of `transform` in the file: what is refused, and how levels and variables come together."""

from __future__ import annotations

from typing import Any

import pytest

from config.conftest import Load, Report
from portico.config import dump_config, load_dumped, warnings_for
from portico.policies.transform import describe

FILE = "services: {{a: {{url: 'http://h'}}}}\npolicies: {{transform: {0}}}\n"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{}", "transform: there is no rule: write request or response, a list of rules each"),
        ("{request: {method: PUT}}", "request: expected a list"),
        ("{requests: []}", 'requests: unknown key; did you mean "request"?'),
        ("{request: [{}]}", "request[0]: nothing is changed: write method, path, query, headers, form_to_json or json"),
        ("{response: [{}]}", "response[0]: nothing is changed: write status, headers or json"),
        ("{request: [{when: {}, method: PUT}]}", "when: nothing is asked: leave when out for a rule that always"),
        ("{request: [{when: {method: GET}, method: PUT}]}", 'when.method: unknown key; did you mean "methods"?'),
        ("{request: [{when: {status: 200}, method: PUT}]}", "when.status: unknown key"),
        ("{response: [{query: {}}]}", "query: unknown key; there are headers, json, status, when"),
        ("{request: [{when: {content_type: json}, method: PUT}]}", "expected a media type without parameters"),
        ("{request: [{when: {path: users}, method: PUT}]}", "when.path: expected a path that starts with /"),
        ("{request: [{when: {headers: {A: 5}}, method: PUT}]}", "when.headers.A: expected text, in quotes where it is"),
        (
            "{request: [{when: {path: '~ ^/(?P<route>x)'}, method: PUT}]}",
            "a group cannot be called route: {route} stands for something else",
        ),
        ("{request: [{method: HEAD}]}", "method: no request is made HEAD: its response is unlike those to others"),
        ("{request: [{query: {set: {a: '{consumr}'}}}]}", 'did you mean "{consumer}"?'),
        ("{request: [{query: {set: {a: ''}}}, {query: {set: {a: }}}]}", "request[1].query.set.a: nothing is written"),
        ("{request: [{query: {set: {a: []}}}]}", "a list holds one value or more; remove is for names"),
        ("{request: [{query: {remove: a}}]}", "query.remove: expected a list: put brackets around it"),
        ("{request: [{path: '/u?x'}]}", "path: a path has no ?"),
        ("{request: [{path: '/u/$1'}]}", "what is captured has a name: write ~ ^/(?P<id>[^/]+)$ in when and {id} here"),
        (
            "{request: [{when: {path: '~ ^/(?P<id>x)'}, path: '/{ids}'}]}",
            "there is no value {ids}, but client_ip, consumer, request_id, route, service, id, path, claim.NAME, "
            'env.NAME; {{ and }} are braces; did you mean "{id}"?',
        ),
        ("{request: [{headers: {set: {Host: x}}}]}", "Host is written by the gateway: policies.headers.request may"),
        ("{request: [{headers: {set: {X-Forwarded-For: x}}}]}", "X-Forwarded-For is written by the gateway"),
        ("{request: [{headers: {rename: {A: Content-Length}}}]}", "Content-Length follows from the body that is sent"),
        ("{request: [{headers: {set: {X-A: 1, x_a: 2}}}]}", "X-A and x_a in set are the same field: write it once"),
        ("{request: [{headers: {set: {X-A: é}}}]}", "headers.set.X-A: a field's value has only visible ASCII"),
        ("{response: [{headers: {set: {Date: x}}}]}", "Date says when a response was made: leave it out"),
        ("{request: [{json: {}}]}", "json: nothing is changed: write pick, remove, rename, set, merge or wrap"),
        (
            "{request: [{json: {remove: [user.name]}}]}",
            "a JSON Pointer (RFC 6901), which begins with a slash: /user/name",
        ),
        ("{request: [{json: {remove: [$.user]}}]}", "(RFC 6901), which begins with a slash: /user"),
        ("{request: [{json: {remove: [/a~b]}}]}", "a ~ in a name is written ~0, and a slash ~1"),
        ("{request: [{json: {set: {/a: [{b: '{x}'}]}}}]}", "json.set./a: there is no value {x}"),
        ("{request: [{json: {rename: {/a: /a/b}}}]}", "json: '/a' cannot be moved into itself, to '/a/b'"),
        ("{request: [{json: {rename: {/a: /b~}}}]}", "a ~ in a name is written ~0, and a slash ~1"),
        ("{request: [{json: {merge: 5}}]}", "a merge patch that is none replaces the whole document"),
        ("{request: [{json: {wrap: ''}}]}", "expected the name of the member that is to hold the whole document"),
        ("{response: [{status: 410}]}", "status: expected old statuses with new ones: write {OLD: 410}"),
        ("{response: [{status: {404: 204}}]}", "204 says that there is no body, or a part of one"),
        ("{response: [{status: {6xx: 200}}]}", "expected a status from 200 to 599, or a class of them such as 4xx"),
        ("{max_body: 1GiB, request: [{method: PUT}]}", "max_body: has to be 64MiB or less"),
        ("{otherwise: drop, request: [{method: PUT}]}", "otherwise: expected one of pass, refuse"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    lines = report(FILE.format(written))
    assert any(message in line for line in lines), lines


RULES = """
    services:
      a:
        url: http://h
        policies:
          transform:
            max_body: 5KiB
            request:
              - when: {methods: get, path: /x/}
                query: {set: {a: no, b: 1.10, c: "{env.BRACES}"}}
                json: {set: {/a: 1.10, /b: no, /c: "{env.BRACES}", /d: "no"}}
    routes:
      - {service: a, path: /one}
      - {service: a, path: /two, policies: {transform: {otherwise: refuse}}}
      - {service: a, path: /three, policies: {transform: {response: [{status: {404: 410, 5xx: 503}}]}}}
      - {service: a, path: /four, policies: {transform: {request: [{method: put}]}}}
      - {service: a, path: /five, policies: {transform: false}}
"""


def test_levels_and_variables(load: Load) -> None:
    config = load(RULES, {"BRACES": "{consumer}"})
    for read in (config, load_dumped(dump_config(config))):
        by_path: dict[str, Any] = {route.path: route.policies.get("transform", (None,))[0] for route in read.all_routes}
        first = {
            "when": {"methods": ["GET"], "path": "/x"},
            "query": {"set": {"a": ["no"], "b": ["1.10"], "c": ["{{consumer}}"]}},
            "json": {"set": {"/a": 1.1, "/b": False, "/c": "{{consumer}}", "/d": "no"}},
        }
        assert describe(by_path["/one"]) == {"request": [first]}
        assert by_path["/one"].max_body == 5 << 10
        assert describe(by_path["/two"]) == {"request": [first]}
        assert (by_path["/one"].otherwise, by_path["/two"].otherwise) == ("pass", "refuse")
        assert describe(by_path["/three"]) == {"request": [first], "response": [{"status": {404: 410, "5xx": 503}}]}
        assert describe(by_path["/four"]) == {"request": [{"method": "PUT"}]}
        assert by_path["/five"] is None


def test_rules_for_consumers_that_there_are_not(load: Load) -> None:
    rules = "{request: [{method: PUT}, {when: {consumer: true}, method: PUT}]}"
    (warning,) = [each for each in warnings_for(load(FILE.format(rules))) if "transform" in str(each)]
    assert str(warning).endswith(
        "policies.transform.request[1].when: it asks for the consumer, and without auth there is none: it never holds"
    )
    with_auth = (
        FILE.format(rules) + "routes: [{service: a, path: /b, policies: {auth: {jwt: {require_expiry: true}}}}]\n"
    )
    assert not any("transform" in str(each) for each in warnings_for(load(with_auth, {"SECRET_KEY": "k" * 32})))
