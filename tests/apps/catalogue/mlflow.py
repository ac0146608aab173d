"""MLflow: runs and artifacts by its own client, experiments in the browser."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    experiment, run = visit.client("mlflow_user.py").rpartition("run: ")[2].split()
    with visit.page("/favicon", "/mlflow/users/current") as page:
        page.goto(f"{visit.url}/#/experiments/{experiment}/runs/{run}")
        page.get_by_text("first", exact=True).first.wait_for()
        page.get_by_text("loss", exact=True).first.wait_for()
        answer = page.goto(f"{visit.url}/health")
        assert answer is not None
        assert answer.text() == "OK", answer.text()


_LARGE = "body_size: 1GiB"
_OWN_HEALTH = 'path: "= /health", hosts: [mlflow.example.com]'
_OPTIONS = "--allowed-hosts {host} --cors-allowed-origins {origin}"

APPLICATION = Application(
    name="mlflow",
    title="MLflow",
    requirements=("mlflow==3.17.2",),
    command="sh -c 'exec mlflow server --port {port} --workers 1 --backend-store-uri sqlite:///$SHARED/runs.db "
    "--artifacts-destination $SHARED/artifacts {options}'",
    environment={"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    port=5000,
    drive=drive,
    does="with its client: a run, metrics, an artifact of 12 MB up and down; in the browser: the run and its "
    "metric; its `/health`",
    ready="/version",
    situations={
        Situation.ROOT: Lines(
            "MLflow refuses a `Host` that it does not know with 403, and each POST of a page whose origin it "
            "does not know. Artifacts over 10 MiB get 413 without `body_size`. The second route gives it "
            "its own `/health`, which is the gateway's otherwise.",
            service=_LARGE,
            more=_OWN_HEALTH,
            options=_OPTIONS,
        ),
        Situation.PREFIX: Lines(
            "`--static-prefix` is the prefix, which MLflow has to find in the path: `rewrite: keep`. Without "
            "them the page asks for its files outside the prefix, and stays empty. "
            "Clients take `http://example.com/mlflow` for `MLFLOW_TRACKING_URI`.",
            service=_LARGE,
            route="rewrite: keep",
            options=f"{_OPTIONS} --static-prefix /mlflow",
        ),
        Situation.TLS: Lines(
            "As at the root of a host; the origin is `https://…`.", service=_LARGE, more=_OWN_HEALTH, options=_OPTIONS
        ),
        Situation.TWO: Lines(
            "Both have the same store (a database) and artifacts: no lines are needed for it.",
            service=_LARGE,
            more=_OWN_HEALTH,
            options=_OPTIONS,
        ),
    },
)
