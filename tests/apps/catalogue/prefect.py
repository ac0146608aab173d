"""Prefect: a flow by its own client, and its run in the browser."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    wrote = visit.client("prefect_user.py")
    run = wrote.rpartition("flow run: ")[2].strip()
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/runs")
        page.get_by_text(run).first.wait_for()


APPLICATION = Application(
    name="prefect",
    title="Prefect",
    requirements=("prefect==3.9.1",),
    command="prefect server start --port {port} --analytics-off",
    port=4200,
    drive=drive,
    does="with its client: a flow with tasks and logs, over HTTP and a WebSocket; in the browser: its run",
    ready="/api/health",
    remark="Two instances need a PostgreSQL that both share, which was not tried.",
    situations={
        Situation.ROOT: Lines(
            "The page asks `http://127.0.0.1:4200/api` unless `PREFECT_SERVER_UI_API_URL` says otherwise; a path "
            "is enough.",
            environment={"PREFECT_SERVER_UI_API_URL": "/api"},
        ),
        Situation.PREFIX: Lines(
            "`PREFECT_SERVER_UI_SERVE_BASE` is the prefix of the page, which Prefect has to find in the path: "
            "`rewrite: keep`. Its API has no such option, so a second route takes the prefix off. "
            "Without them the page is sent on to `/v2/`, outside the prefix. Clients take "
            "`http://example.com/prefect/api` for `PREFECT_API_URL`.",
            route="rewrite: keep",
            more='path: /prefect/api, rewrite: "/api/{path}"',
            environment={"PREFECT_SERVER_UI_API_URL": "/prefect/api", "PREFECT_SERVER_UI_SERVE_BASE": "/prefect"},
        ),
        Situation.TLS: Lines("As at the root of a host.", environment={"PREFECT_SERVER_UI_API_URL": "/api"}),
    },
)
