"""Header fields in the file: how levels are merged, what is refused, and where variables are read."""

from __future__ import annotations

from typing import Any

import pytest

from config.conftest import Load, Report
from portico.config import Level, Policies, dump_config, load_dumped, merge_policies


def merged(*written: Any) -> Any:
    """The settings that levels of these `headers` make, the gateway's first."""
    scopes = ("gateway", "service:a", "route:r")
    said = [Policies.model_validate({"headers": one}) for one in written]
    levels = [Level(scope, policies, (scope,)) for scope, policies in zip(scopes, said, strict=False)]
    return merge_policies(*levels)["headers"][0]


def edits(direction: str, *written: Any) -> dict[str, Any]:
    settings = getattr(merged(*({direction: one} for one in written)), direction)
    return {key: value for key, value in settings.model_dump().items() if value}


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize(
    ("levels", "result"),
    [
        ([{"set": {"A": "1"}}, {"set": {"B": "2"}}, {}], {"set": {"A": ["1"], "B": ["2"]}}),
        ([{"set": {"X-A": "1"}}, {"set": {"x-a": "2"}}, {"set": {"X-A": "3"}}], {"set": {"X-A": ["3"]}}),
        ([{"set": {"X-A": "1"}}, {"set": {"x_a": "2"}}], {"set": {"x_a": ["2"]}}),
        ([{"set": {"A": "1"}}, {"set": {"a": False}}], {"set": {"a": False}}),
        ([{"add": {"A": ["1", "2"]}}, {"add": {"B": "3"}}], {"add": {"A": ["1", "2"], "B": ["3"]}}),
        ([{"set": {"A": "1"}}, {"add": {"A": "2"}}], {"add": {"A": ["2"]}}),
        ([{"set": {"A": "1"}}, {"remove": ["a"]}], {"remove": ["a"]}),
        ([{"remove": ["A", "B"]}, {"remove": ["C"]}], {"remove": ["C", "A", "B"]}),
        ([{"remove": ["A", "B"]}, {"set": {"a": "1"}}], {"set": {"a": ["1"]}, "remove": ["B"]}),
        ([{"remove": ["A", "B"]}, {"set": {"a": False}}], {"set": {"a": False}, "remove": ["B"]}),
        ([{"set": {"A": "1"}, "add": {"A": "2"}, "remove": ["A"]}, {}], None),
    ],
)
def test_what_a_level_says_of_a_field_replaces_what_those_above_say(
    direction: str, levels: list[Any], result: dict[str, Any] | None
) -> None:
    expected = result or {"set": {"A": ["1"]}, "add": {"A": ["2"]}, "remove": ["A"]}
    found = edits(direction, *levels)
    assert found == {key: value for key, value in expected.items() if value}


def test_directions_do_not_touch_each_other() -> None:
    settings = merged({"request": {"set": {"A": "1"}}, "security": True}, {"response": {"remove": ["A"]}})
    assert settings.request.set == {"A": ["1"]}
    assert settings.response.remove == ["A"]
    assert settings.security
    assert merged({"security": True, "request": {"set": {"A": "1"}}}, True).request.set == {"A": ["1"]}
    assert not merged({"security": True}, {"security": False}).security


VALUES = """
    services: {a: {url: "http://h"}}
    policies:
      headers:
        response:
          set:
            X-No: no
            X-Off: off
            X-Version: 1.10
            X-Octal: 007
            X-True: true
            X-Word: "false"
            X-Empty: ${NO:-}
            X-Quoted: "{env.BRACES}"
            X-Both: ${A}-{env.A}-{env.NO:-none}-{{env.A}}
            X-Untouched: false
          add: {X-List: [1, no, "{env.A}"]}
        security: yes
"""


def test_values_are_text_as_it_is_written(load: Load) -> None:
    config = load(VALUES, {"A": "one", "BRACES": "{client_ip}"})
    settings = config.all_routes[0].policies["headers"][0]
    assert settings.response.set == {
        "X-No": ["no"],
        "X-Off": ["off"],
        "X-Version": ["1.10"],
        "X-Octal": ["007"],
        "X-True": ["true"],
        "X-Word": ["false"],
        "X-Empty": [""],
        "X-Quoted": ["{{client_ip}}"],
        "X-Both": ["one-one-none-{{env.A}}"],
        "X-Untouched": False,
    }
    assert settings.response.add == {"X-List": ["1", "no", "one"]}
    assert settings.security
    assert load_dumped(dump_config(config)).all_routes[0].policies["headers"][0] == settings


def test_variables_are_read_in_values_of_fields_alone(report: Report) -> None:
    lines = report("services: {a: {url: 'http://{env.HOST}', policies: {headers: {security: '{env.YES}'}}}}", {})
    assert all("environment variable" not in line for line in lines)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("request: {set: {X-A: '{clientip}'}}", "1:43: policies.headers.request.set.X-A: there is no value {clientip}"),
        ("request: {set: {X-A: '{clientip}'}}", 'did you mean "{client_ip}"?'),
        (
            "request: {set: {X-A: {client_ip}}}",
            "1:43: policies.headers.request.set.X-A: expected text; put it into quotes",
        ),
        ("request: {set: {X-A: '{env.NO}'}}", "X-A: the environment variable NO is not set; set it or write {env.NO:-"),
        ("request: {set: {X-A: }}", "set.X-A: nothing is written after the colon: write a value, or false"),
        ("request: {add: {X-A: []}}", "add.X-A: a list holds one value or more"),
        ("request: {add: {X-A: [a, false]}}", "add.X-A: a list holds one value or more"),
        ('request: {set: {X-A: "a\\r\\nX-B: c"}}', "set.X-A: a field's value has only visible ASCII"),
        ('request: {set: {X-A: "a\\0"}}', "set.X-A: a field's value has only visible ASCII"),
        ('request: {set: {"X-A: b\\r\\nX-C": d}}', "not a name of a header field"),
        ('request: {remove: ["X-A "]}', "remove[0]: not a name of a header field"),
        ("request: {remove: ['X-*']}", "remove[0]: a header field is named in full"),
        ("request: {sett: {}}", '1:32: policies.headers.request.sett: unknown key; did you mean "set"?'),
        ("request: {set: {X-A: a, x-a: b}}", "request: X-A and x-a in set are the same field"),
        ("request: {set: {X-A: a, X_A: b}}", "request: X-A and X_A in set are the same field"),
        ("request: {remove: [X-A, x-a]}", "request: X-A and x-a in remove are the same field"),
        ("request: {set: {Connection: close}}", "Connection belongs to one connection"),
        ("response: {remove: [Transfer_Encoding]}", "Transfer_Encoding follows from the body"),
        ("response: {add: {content-length: 1}}", "content-length follows from the body"),
        ("request: {add: {Host: a}}", "Host is in every request once; write set: {Host: NAME}, or preserve_host"),
        ("request: {remove: [Host]}", "preserve_host"),
        ("request: {set: {Host: '{claim.host}'}}", "Host has to be one name"),
        ("request: {set: {Host: [a, b]}}", "Host has to be one name"),
        ("request: {set: {Host: 'a/b'}}", "Host has to be one name"),
        ("request: {set: {Host: ''}}", "Host has to be one name"),
        ("request: {set: {X-Request-ID: a}}", "write {request_id} under a name of your own"),
        ("request: {add: {X_Consumer_Anything: a}}", "says who the gateway has identified; only remove takes it"),
        ("request: {set: {traceparent: a}}", "only remove takes it"),
        ("response: {set: {Access-Control-Allow-Origin: '*'}}", "is written by policies.cors"),
        ("response: {set: {RateLimit: a}}", "is written by policies.rate_limit"),
        ("response: {remove: [Date]}", "is in every response"),
        ("response: {set: {Sec-WebSocket-Accept: a}}", "is part of how a WebSocket is opened"),
        ("security: {hsts: false}", "policies.headers.security: expected true or false"),
    ],
)
def test_what_is_refused(report: Report, written: str, message: str) -> None:
    lines = report(f"policies: {{headers: {{{written}}}}}\nservices: {{a: {{url: 'http://h'}}}}")
    assert len(lines) == 1
    assert lines[0].startswith("portico.yaml:1:")
    assert message in lines[0]


def test_what_is_wrong_is_reported_once_where_it_stands(report: Report) -> None:
    lines = report(
        """
        policies: {headers: {response: {set: {X-A: "{a}"}, remove: [Date, Server]}}}
        services:
          a: {url: "http://h", policies: {headers: {response: {remove: [Connection]}}}}
        routes:
          - {service: a, path: /r, policies: {headers: {response: {remove: [X-A, "b c"], set: {X-B: "}"}}}}}
        """
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["portico.yaml:2:44", "policies.headers.response.set.X-A"],
        ["portico.yaml:2:61", "policies.headers.response.remove[0]"],
        ["portico.yaml:4:65", "services.a.policies.headers.response.remove[0]"],
        ["portico.yaml:6:74", "routes[0].policies.headers.response.remove[1]"],
        ["portico.yaml:6:93", "routes[0].policies.headers.response.set.X-B"],
    ]


def test_no_secret_is_in_a_message(report: Report) -> None:
    lines = report(
        "policies: {headers: {request: {set: {X-A: 'Bearer ${TOKEN}'}}}}\nservices: {a: {url: 'http://h'}}",
        {"TOKEN": "s3cret{w0rd s3cret}s3cret"},
    )
    assert len(lines) == 1
    assert "s3cret" not in lines[0]
    assert "from the environment: TOKEN" in lines[0]


@pytest.mark.parametrize("allowed", ["X-Forwarded-For", "Via", "X-Consumer-Username", "traceparent", "X-Request-ID"])
def test_what_the_gateway_says_of_the_client_may_be_kept_from_a_service(load: Load, allowed: str) -> None:
    config = load(f"policies: {{headers: {{request: {{remove: [{allowed}]}}}}}}\nservices: {{a: {{url: 'http://h'}}}}")
    assert config.all_routes[0].policies["headers"][0].request.remove == [allowed]


@pytest.mark.parametrize(
    "policies",
    [
        'headers: {request: {set: {x_role: "{claim.role}"}}}',
        "headers: {request: {set: {X-Role: admin}}}",
        "auth: {forward: {url: http://auth/check, pass_headers: [x-role]}}",
        'headers: {request: {add: {X-Role: "{consumer:-nobody}"}}}',
        'transform: {request: [{when: {methods: [GET]}, headers: {set: {X-Role: "{claim.role}"}}}]}',
    ],
)
def test_what_is_said_of_consumers_cannot_come_as_a_trailer(report: Report, policies: str) -> None:
    (line,) = report(f"services: {{a: {{url: http://h, trailers: [X-Sum, X-Role], policies: {{{policies}}}}}}}")
    assert line.endswith("X-Role is set by the route's policies, and a client could send it too: leave it out")
