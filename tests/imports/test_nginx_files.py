"""How nginx's files are read, what is refused with file and line, and which guards close a route."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from portico.config import load_text
from portico.imports import Imported, SourceError, finished
from portico.imports.nginx import import_nginx

PAGE: Final = Path(__file__).parents[2] / "docs" / "import.md"


def imported(text: str | bytes, directory: Path, prefix: Path | None = None) -> Imported:
    file = directory / "nginx.conf"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return finished(import_nginx(file, prefix=prefix), "portico.yaml")


def routes(text: str, directory: Path) -> dict[str, Any]:
    """The routes of what stands in one server, by their paths (and methods)."""
    made = imported(f"http {{ upstream app {{ server 127.0.0.1:1; }} server {{ {text} }} }}", directory).text
    load_text(made, "portico.yaml", {"AUTHORIZATION": "a secret"})
    written = yaml.safe_load(made)["routes"]
    return {" ".join([route["path"], *route.get("methods", ())]): route for route in written}


def test_the_page_shows_what_comes_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text()
    source, made = (re.search(f"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("nginx", "yaml"))
    assert source is not None
    assert made is not None
    monkeypatch.chdir(tmp_path)
    Path("nginx.conf").write_text(source[1])
    assert finished(import_nginx(Path("nginx.conf")), "portico.yaml").text == made[1]


# ---- includes (nginxinc/crossplane#108, #57)


def test_includes_stand_where_they_are_written_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    for name in ("b", "a", "c"):
        (tmp_path / "sites" / f"{name}.conf").write_text(f"location = /{name} {{ return 200 {name}; }}\n")
    (tmp_path / "acl.conf").write_text("deny all;\n")
    (tmp_path / "head.conf").write_text("# one\n# two\n# three\nuser root;\n")
    made = imported(
        "include head.conf;\nhttp { server { include sites/*.conf; include nothing/*.conf;\n"
        "location / { limit_except GET { include acl.conf; } proxy_pass http://127.0.0.1:1; } } }",
        tmp_path,
    )
    written = yaml.safe_load(made.text)["routes"]
    assert [route["path"] for route in written] == ["= /a", "= /b", "= /c", "/", "/"]
    assert [route.get("methods") for route in written[3:]] == [["GET"], None]
    assert written[4]["respond"] == 403
    lines = {(Path(remark.file).name, remark.line, remark.what) for remark in made.remarks}
    assert ("head.conf", 4, "user root") in lines
    assert ("acl.conf", 1, "deny all") in lines


def test_what_nginx_has_printed_is_read_as_its_files(tmp_path: Path) -> None:
    made = imported(
        "# configuration file /etc/nginx/nginx.conf:\nhttp { include /etc/nginx/conf.d/*.conf; }\n"
        "# configuration file /etc/nginx/conf.d/app.conf:\n\nserver { bogus 1; return 404; }\n",
        tmp_path,
    )
    assert [remark.line for remark in made.remarks if remark.what == "bogus 1"] == [5]


def test_a_prefix_stands_for_the_home_of_nginx(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "app.conf").write_text("server { return 404; }")
    assert imported("http { include /etc/nginx/app.conf; }", tmp_path, tmp_path / "taken").remarks


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("http {\n\n include gone.conf; }", 3, "gone.conf is not there"),
        ("http {\n include nginx.conf; }", 2, "is included from itself"),
        ("http {\n server { \0 } }", 2, "NUL"),
        ("http {\n server {\n location / {", 3, "the block location is not closed"),
        ("http { } }", 1, "closes nothing"),
        ("http {\n server { listen 80 } }", 2, "a ; is missing behind 80"),
        ('http {\n server { return 200 "a; } }', 2, "quotes are opened"),
        ('http { server { return 200 "a"b; } }', 1, "a space is missing"),
        ("http { content_by_lua_block { if x then { } }", 1, "not closed"),
        ("a {" * 200 + "}" * 200, 1, "nested more than 100 deep"),
        ("", 1, "no http block"),
        ("stream { server { listen 1; } }", 1, "no http block"),
        ("http { }\nhttp { }", 2, "already"),
        ("http { server {" + "".join(f' set $a{n + 1} "$a{n}$a{n}$uri";' for n in range(60)) + "} }", 1, "pieces"),
        (
            "http { server { set $a0 xxxx;" + "".join(f' set $a{n + 1} "$a{n}$a{n}";' for n in range(60)) + "} }",
            1,
            "letters",
        ),
        (b"#" * (33 << 20), None, "too large"),
        ("http { include /dev/zero; }", 1, "is no file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    text: str | bytes, line: int | None, why: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=re.escape(why)) as refused:
        imported(text, tmp_path)
    assert Path(refused.value.where.file).name == "nginx.conf"
    assert refused.value.where.line == line


# ---- guards


@pytest.mark.parametrize(
    "guard",
    [
        'auth_basic "staff"; auth_basic_user_file staff;',
        "auth_jwt realm;",
        "auth_something_new on;",
        "access_by_lua_block { ngx.exit(403) }",
        "auth_request /static;",
        "satisfy any; allow 10.0.0.0/8; deny all; auth_request /ask;",
        "allow 10.0.0.1; deny 10.0.0.0/8; allow all;",
        "if ($ssl_client_verify != SUCCESS) { return 403; }",
        "if ($invalid_referer) { return 403; }",
        "limit_except GET { allow 10.0.0.0/8; deny all; }",
        'set $bad ""; if ($http_a) { set $bad 1; } if ($bad) { return 403; }',
        "modsecurity on;",
    ],
)
def test_a_guard_that_cannot_be_said_closes_the_route(guard: str, tmp_path: Path) -> None:
    text = (
        f"location /a/ {{ {guard} proxy_pass http://app; }} location = /static {{ root x; }}"
        "location = /ask { internal; proxy_pass http://app; } location / { proxy_pass http://app; }"
    )
    found = routes(text, tmp_path)
    assert found["/a"].get("respond") == 503
    assert found["/"]["service"] == "app"


@pytest.mark.parametrize(
    "location",
    [
        "location / { proxy_pass http://$http_x_target; }",
        "location / { proxy_pass http://$host$request_uri; }",
        "location / { fastcgi_pass unix:/run/php.sock; }",
        "location / { root /var/www; }",
        "location / { alias /var/www/; try_files $uri /index.html; }",
        "location / { content_by_lua_block { ngx.say(1) } }",
        'location / { return 200 "$remote_addr"; }',
        "location / { rewrite ^/(.*)$ /index.php?q=$1 break; proxy_pass http://app; }",
        "location / { proxy_set_header Host $http_x_host; proxy_pass http://app; }",
        "location / { rewrite ^/a/(.*)$ /$1 last; return 404; } location /b { deny all; }",
    ],
)
def test_what_cannot_be_said_of_a_target_answers_503(location: str, tmp_path: Path) -> None:
    assert any(route.get("respond") == 503 for route in routes(location, tmp_path).values())


@pytest.mark.parametrize(
    ("expression", "path"),
    [("^/admin(?!/public)", "~ ^/admin"), (r"^/admin/(?=x)[a-z]+\.(?:php)$", r"~ ^/admin/[a-z]+\.(?:php)$")],
)
def test_a_pattern_that_cannot_be_said_closes_more(expression: str, path: str, tmp_path: Path) -> None:
    found = routes(f'location ~ "{expression}" {{ deny all; }} location / {{ proxy_pass http://app; }}', tmp_path)
    assert found[path]["respond"] == 503


def test_a_guarded_prefix_is_one_by_letters(tmp_path: Path) -> None:
    found = routes(
        "location /admin { deny all; } location /admin/open/ { proxy_pass http://app; }"
        "location / { proxy_pass http://app; }",
        tmp_path,
    )
    assert [*found][:2] == ["~ ^/admin/open/", "~ ^/admin"]
    assert found["~ ^/admin"]["respond"] == 403


def test_a_secret_is_read_from_the_environment(tmp_path: Path) -> None:
    made = imported(
        'http { server { location / { proxy_set_header Authorization "Basic abc"; proxy_pass http://127.0.0.1:1; } } }',
        tmp_path,
    )
    assert "${AUTHORIZATION}" in made.text
    assert not any("abc" in str(remark) for remark in made.remarks)
    assert "abc" not in made.text


# ---- what else has a counterpart


@pytest.mark.parametrize(
    ("text", "path", "keys"),
    [
        (
            "location / { mirror /copy; proxy_pass http://app; }"
            "location = /copy { internal; proxy_pass http://127.0.0.1:2$request_uri; }",
            "/",
            {"mirror": "port-2"},
        ),
        (
            "location / { add_header Access-Control-Allow-Origin https://a.example always;"
            "add_header Access-Control-Allow-Methods 'GET, POST';"
            "if ($request_method = OPTIONS) { return 204; } proxy_pass http://app; }",
            "/",
            {"policies": {"cors": {"allow_origins": ["https://a.example"], "allow_methods": ["GET", "POST"]}}},
        ),
        (
            "location / { auth_request /ask; proxy_pass http://app; } location /ask { proxy_pass http://app; }",
            "/",
            {"policies": {"auth": {"forward": {"url": "http://127.0.0.1:1/ask"}}}},
        ),
        ("location / { proxy_next_upstream off; proxy_pass http://app; }", "/", {}),
        ("location / { client_max_body_size 0; proxy_pass http://app; }", "/", {"body_size": "1024GiB"}),
        ("location / { if ($cookie_beta = 1) { return 204; } proxy_pass http://app; }", "/", {}),
    ],
)
def test_what_becomes_of(text: str, path: str, keys: dict[str, Any], tmp_path: Path) -> None:
    found = routes(text, tmp_path)[path]
    assert {key: found.get(key) for key in keys} == keys


# ---- guards that a request would get around


@pytest.mark.parametrize(
    "guard",
    [
        "auth_request /ask;",
        "limit_except GET { deny all; }",
        "if ($http_x_key != k) { return 403; }",
        "js_access main.check;",
        "try_files /none @closed;",
    ],
)
def test_a_prefix_by_letters_takes_no_path_out_of_its_guard(guard: str, tmp_path: Path) -> None:
    written = routes(
        f"location / {{ proxy_pass http://app; }} location /staff {{ {guard} proxy_pass http://app; }}"
        "location @closed { allow 10.0.0.0/8; deny all; proxy_pass http://app; }"
        "location = /ask { internal; proxy_pass http://app/ask; }",
        tmp_path,
    )
    assert any(path.startswith("~ ^/staff") for path in written)
    assert "/staff" not in written


def test_a_prefix_keeps_a_guard_of_the_server_that_a_shorter_one_turns_off(tmp_path: Path) -> None:
    written = routes(
        "auth_request /ask; location / { auth_request off; proxy_pass http://app; }"
        "location /staff { proxy_pass http://app; } location = /ask { internal; proxy_pass http://app/ask; }",
        tmp_path,
    )
    assert "auth" in written["~ ^/staff"]["policies"]


def test_a_location_asks_its_guards_before_it_hands_requests_on(tmp_path: Path) -> None:
    written = routes(
        "location /none { deny all; try_files $uri @app; }"
        "location /some/ { allow 10.0.0.0/8; deny all; try_files $uri @app; }"
        "location /asked/ { auth_request /ask; try_files $uri /app/; }"
        "location /both/ { auth_request /ask; try_files $uri @inside; }"
        "location /other/ { allow 11.0.0.0/8; deny all; try_files $uri @inside; }"
        "location @app { proxy_pass http://app; } location /app/ { proxy_pass http://app; }"
        "location @inside { allow 10.0.0.0/8; deny all; proxy_pass http://app; }"
        "location = /ask { internal; proxy_pass http://app/ask; }",
        tmp_path,
    )
    assert written["~ ^/none"]["respond"] == 403
    assert written["/some"]["policies"]["ip_filter"] == {"allow": ["10.0.0.0/8"]}
    assert "forward" in written["/asked"]["policies"]["auth"]
    assert written["/both"]["policies"].keys() == {"auth", "ip_filter"}
    assert written["/other"]["respond"] == 503


def test_a_file_is_guarded_like_a_service(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    written = routes(
        "location = /secret.txt { auth_request /ask; alias secret.txt; }"
        "location = /ask { internal; proxy_pass http://app/ask; }",
        tmp_path,
    )
    assert "forward" in written["= /secret.txt"]["policies"]["auth"]


def test_a_location_inside_an_internal_one_is_internal(tmp_path: Path) -> None:
    written = routes(
        "location /inner/ { internal; proxy_pass http://app; location /inner/x/ { proxy_pass http://app; } }", tmp_path
    )
    assert written["/inner/x"]["respond"] == 404


def test_locations_that_no_request_comes_to_are_left_as_a_whole(tmp_path: Path) -> None:
    text = "http { server { return 301 https://a.test$request_uri;\n location /x {\n auth_basic staff; } } }"
    left = [str(each) for each in imported(text, tmp_path).remarks if each.kind == "left"]
    assert [each.partition("nginx.conf:")[2] for each in left] == ["2: left: location /x { … }: no request comes to it"]


def test_a_location_whose_access_log_is_off_is_logged_all_the_same(tmp_path: Path) -> None:
    text = "http { server {\n location / { access_log off; return 204; } } }"
    assert any(":2: left: access_log off: there is one access log" in str(e) for e in imported(text, tmp_path).remarks)


@pytest.mark.parametrize(("source", "closed"), [("$request_uri", True), ("$uri", False)])
def test_a_list_of_redirects_is_a_map_of_paths(tmp_path: Path, source: str, closed: bool) -> None:
    text = f'http {{ map {source} $new {{ default ""; /old /new; }} server {{ if ($new) {{ return 301 $new; }} }} }}'
    left = [str(each) for each in imported(text, tmp_path).remarks if "a map of $uri in place of" in str(each)]
    assert bool(left) == closed


def test_networks_that_are_refused_are_closed_with_what_to_write(tmp_path: Path) -> None:
    text = "http { geo $bad { default 0; 192.0.2.0/24 1; } server { if ($bad) { return 403; } } }"
    assert any("write its networks into policies.ip_filter" in str(each) for each in imported(text, tmp_path).remarks)


@pytest.mark.parametrize(
    ("condition", "is_closed"),
    [
        ("$request_uri !~ ^/x", False),
        ("$request_uri !~ ^/x$", True),
        ("$request_uri ~* union.*select", True),
        ("$request_uri ~ ^/x$", False),
        ("$uri !~ ^/x$", False),
    ],
)
def test_a_condition_on_path_and_query_lets_nobody_through_who_was_refused(
    condition: str, is_closed: bool, tmp_path: Path
) -> None:
    written = routes(f"if ({condition}) {{ return 403; }} location / {{ proxy_pass http://app; }}", tmp_path)
    assert all(route.get("respond") in (403, 503) for route in written.values()) == is_closed


# ---- locations inside others, and beside them, in nginx's order


def first_that_takes(path: str, written: dict[str, Any]) -> dict[str, Any]:
    """The route of a path, by patterns in their order and then the longest prefix."""
    if f"= {path}" in written:
        return dict(written[f"= {path}"])
    patterns = (key for key in written if key[:1] == "~" and re.search(key.partition(" ")[2], path))
    prefixes = [key for key in written if key[:1] == "/" and f"{path}/".startswith(f"{key.rstrip('/')}/")]
    return dict(written[next(patterns, "") or max(prefixes, key=len)])


@pytest.mark.parametrize(
    ("locations", "path", "is_open"),
    [
        ("location ^~ /a { PASS location /a/in { deny all; } }", "/a/in", False),
        ("location ^~ /a { PASS location ~ \\.key$ { deny all; } }", "/a/x.key", False),
        ("location ^~ /a/ { PASS } location /a/in/ { deny all; }", "/a/in/x", False),
        ("location ^~ /a/ { PASS } location /a/in/ { deny all; }", "/a/in/x.php", True),
        ("location /a/ { PASS location ~ \\.php$ { deny all; } }", "/a/x.php", False),
        ("location /a/ { PASS location ~ /\\. { deny all; } }", "/a/.git", False),
        ("location /a/ { PASS location ~ x$|y$ { PASS } } location /b/ { deny all; }", "/b/y", False),
        ("location /a/ { PASS location ~ x$ { PASS } } location /a/in/ { deny all; }", "/a/in/x", False),
        ("location ~ ^/a/ { PASS location ~ x$ { PASS } } location /b/ { deny all; }", "/b/x", False),
        ("location ~ ^/a/ { PASS location ~ /in { deny all; } }", "/a/in", False),
        ("location ~ x$ { rewrite ^/b/(.*)$ /c/$1 break; PASS } location /b/ { deny all; }", "/b/y", False),
    ],
)
def test_locations_are_asked_in_the_order_of_nginx(locations: str, path: str, is_open: bool, tmp_path: Path) -> None:
    others = "location ~ \\.php$ { PASS } location / { PASS }"
    written = routes(f"{others} {locations}".replace("PASS", "proxy_pass http://app;"), tmp_path)
    assert ("service" in first_that_takes(path, written)) is is_open


def test_a_group_called_rest_is_what_it_captures(tmp_path: Path) -> None:
    written = routes(r"location ~ ^/(?<lang>en|de)/(?<rest>.*)$ { proxy_pass http://app/$rest; }", tmp_path)
    assert written["~ ^/(en|de)/(?P<rest>.*)$"]["rewrite"] == "/{rest}"


def test_a_query_of_its_own_does_not_become_part_of_the_path(tmp_path: Path) -> None:
    written = routes(r"location ~ ^/a/(.*)\.json$ { proxy_pass http://app/j/$1?format=json; }", tmp_path)
    assert [route.get("respond") for route in written.values()] == [503]


def test_a_rewrite_to_another_location_is_of_its_own_paths_only(tmp_path: Path) -> None:
    written = routes(
        "location / { proxy_pass http://app; } location /old { rewrite (.*) /new$1 last; }"
        "location /new { proxy_pass http://app; }",
        tmp_path,
    )
    assert "rewrite" not in written["/"]
    assert all(path in ("/", "/new") or path.startswith("~ ^/old") for path in written)
