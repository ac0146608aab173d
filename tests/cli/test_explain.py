"""What `portico explain` says, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from portico.cli.main import app
from support.authority import Authority

CONFIG = """\
gateway:
  listen:
    - {name: plain, port: 8000, routes: ["rest*", catalog, legacy]}
    - {name: tls, port: 8443, tls: {certificate: leaf.pem, key: leaf.key, redirect_from: 8080}}
services:
  shop: {url: http://127.0.0.1:9001, default_routes: false}
  users: {url: http://127.0.0.1:9002, version_by: [header], versions: {v1: {}, v2: {url: http://127.0.0.1:9003}}}
routes:
  - {name: orders, service: shop, path: /orders, hosts: [shop.example], methods: [POST]}
  - {name: rest, service: shop, path: /rest}
  - {name: rest-admin, service: shop, path: /rest/admin, policies: {ip_filter: {allow: [10.0.0.0/8]}}}
  - {name: rest-exact, service: shop, path: "= /rest/admin/x"}
  - {name: catalog, service: shop, path: "~ ^/catalog/[0-9]+$", headers: {X-Kind: "~ ^b"}, query: {lang: de}}
  - {name: legacy, path: /old, redirect: {to: "https://new.example{path}"}}
  - name: canary
    service: shop
    path: /canary
    canary: {to: users, version: v2, steps: [5, 50], abort_if: {errors: 1%}}
  - name: body
    service: shop
    path: /body
    policies: {transform: {request: [{json: {set: {/a: 1}}}]}}
  - name: mix
    path: /mix
    sticky: {header: X-User}
    split: [{service: shop, weight: 95}, {service: users, version: v2, weight: 5, headers: {X-Canary: "1"}}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("explain")
    Authority(own).leaf("leaf", "shop.example")
    (own / "portico.yaml").write_text(CONFIG)
    return own


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def portico(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


def lines(*arguments: str, code: int = 0) -> list[str]:
    """What is printed, less the other routes and the notes."""
    done = portico(*arguments, "--others", "2")
    assert done.exit_code == code, done.output
    paragraphs = [part.splitlines() for part in done.stdout.split("\n\n")]
    return [line for part in paragraphs if not part[0].startswith(("others", "note:")) for line in part]


def data(*arguments: str) -> Any:
    done = portico(*arguments, "--format", "json")
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


# ---- a near miss: each of the conditions of one route


@pytest.mark.parametrize("host", ["shop.example", "shop.example.", "SHOP.example:8443"])
def test_the_route_that_takes_it(host: str) -> None:
    found = lines("POST", "https://shop.example/orders/7?a=1", "-H", f"Host: {host}")
    assert found[:7] == [
        f"POST /orders/7?a=1 of {host} at tls: goes to shop",
        "route         orders /orders (portico.yaml:9)",
        "  listener    tls",
        "  path        /orders  takes  /orders/7",
        "  host        shop.example",
        "  method      POST",
        "path          the service sees /7?a=1",
    ]
    assert "    POST /7?a=1 HTTP/1.1" in found


@pytest.mark.parametrize(
    ("arguments", "summary", "condition"),
    [
        (("GET", "https://shop.example/orders"), "405 Method Not Allowed", "method      the method is GET, not POST"),
        (("POST", "https://shop.test/orders"), "404 Not Found", "host        the host is shop.test, not shop.example"),
        (
            ("POST", "http://shop.example:8000/orders"),
            "404 Not Found",
            "listener    it is served at tls, not at plain",
        ),
        (
            ("POST", "https://shop.example/order"),
            "404 Not Found",
            'path        the path ends where "s" is expected, at letter 7',
        ),
    ],
)
def test_a_near_miss(arguments: tuple[str, ...], summary: str, condition: str) -> None:
    """It names the route that was meant, and the one condition that fails."""
    found = lines(*arguments, code=1)
    assert f": refused with {summary} (" in found[0]
    assert found[1:3] == ["nearest       orders /orders (portico.yaml:9)", f"  {condition}"]
    said = data(*arguments)
    assert (said["route"], said["outcome"], said["nearest"]["name"]) == (None, "refused", "orders")
    assert said["nearest"]["condition"] == condition.split()[0]


def test_the_letter_that_differs() -> None:
    found = lines("GET", "/rezt", code=1)
    assert found[1:5] == [
        "nearest       rest /rest (portico.yaml:10)",
        '  path        letter 4 is "z" where "s" is expected',
        "              /rezt",
        "                 ^",
    ]
    assert data("GET", "/rezt")["nearest"]["at"] == 3
    assert '  path        letter 2 is "R" where "r" is expected; case counts' in lines("GET", "/Rest", code=1)
    assert '  path        letter 6 is "s" where "/" or the end is expected' in lines("GET", "/rests", code=1)


def test_a_pattern_says_how_far_it_matches() -> None:
    found = lines("GET", "/catalog/12x?lang=de", "-H", "X-Kind: big", code=1)
    assert found[1:5] == [
        "nearest       catalog ~ ^/catalog/[0-9]+$ (portico.yaml:13)",
        '  path        letter 12 is "x" where something else is expected',
        "              /catalog/12x",
        "                         ^",
    ]


def test_a_405_says_what_is_allowed() -> None:
    found = lines("GET", "https://shop.example/orders", code=1)
    assert found[3:5] == ["answer        405 Method Not Allowed: GET is not offered here", "              Allow: POST"]


# ---- who comes first


def test_what_comes_before_by_precedence() -> None:
    said = data("GET", "https://shop.example/rest/admin/x")
    assert said["route"]["name"] == "rest-exact"
    assert [(each["name"], each["condition"], each["says"]) for each in said["others"][:2]] == [
        ("rest-admin", "precedence", "rest-exact takes it: an exact path comes first"),
        ("rest", "precedence", "rest-exact takes it: an exact path comes first"),
    ]
    said = data("GET", "https://shop.example/rest/admin/y")
    assert (said["others"][0]["name"], said["others"][0]["says"]) == (
        "rest",
        "rest-admin takes it: the longer prefix comes first",
    )


def test_a_path_that_may_be_read_as_another_one() -> None:
    found = lines("GET", "https://shop.example/rest//admin/y", code=1)
    assert found[1:3] == [
        "in doubt      rest /rest (portico.yaml:10)  takes the path as it was sent",
        "              rest-admin /rest/admin (portico.yaml:11)  takes the path as a service may read it: "
        "/rest/admin/y",
    ]
    assert found[0].endswith("refused with 400 Bad Request (malformed_request)")


def test_fields_and_parameters() -> None:
    url = "http://a.example:8000/catalog/12"
    cases = [
        (("GET", url), "header", "there is no X-Kind: ~ ^b"),
        (("GET", url, "-H", "X-Kind: a"), "header", "X-Kind is a, not ~ ^b"),
        (("GET", url, "-H", "X-Kind: b"), "query", "the query has no lang=de"),
        (("GET", url + "?lang=en", "-H", "X-Kind: b"), "query", "the query has lang=en, not lang=de"),
    ]
    for arguments, condition, says in cases:
        said = data(*arguments)["nearest"]
        assert (said["name"], said["condition"], said["says"]) == ("catalog", condition, says)
    doubled = data("GET", url, "-H", "X-Kind: b", "-H", "X-Kind: a")
    assert doubled["answer"]["status"] == 404  # whatever its service reads, the query is another one
    assert doubled["nearest"]["condition"] == "query"
    doubled = data("GET", url + "?lang=de", "-H", "X-Kind: b", "-H", "X-Kind: a")
    assert doubled["answer"]["status"] == 400
    assert doubled["others"][0]["says"] == "x-kind comes more than once, and a route depends on it"
    assert data("GET", url + "?lang=de", "-H", "X-Kind: b")["route"]["name"] == "catalog"


# ---- what a route leads to


def test_versions() -> None:
    assert "version       v1: the request names none in API-Version or Accept-Version: it is the default" in lines(
        "GET", "https://shop.example/api/users/7"
    )
    asked = ("GET", "https://shop.example/api/users/7", "-H", "API-Version: v2")
    assert "version       v2: the request names it in API-Version or Accept-Version" in lines(*asked)
    refused = data(*asked[:2], "-H", "API-Version: v3")
    assert (refused["route"]["version"]["name"], refused["answer"]["reason"]) == (None, "version_unknown")


def test_splits() -> None:
    url = "https://shop.example/mix/x"
    shares = "(shop 95 %, users@v2 5 %)"
    cases = [
        ((), f"split         any: each request is shared out anew, by weight {shares}"),
        (
            ("-H", "X-Canary: 1"),
            f"split         users@v2: it has what users@v2 asks for: the field X-Canary {shares}",
        ),
    ]
    for fields, line in cases:
        assert line in lines("GET", url, *fields)
    canary = ("GET", "https://shop.example/canary")
    assert "split         shop: it has all of the weight (shop 100 %, users@v2 0 %)" in lines(*canary)
    split = data("GET", url, "-H", "X-User: ada")["route"]["split"]
    assert split["why"] == "its X-User stays on one side"
    assert split["side"] == data("GET", url, "-H", "X-User: ada")["route"]["split"]["side"] is not None


def test_what_the_gateway_answers_itself() -> None:
    assert lines("GET", "http://new:8000/old/x")[0] == (
        "GET /old/x of new:8000 at plain: the gateway answers 307 Temporary Redirect"
    )
    assert "              Location: https://new.example/x" in lines("GET", "/old/x")
    assert lines("GET", "https://shop.example/health")[0].endswith(": the gateway answers itself")
    endpoint = data("GET", "https://shop.example/health")
    assert (endpoint["outcome"], endpoint["route"]["kind"], endpoint["head"]) == ("answered", "endpoint", None)
    assert lines("GET", "/livez")[0].endswith(": the gateway answers 200 OK")
    assert data("GET", "/helth")["nearest"]["name"] == "/health"


def test_the_port_that_redirects() -> None:
    found = lines("GET", "http://shop.example:8080/orders")
    assert found[0] == "GET /orders of shop.example:8080 at tls: the gateway answers 308 Permanent Redirect"
    assert "              Location: https://shop.example:8443/orders" in found


def test_a_browser_at_a_bare_prefix_is_redirected() -> None:
    assert data("GET", "/rest", "-H", "Accept: text/html")["answer"]["headers"][0] == ["Location", "./rest/"]
    assert data("GET", "/rest")["path"] == {"client": "/rest", "service": "/", "prefix": "/rest"}


def test_what_depends_on_a_body_that_is_not_there() -> None:
    asked = ("POST", "https://shop.example/body", "-H", "Content-Type: application/json")
    found = lines(*asked, "-H", "Content-Length: 9")
    assert found[0] == "POST /body of shop.example at tls: it depends on what is marked with ?"
    assert "policies      ? transform: it needs the body, which is not known  (portico.yaml:22)" in found
    assert data(*asked, "-H", "Content-Length: 9")["outcome"] == "unknown"
    assert data(*asked, "--data", '{"b": 2}')["outcome"] == "forwarded"


# ---- how it is asked


def test_the_listener() -> None:
    assert data("POST", "/orders", "-H", "Host: shop.example", "--listener", "tls")["route"]["name"] == "orders"
    assert data("POST", "/orders", "-H", "Host: shop.example", "--listener", "8443")["route"]["name"] == "orders"
    assert portico("GET", "/", "--listener", "other").exit_code == 2


def test_the_client() -> None:
    url = "https://shop.example/rest/admin/y"
    assert data("GET", url)["answer"]["reason"] == "address_refused"
    assert data("GET", url, "--client-ip", "10.1.2.3")["outcome"] == "forwarded"
    assert portico("GET", url, "--client-ip", "ten").exit_code == 2


def test_the_body(folder: Path) -> None:
    (folder / "body.json").write_text('{"a": 1}')
    said = data("POST", "/rest", "--data", "@body.json")
    assert said["request"]["body_bytes"] == 8
    assert "\r\nContent-Length: 8\r\n" in said["head"]
    assert portico("POST", "/rest", "--data", "@nowhere").exit_code == 2


def test_how_many_others_are_named() -> None:
    said = data("GET", "/rezt", "--others", "1")
    assert len(said["others"]) == 1
    assert sum(said["more"].values()) == 9
    assert "\nothers        and 9 more: 4 by path, 5 by listener\n" in portico("GET", "/rezt", "--others", "1").stdout


def test_the_nearest_is_always_named() -> None:
    said = data("GET", "/rezt", "--others", "0")
    assert (said["nearest"]["name"], sum(said["more"].values())) == ("rest", 9)


def test_it_says_what_it_goes_by() -> None:
    assert portico("GET", "/rest").stdout.endswith(
        "note: this is by the file: every instance is up, and nothing has been counted or cached yet\n"
    )
    unreached = portico("GET", "/rest", "--admin", "127.0.0.1:1")
    assert (unreached.exit_code, unreached.stdout) == (1, "")
    assert unreached.stderr.startswith("portico: no gateway answers at 127.0.0.1:1")


@pytest.mark.parametrize(
    ("method", "url"),
    [("", "/x"), ("GET", ""), ("/x", "GET"), ("GET", "shop.example/x"), ("GET", "ftp://x/y"), ("GET", "/a\r\nHost: b")],
)
def test_what_is_no_request(method: str, url: str) -> None:
    done = portico(method, url)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("portico: ")


def test_a_field_is_a_name_and_a_value() -> None:
    assert portico("GET", "/x", "-H", "no colon").exit_code == 2
    assert portico("GET", "/x", "-H", "A: b\r\nHost: c").exit_code == 2


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("/a\x1b]0;title\x07", "a control byte"),
        ("/../x", "a dot segment in the path"),
        ("/%", "a percent sign without two hexadecimal digits in the path"),
        ("/\udcff", "the request target has a character that must be percent-encoded"),
        ("/café", "the request target has a character that must be percent-encoded"),
        ("/" + "x" * 17_000, "the request target is longer than 16384 bytes"),
    ],
)
def test_what_is_refused_as_it_is(url: str, detail: str) -> None:
    """Nothing of it steers the terminal, and what is long is cut."""
    done = portico("GET", url)
    assert done.exit_code == 1
    assert f": {detail}\n" in done.stdout
    assert all(character.isprintable() or character == "\n" for character in done.stdout)
    assert max(map(len, done.stdout.splitlines())) < 300


def test_what_is_no_utf8_is_shown_escaped() -> None:
    said = data("GET", "/rest", "-H", "X-A: \udcff")
    assert ["X-A", r"\xff"] in said["request"]["headers"]
    assert "\r\nX-A: \xff\r\n" in said["head"]


def test_what_clients_do_is_noted() -> None:
    notes = portico("GET", "https://ada:pw@shop.example/é/../x#there").stdout
    assert "note: what follows the # of a URL is never sent\n" in notes
    assert "note: clients send it encoded: /%C3%A9/../x\n" in notes
    assert "note: most clients resolve . and .. before they send a path (curl: --path-as-is)\n" in notes
    assert "Authorization: Basic" in notes
    assert "pw" not in notes
    preflight = ("OPTIONS", "/rest", "-H", "Origin: https://a.example", "-H", "Access-Control-Request-Method: PUT")
    assert "where that has cors" in portico(*preflight).stdout
