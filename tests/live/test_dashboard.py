"""The dashboard in Chromium: watched while a service dies, under the paths of others, by keyboard, by the hostile."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from support.browser import needs_chromium
from support.client import ask
from support.forwarder import Forwarder
from support.instance_process import InstanceProcess
from support.messages import Message
from support.process import free_port
from support.world import Gateway

WRITE: Final = "the-token-that-writes"
READ: Final = "the-token-that-reads"
PAGES: Final = (
    *("", "services", "exchanges", "events", "routes", "explain", "limits", "cache", "consumers", "configuration"),
    *("certificates", "audit"),
)
HOSTILE: Final = """"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}"""
FOREIGN: Final = "img, script:not([src]), b:text('bold')"
"""What is on no page, unless a text of somebody became markup."""
KUBERNETES: Final = "/api/v1/namespaces/x/services/http:gw:9000/proxy"
OF_THEME_AND_WIDTH: Final = ("color-contrast", "scrollable-region-focusable", "label", "link-name", "button-name")
"""The rules of axe-core whose findings may be others on a phone, or in the dark."""
DESK: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 390, "height": 844}


class World:
    """One gateway, which has routes to its own admin port, and what is before and behind it."""

    def __init__(self, stack: ExitStack) -> None:
        self.instance = stack.enter_context(InstanceProcess("orders-1"))
        self.admin = free_port()
        own = {"url": f"http://127.0.0.1:{self.admin}", "health_check": False, "default_routes": False}
        often = {"path": "/health", "interval": "100ms", "unhealthy_after": 1, "healthy_after": 1}
        orders = {"url": f"http://127.0.0.1:{self.instance.port}", "health_check": often, "circuit_breaker": {}}
        config = {
            "gateway": {
                "title": f"Shop {HOSTILE}",
                "admin": f"127.0.0.1:{self.admin}",
                "admin_token": WRITE,
                "admin_tokens": [{"name": "ada", "token": READ, "access": "read"}],
            },
            "services": {
                "orders": {
                    **orders,
                    "policies": {"cache": {"ttl": 30}, "rate_limit": {"requests_per_minute": 6, "burst": 1000}},
                },
                "keyed": {"url": orders["url"], "health_check": False, "policies": {"auth": {"api_key": {}}}},
                "own": own,
                "other_host": {**own, "preserve_host": False},  # what the API server sends is its own
            },
            "routes": [
                {"name": "stripped", "service": "own", "path": "/ops/portico"},
                {"name": "whole", "service": "own", "path": "/whole/portico", "rewrite": "keep"},
                {"name": "kubernetes", "service": "other_host", "path": KUBERNETES},
                {"name": "odd", "service": "orders", "path": "~ ^/(?P<i>[a-z]+)<b>bold</b>"},
            ],
            "consumers": [{"name": "alice", "scopes": ["orders:read"]}],
        }
        self.gateway = stack.enter_context(Gateway(config))
        self.gateway.clean = False  # services die here
        self.gateway.wait_for_control()
        self.tunnel = stack.enter_context(Forwarder(self.admin))
        self.base = f"http://127.0.0.1:{self.admin}"

    def ask(self, method: str, path: str, *lines: str, body: bytes = b"") -> Message:
        return ask(self.admin, method, path, "Host: localhost", *lines, body=body or None)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


class Visitor:
    """A browser's page, and what its console says or it loads from elsewhere."""

    def __init__(self, browser: Any, base: str, **more: Any) -> None:
        self.base = base
        self.context = browser.new_context(**more)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.said: list[str] = []
        self.page.on("console", lambda each: self.said.append(each.text) if each.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: None if request.url.startswith(base) else self.said.append(request.url))

    def _dialog(self, dialog: Any) -> None:
        if dialog.type == "alert":
            self.said.append(f"alert {dialog.message}")
        dialog.accept()

    def signed_in(self, token: str = WRITE) -> Any:
        """Its page, at the overview."""
        self.page.goto(f"{self.base}/dashboard/")
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#pulse")
        return self.page

    def go(self, name: str) -> Any:
        """Its page, at another one of the dashboard."""
        self.page.goto(f"{self.base}/dashboard/{name}")
        self.page.wait_for_selector("#pulse")
        return self.page


@pytest.fixture(scope="module")
def admin(world: World, browser: Any) -> Iterator[Visitor]:
    """Somebody who may write."""
    visitor = Visitor(browser, world.base, viewport=DESK)
    visitor.signed_in()
    yield visitor
    refused = re.compile("status of 4(12|22) ")  # what a form was answered, which the page says in words
    assert [each for each in visitor.said if not refused.search(each)] == []


def begin(world: World, token: str) -> str:
    """The Cookie field of a sign-in without a browser."""
    page = world.ask("GET", "/dashboard/sign-in").body.decode()
    form = urlencode({"csrf": csrf_of(page), "token": token}).encode()
    answer = world.ask("POST", "/dashboard/sign-in", "Content-Type: application/x-www-form-urlencoded", body=form)
    assert (answer.status, answer.get("location")) == (303, "./")
    return "Cookie: " + (answer.get("set-cookie") or "").partition(";")[0]


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found
    return found[1]


def post(world: World, path: str, cookie: str, *lines: str, **fields: str) -> Message:
    kind = "Content-Type: application/x-www-form-urlencoded"
    return world.ask("POST", f"/dashboard/{path}", kind, cookie, *lines, body=urlencode(fields).encode())


# ---- without a browser: who may do what


def test_nothing_is_shown_to_who_is_not_signed_in(world: World) -> None:
    for name in PAGES:
        answer = world.ask("GET", f"/dashboard/{name}")
        assert answer.status == 303
        assert answer.get("location") == ("sign-in" if not name else f"sign-in?to={name}")
    assert world.ask("GET", "/dashboard/", "Portico-Fragment: page").status == 401
    assert world.ask("GET", "/dashboard/stream/events").status == 401


def test_a_session_is_a_cookie_for_this_site_alone(world: World) -> None:
    page = world.ask("GET", "/dashboard/sign-in").body.decode()
    form = urlencode({"csrf": csrf_of(page), "token": READ}).encode()
    kind = "Content-Type: application/x-www-form-urlencoded"
    answer = world.ask("POST", "/dashboard/sign-in?to=routes", kind, "X-Forwarded-Proto: https", body=form)
    assert answer.get("location") == "routes"
    cookie = answer.get("set-cookie") or ""
    assert cookie.endswith("; HttpOnly; SameSite=Strict; Secure")
    assert "path" not in cookie.lower()
    assert READ not in cookie
    large = urlencode({"csrf": csrf_of(page), "token": "x" * 20_000}).encode()
    assert world.ask("POST", "/dashboard/sign-in", kind, body=large).status == 400
    for other in ("//evil.example", "https://evil.example", "/admin/status", "\\\\evil.example", "sign-in"):
        answer = world.ask("POST", f"/dashboard/sign-in?{urlencode({'to': other})}", kind, body=form)
        assert answer.get("location") == "./"


def test_forms_of_others_do_nothing(world: World) -> None:
    cookie = begin(world, WRITE)
    csrf = csrf_of(world.ask("GET", "/dashboard/services", cookie).body.decode())
    wanted = {"do": "drain", "service": "orders", "url": f"http://127.0.0.1:{world.instance.port}"}
    assert post(world, "services", cookie, **wanted).status == 403
    assert post(world, "services", cookie, **wanted, csrf="0" * 64).status == 403
    assert post(world, "services", cookie, "Sec-Fetch-Site: cross-site", **wanted, csrf=csrf).status == 403
    assert post(world, "services", "Cookie: none=0", **wanted, csrf=csrf).status == 303  # to the sign-in
    other = csrf_of(world.ask("GET", "/dashboard/services", begin(world, WRITE)).body.decode())
    assert post(world, "services", cookie, **wanted, csrf=other).status == 403
    assert b"drained by" not in world.ask("GET", "/dashboard/services", cookie).body


def test_a_sign_out_ends_the_session_for_good(world: World) -> None:
    cookie = begin(world, WRITE)
    csrf = csrf_of(world.ask("GET", "/dashboard/", cookie).body.decode())
    assert post(world, "sign-out", cookie, csrf="").status == 403
    answer = post(world, "sign-out", cookie, csrf=csrf)
    assert (answer.status, answer.get("location")) == (303, "sign-in")
    assert "Max-Age=0" in (answer.get("set-cookie") or "")
    assert world.ask("GET", "/dashboard/", cookie).status == 303


def test_a_cookie_that_is_forged_is_none(world: World) -> None:
    name, _, value = begin(world, READ).removeprefix("Cookie: ").partition("=")
    began, rest = value.split(".", 1)
    for forged in (f"{int(began) + 1}.{rest}", value[:-1] + ("0" if value[-1] != "0" else "1"), "", "é", f"..{rest}"):
        assert world.ask("GET", "/dashboard/", f"Cookie: {name}={forged}").status == 303


def test_a_refused_sign_in_is_in_the_audit_log_without_what_was_shown(world: World) -> None:
    csrf = csrf_of(world.ask("GET", "/dashboard/sign-in").body.decode())
    answer = post(world, "sign-in", "X-Nothing: 1", csrf=csrf, token="a-wrong-one")
    assert answer.status == 403
    entries = world.ask("GET", "/admin/audit", f"Authorization: Bearer {WRITE}").json()["entries"]
    assert [entries[0]["action"], entries[0]["status"], entries[0]["caller"]] == ["sign in", 403, ""]
    assert "a-wrong-one" not in str(entries) + answer.body.decode()


def test_read_only_tokens_see_no_controls_that_write(world: World) -> None:
    cookie = begin(world, READ)
    for name in PAGES:
        page = world.ask("GET", f"/dashboard/{name}", cookie).body.decode()
        assert "ada</b> (read-only)" in page
        assert {*re.findall(r'name="do" value="(\w+)"', page)} <= {"show", "plan", "explain"}, name
    csrf = csrf_of(world.ask("GET", "/dashboard/cache", cookie).body.decode())
    answer = post(world, "cache", cookie, csrf=csrf, do="purge", kind="all")
    assert answer.status == 403
    assert "may read and not write" in answer.body.decode()


def test_answers_are_for_nobody_to_frame_or_keep(world: World) -> None:
    answer = world.ask("GET", "/dashboard/", begin(world, READ))
    policy = answer.get("content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (answer.get("cache-control"), answer.get("x-content-type-options")) == ("no-store", "nosniff")
    assert not re.search(r"<script(?! src)|<style|<[^>]*\s(?:on\w+|style)=", answer.body.decode())


def test_browsers_are_led_to_it_and_programs_are_not(world: World) -> None:
    answer = world.ask("GET", "/", "Accept: text/html,*/*;q=0.8")
    assert (answer.status, answer.get("location")) == (307, "dashboard/")
    assert world.ask("GET", "/dashboard").get("location") == "dashboard/"
    assert world.ask("GET", "/", "Accept: */*", f"Authorization: Bearer {READ}").json()["services"]
    answer = world.ask("GET", "/", "Accept: text/html", "X-Forwarded-Prefix: /ops/portico")
    assert answer.get("location") == "/ops/portico/dashboard/"
    for evil in ("//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/a,/b"):
        answer = world.ask("GET", "/", "Accept: text/html", f"X-Forwarded-Prefix: {evil}")
        assert answer.get("location") == "dashboard/"


# ---- in Chromium


@needs_chromium
def test_signing_in_by_keyboard_alone(world: World, browser: Any) -> None:
    visitor = Visitor(browser, world.base)
    page = visitor.page
    page.goto(world.base)
    assert page.evaluate("document.activeElement.id") == "token"
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    assert "none of the gateway" in page.get_by_role("alert").inner_text()
    page.keyboard.type(WRITE)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="Services", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Services", exact=True).wait_for()
    tabbed: list[str] = []
    while "Steer" not in "".join(tabbed):
        page.keyboard.press("Tab")
        tabbed.append(page.evaluate("document.activeElement.textContent.trim().slice(0, 40)"))
        assert len(tabbed) < 60, tabbed
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    page.get_by_role("button", name="Sign out").press("Enter")
    page.get_by_label("Admin token").wait_for()
    assert [each for each in visitor.said if "403" not in each] == []  # that of the wrong token
    visitor.context.close()


@needs_chromium
def test_what_others_write_is_text(world: World, admin: Visitor) -> None:
    """Names of routes and the gateway, paths of clients, reasons, notes, errors: none is markup or a template."""
    page = admin.go("exchanges")
    page.get_by_text("Live", exact=True).wait_for()
    world.gateway.get("/%3Cimg%20src=x%20onerror=alert(1)%3E", "User-Agent: <script>alert(3)</script>")
    world.gateway.get("/<script>alert(4)</script>")
    page.locator("table.following tbody tr", has_text="alert(1)").first.wait_for()
    page = admin.go("explain")
    page.get_by_label("URL or path").fill(f"/{HOSTILE}")
    page.get_by_label("Header fields, one a line").fill(f"X-Odd: {HOSTILE}")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.locator("#ask").wait_for()
    assert page.get_by_label("Header fields, one a line").input_value() == f"X-Odd: {HOSTILE}"
    page = admin.go("consumers")
    form = page.locator("form", has=page.get_by_role("button", name="Make it"))
    form.get_by_label("Note").fill(HOSTILE)
    form.get_by_label("Consumer").select_option("alice")
    form.get_by_role("button", name="Make it").click()
    page.get_by_text("It is shown this once").wait_for()
    page = admin.go("consumers")
    page.get_by_text(HOSTILE).first.wait_for()
    for name in ("services", "routes", "events", "limits", "configuration"):
        page = admin.go(f"{name}?{urlencode({'q': HOSTILE, 'kind': HOSTILE, 'sort': HOSTILE, 'id': HOSTILE})}")
        assert page.locator(FOREIGN).count() == 0, name
        assert HOSTILE in page.title()
    assert admin.go("routes").get_by_text("<b>bold</b>").count() == 1


@needs_chromium
def test_every_page_is_accessible_in_both_themes_and_on_a_phone(admin: Visitor) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page, script = admin.page, axe.Axe().axe_script
    for name in PAGES:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(DESK)
        admin.go(name)
        page.evaluate(script)
        assert grave_faults(page) == [], name
        assert page.locator(FOREIGN).count() == 0, name
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(PHONE)
        assert grave_faults(page, *OF_THEME_AND_WIDTH) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    page.goto(f"{admin.base}/dashboard/sign-in")
    page.evaluate(script)
    assert grave_faults(page) == []
    page.set_viewport_size(DESK)


def grave_faults(page: Any, *rules: str) -> list[Any]:
    """What axe-core, which the page has by now, calls serious or critical: by these rules, or all that it has."""
    options: dict[str, Any] = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = page.evaluate("options => axe.run(options)", options)["violations"]
    grave = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in grave]


@needs_chromium
def test_a_service_dies_and_comes_back_on_the_open_page(world: World, admin: Visitor) -> None:
    page = admin.go("")
    row = page.locator("tr", has=page.get_by_role("link", name="orders", exact=True))
    row.get_by_text("healthy", exact=True).wait_for()
    world.instance.kill()
    row.get_by_text("unhealthy", exact=True).wait_for()
    page.get_by_role("heading", name="Needs attention").wait_for()
    services = admin.go("services")
    why = services.locator("tr", has_text=f":{world.instance.port}").first.locator(".why")
    assert why.inner_text().strip()
    steer = services.locator("summary").first
    steer.click()
    world.instance.start()
    services.locator("tr", has_text=f":{world.instance.port}").first.get_by_text("active", exact=True).wait_for()
    assert services.locator("details[open]").count() == 1, "what is open stays so"


@needs_chromium
def test_what_it_shows_is_called_stale_while_the_gateway_is_away(world: World, admin: Visitor) -> None:
    page = admin.go("")
    banner = page.locator(".stale")
    control = world.gateway.control()
    os.kill(control, signal.SIGSTOP)
    try:
        banner.get_by_text("Stale: the gateway does not answer.").wait_for()
        banner.get_by_text(re.compile(r"What you see is \d+ s old")).wait_for()
    finally:
        os.kill(control, signal.SIGCONT)
    banner.get_by_text("The gateway answers again.").wait_for()
    page.wait_for_function("!document.body.classList.contains('is-stale')")


@needs_chromium
@pytest.mark.parametrize("place", ["stripped", "whole", "kubernetes", "tunnel"])
def test_it_works_under_the_paths_and_ports_of_others(world: World, browser: Any, place: str) -> None:
    """C35: pages, styles, forms and streams stay below the prefix."""
    prefixes = {"stripped": "/ops/portico", "whole": "/whole/portico", "kubernetes": KUBERNETES}
    port = world.tunnel.port if place == "tunnel" else world.gateway.port
    visitor = Visitor(browser, f"http://127.0.0.1:{port}{prefixes.get(place, '')}")
    page = visitor.page
    page.goto(f"{visitor.base}/dashboard")  # without the slash
    page.fill("#token", WRITE)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    assert page.url == f"{visitor.base}/dashboard/"
    assert page.evaluate("getComputedStyle(document.querySelector('.frame')).display") == "grid", "it has its styles"
    if place in ("stripped", "kubernetes"):
        page.goto(visitor.base)
        assert page.url == f"{visitor.base}/dashboard/"
    page.get_by_role("link", name="Services", exact=True).click()
    row = page.locator("tr", has_text=f":{world.instance.port}").first
    row.locator("summary").click()
    row.get_by_role("button", name="Drain").click()
    page.get_by_text("gets no new requests").first.wait_for()
    assert page.url == f"{visitor.base}/dashboard/services"
    row.get_by_text("drained by admin").wait_for()
    row.locator("summary").click()
    row.get_by_role("button", name="Enable").click()
    page.get_by_text("gets requests as configured again").wait_for()
    page.get_by_role("link", name="Events", exact=True).click()
    page.locator("table.following tbody tr").first.wait_for()
    assert page.locator("#following-state").inner_text() == "Live"
    assert visitor.said == []
    visitor.context.close()


@needs_chromium
def test_exchanges_are_followed_as_they_end(world: World, admin: Visitor) -> None:
    page = admin.go("exchanges?" + urlencode({"path": "/api/orders"}))
    page.get_by_text("Live", exact=True).wait_for()
    world.gateway.get("/nowhere")
    world.gateway.get("/api/orders/17")
    page.locator("table.following tbody tr", has_text="/api/orders/17").wait_for()
    assert page.locator("table.following tbody tr").count() == 1
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Paused").wait_for()


@needs_chromium
def test_a_request_is_explained(admin: Visitor) -> None:
    page = admin.go("explain?" + urlencode({"url": "/api/orders/17"}))
    page.get_by_label("Header fields, one a line").fill("X-Odd: one\nAuthorization: Bearer hidden")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.get_by_role("heading", name="Route orders").wait_for()
    assert "X-Odd: one" in page.locator("pre").inner_text()
    page.locator("#policies").wait_for()
    assert page.url == f"{admin.base}/dashboard/explain#outcome", "nothing of it is in the address"
    page.get_by_label("URL or path").fill("/api/order")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.get_by_role("heading", name="No route takes it").wait_for()
    assert page.locator("tr", has=page.locator("mark")).count() >= 1, "the letter that differs"


@needs_chromium
def test_a_key_of_a_limit_is_made_whole_again(world: World, admin: Visitor) -> None:
    world.gateway.get("/api/orders/1")
    page = admin.go("limits")
    row = page.locator("tr", has_text="127.0.0.1").first
    row.get_by_role("button", name="Reset").click()
    page.get_by_text("is whole again").wait_for()


@needs_chromium
def test_a_configuration_is_tried_applied_and_taken_back(world: World, admin: Visitor) -> None:
    page = admin.go("configuration")
    area = page.get_by_label("The configuration's text")
    before = area.input_value()
    assert WRITE not in page.content()
    area.fill(before.replace("ttl: 30", "ttl: thirty"))
    page.get_by_role("button", name="Show what changes").click()
    page.get_by_role("heading", name="What is wrong with it").wait_for()
    assert "ttl: thirty" in area.input_value(), "what was typed stays"
    area.fill(before.replace("ttl: 30", "ttl: 60"))
    page.get_by_role("button", name="Show what changes").click()
    page.get_by_role("heading", name="What this text changes").wait_for()
    page.locator(".changes", has_text="cache").wait_for()
    page.locator("pre .add", has_text="ttl: 60").wait_for()
    page.get_by_label("Why").fill(HOSTILE)
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("generation 2 is in force in every worker").wait_for()
    assert "ttl: 60" in world.gateway.file.read_text()
    page.get_by_text(HOSTILE).first.wait_for()
    page.locator("#history-1 a").click()
    page.get_by_role("heading", name="Entry 1").wait_for()
    page.locator("pre .add", has_text="ttl: 30").wait_for()
    page.get_by_label("Why").fill("it was a mistake")
    page.get_by_role("button", name="Roll back to 1").click()
    page.get_by_text("Rolled back to 1.").wait_for()
    assert "ttl: 60" not in world.gateway.file.read_text()
    assert area.input_value() == before


@needs_chromium
def test_what_somebody_else_applied_meanwhile_is_not_lost(world: World, admin: Visitor) -> None:
    page = admin.go("configuration")
    area = page.get_by_label("The configuration's text")
    before = area.input_value()
    area.fill(before.replace("ttl: 30", "ttl: 90"))
    text = world.gateway.file.read_text()
    world.gateway.file.write_text(text.replace("requests_per_minute: 6", "requests_per_minute: 7"))
    answer = world.ask("POST", "/admin/reload", f"Authorization: Bearer {WRITE}")
    assert answer.status == 200
    page.get_by_role("button", name="Show what changes").click()
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("heading", name="Somebody else changed it meanwhile").wait_for()
    assert "ttl: 90" in area.input_value()
    assert "ttl: 90" not in world.gateway.file.read_text()


@needs_chromium
def test_a_theme_stays_and_a_phone_has_a_menu(admin: Visitor) -> None:
    page, ground = admin.page, "getComputedStyle(document.body).backgroundColor"
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="light")
    admin.go("")
    light = page.evaluate(ground)
    menu = page.get_by_role("button", name="Menu")
    assert menu.get_attribute("aria-expanded") == "false"
    assert not page.get_by_role("link", name="Routes").is_visible()
    menu.press("Enter")
    page.get_by_text("Dark", exact=True).click()
    dark = page.evaluate(ground)
    assert dark != light
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Menu"
    admin.go("routes")
    assert page.evaluate(ground) == dark
