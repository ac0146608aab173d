"""The dashboard as an application before the admin API: sign-in, pages, actions, streams."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from portico.config.admin import Callers
from portico.processes.control.admin.guard import stranger
from portico.processes.control.dashboard.api import Api, ApiError, credentials
from portico.processes.control.dashboard.flashes import Flashes
from portico.processes.control.dashboard.forms import SMALL, FormError, read_form
from portico.processes.control.dashboard.history import Figures, History
from portico.processes.control.dashboard.page import Context, Done, Page, Visit
from portico.processes.control.dashboard.pages import GROUPS, PAGES
from portico.processes.control.dashboard.prefixes import start_page
from portico.processes.control.dashboard.pulse import pulse
from portico.processes.control.dashboard.rendering import rendered, static_file
from portico.processes.control.dashboard.sessions import Session, Sessions, is_right
from portico.processes.control.state import State

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_FIELDS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # no-referrer would have browsers send `Origin: null` with forms
    "Cache-Control": "no-store",
}
_FOR_EVER: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=31536000, immutable"}
_FRAGMENT: Final = "portico-fragment"
"""The field of our script's requests: `page`, or `pulse` for the head of a page alone."""
_STREAMS: Final = {"events": "/admin/events", "exchanges": "/admin/exchanges"}
_TO: Final = re.compile(r"[a-z-]*(?:\?[^#\s\\]*)?")
_OWN_SITE: Final = ("", "same-origin", "none")
_OLD_FORM: Final = (
    "This page was made before the gateway's control process was restarted, or by somebody else: try again."
)


class Dashboard:
    """Answers `/` for browsers and what is below `/dashboard`; all else goes to `admin`, the admin API with its guard.

    `is_local` says that only this machine can connect.
    """

    def __init__(self, admin: ASGIApp, state: State, *, is_local: bool) -> None:
        self._admin = admin
        self._state = state
        self._is_local = is_local
        self._sessions = Sessions()
        self._flashes = Flashes()
        self._history = History(self._figures)
        self._app = Starlette(
            routes=[
                Route("/dashboard", lambda _: _to("dashboard/")),
                Route("/dashboard/sign-in", self._sign_in, methods=["GET", "POST"]),
                Route("/dashboard/sign-out", self._sign_out, methods=["POST"]),
                Route("/dashboard/static/{name}", _static),
                Route("/dashboard/{name}", self._page, methods=["GET", "POST"]),
                Route("/dashboard/", self._page, methods=["GET", "POST"]),
            ],
            exception_handlers={
                FormError: lambda _, error: self._problem(400, str(error)),
                ClientDisconnect: lambda *_: self._problem(400, "The form was cut off."),  # nobody reads this
            },
        )
        self._app.router.redirect_slashes = False  # it would be to whatever Host names, without the prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._admin
        if scope["type"] == "http":
            path = scope["path"]
            if path == "/" and scope["method"] in ("GET", "HEAD") and _is_browser(scope):
                app = _to(start_page(Headers(scope=scope).get("x-forwarded-prefix", "")))
            elif path.startswith("/dashboard/stream/"):
                app = self._stream(scope)
            elif path == "/dashboard" or path.startswith("/dashboard/"):
                app = self._refusal(scope) or self._app
        await app(scope, receive, send)

    def _callers(self) -> Callers:
        """The admin tokens in force, if any."""
        return self._state.config.gateway.admin_callers

    def _title(self) -> str:
        return self._state.config.gateway.title

    # ---- who comes

    def _refusal(self, scope: Scope) -> Response | None:
        """As the guard of the API refuses; but for `Origin`, which proxies and their clients see differently.

        In its place stand the token in each form, cookies that no other site's page sends, and `Sec-Fetch-Site`.
        """
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1:
            return self._problem(400, "more than one Host")
        if not self._callers():
            refusal = stranger(headers, headers.get("host", ""), is_local=self._is_local)
            if refusal is not None:
                return self._problem(403, _detail(refusal))
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site", "") not in _OWN_SITE:
            return self._problem(403, "a page of another site may not use the dashboard")
        return None

    def _session(self, request: Request) -> Session | None:
        callers = self._callers()
        return self._sessions.find(callers, request.cookies) if callers else self._sessions.local()

    async def _sign_in(self, request: Request) -> Response:
        to = request.query_params.get("to", "")
        to = to if _TO.fullmatch(to) and to != "sign-in" else ""
        if not self._callers():
            return _to(to or "./")
        if request.method != "POST":
            return self._signing_in(to)
        form = await read_form(request, SMALL)
        if not is_right(form.text("csrf"), self._sessions.anonymous()):
            return self._signing_in(to, _OLD_FORM, 403)
        cookie = self._sessions.begin(self._callers(), form.text("token"))
        if cookie is None:
            self._audit_refused(request)
            return self._signing_in(to, "This is none of the gateway's admin tokens.", 403)
        answer = _to(to or "./", 303)
        answer.headers["Set-Cookie"] = f"{cookie}; HttpOnly; SameSite=Strict{_secure(request)}"
        return answer

    def _audit_refused(self, request: Request) -> None:
        """A sign-in that was refused; one that was not has changed nothing yet."""
        request.scope["state"] = {}
        self._state.audit.record(request, "sign in", "the dashboard")
        self._state.audit.answered(request.scope, 403)

    def _signing_in(self, to: str, problem: str = "", status: int = 200) -> Response:
        context = {"title": self._title(), "csrf": self._sessions.anonymous(), "to": to, "problem": problem}
        return _html(rendered("sign-in.html", context), status)

    async def _sign_out(self, request: Request) -> Response:
        session = self._session(request)
        answer = _to("sign-in", 303)
        if session is None:
            return answer
        if not is_right((await read_form(request)).text("csrf"), session.csrf):
            return self._problem(403, _OLD_FORM)
        if name := self._sessions.end(session):
            answer.headers["Set-Cookie"] = f"{name}=; Max-Age=0; HttpOnly; SameSite=Strict{_secure(request)}"
        return answer

    # ---- pages

    async def _page(self, request: Request) -> Response:
        name = request.path_params.get("name", "")
        page = PAGES.get(name)
        if page is None:
            return self._problem(404, f"There is no page {name}.")
        session = self._session(request)
        if session is None:
            if _FRAGMENT in request.headers:
                return _html("signed out", 401)
            query = f"?{request.url.query}" if request.url.query else ""
            return _to("sign-in" + (f"?to={quote(name + query, safe='')}" if name or query else ""), 303)
        if page.samples:
            self._history.visit()
        visit = Visit(session, Api(self._admin, session, request.client), self._history, request.query_params)
        return await (self._act if request.method == "POST" else self._show)(request, page, visit)

    async def _show(
        self, request: Request, page: Page, visit: Visit, more: Context | None = None, status: int = 200
    ) -> Response:
        """The page, or the part of it that our script asks for."""
        part = request.headers.get(_FRAGMENT, "")
        context: Context = {"page": page, "part": part, "me": visit.session.caller, "csrf": visit.session.csrf}
        context |= {"title": self._title(), "groups": GROUPS, "pages": PAGES, "query": visit.query}
        context |= {"pulse": await pulse(visit), "history": self._history, "form": visit.form}
        context["is_live"] = page.is_live and more is None  # what came of a form is seen once
        if part != "pulse":
            try:
                shown = await page.show(visit)
                context |= {**shown, "is_live": context["is_live"] and shown.get("is_live", True)}
            except ApiError as error:
                context |= {"problem": str(error), "is_empty": True}
        if not part:
            context["flash"] = self._flashes.take(visit.session.id)
        return _html(rendered(page.template, {**context, **(more or {})}), status)

    async def _act(self, request: Request, page: Page, visit: Visit) -> Response:
        """Do what a form asks for: then the page is loaded anew, unless there is something to be seen but once."""
        visit.form = form = await read_form(request)
        if not is_right(form.text("csrf"), visit.session.csrf):
            return await self._show(request, page, visit, {"problem": _OLD_FORM}, 403)
        act = page.actions.get(form.text("do"))
        if act is None:
            return await self._show(request, page, visit, {"problem": "The form names no action."}, 400)
        try:
            done = await act(visit)
        except ApiError as error:
            visit.forget()
            return await self._show(request, page, visit, {"problem": str(error), **_changes(error)}, error.status)
        visit.forget()
        if not isinstance(done, Done):
            return await self._show(request, page, visit, done)
        self._flashes.put(visit.session.id, done.text, is_warning=done.is_warning)
        query = request.url.query if done.query is None else done.query
        return _to(page.address + (f"?{query}" if query else ""), 303)

    def _problem(self, status: int, text: str) -> Response:
        return _html(rendered("problem.html", {"title": self._title(), "status": status, "problem": text}), status)

    # ---- what goes on

    def _stream(self, scope: Scope) -> ASGIApp:
        """The admin API's stream of that name, for who is signed in."""
        refusal = self._refusal(scope)
        if refusal is not None:
            return refusal
        session = self._session(Request(scope))
        if session is None:
            return _html("signed out", 401)
        path = _STREAMS.get(scope["path"].removeprefix("/dashboard/stream/"))
        if path is None or scope["method"] != "GET":
            return self._problem(404, "There is no such stream.")
        kept = [(name, value) for name, value in scope["headers"] if name in (b"accept", b"last-event-id")]
        headers = [(b"host", b"localhost"), *kept, *credentials(session).items()]
        scope.update({"path": path, "raw_path": path.encode(), "headers": headers})
        return self._admin

    async def _figures(self) -> Figures | None:
        """A sample; no token of a caller is needed for what this process asks itself."""
        callers = self._callers()
        token, caller = callers[0] if callers else (None, self._sessions.local().caller)
        try:
            return await Api(self._admin, Session("", caller, token, "")).get("/admin/live")
        except ApiError:
            return None


def _is_browser(scope: Scope) -> bool:
    return "text/html" in Headers(scope=scope).get("accept", "")


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=_FIELDS)


def _to(address: str, status: int = 307) -> Response:
    return Response(status_code=status, headers={"Location": address, "Cache-Control": "no-store", "Vary": "Accept"})


def _secure(request: Request) -> str:
    """A proxy may speak TLS before us; who lies about it harms but the own cookie."""
    schemes = request.url.scheme, request.headers.get("x-forwarded-proto", "").lower()
    return "; Secure" if "https" in schemes else ""


def _detail(refusal: Response) -> str:
    return str(msgspec.json.decode(refusal.body)["detail"])


def _changes(error: ApiError) -> Mapping[str, object]:
    """What a refusal says beside its words: where the problems are, or what has changed meanwhile."""
    return {"refused": error.document, "refused_status": error.status}


async def _static(request: Request) -> Response:
    try:
        content, kind = static_file(request.path_params["name"])
    except KeyError:
        return Response(status_code=404)
    return Response(content, headers={**_FOR_EVER, "Content-Type": kind})
