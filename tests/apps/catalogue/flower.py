"""Flower, over Celery: a task is sent by its API, and seen in the browser."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import WITHIN, Visit
from support.waiting import until

_SEND = """
async url => (await (await fetch(url, {method: "POST", body: JSON.stringify({args: [4]})})).json())["task-id"]
"""
_STATE = "async ([url, task]) => (await (await fetch(url)).json())[task]?.state"


def drive(visit: Visit) -> None:
    with visit.page("/favicon", "/api/task/info/") as page:
        page.goto(f"{visit.url}/")
        page.get_by_text("celery@").first.wait_for(timeout=2 * WITHIN * 1000)
        task = page.evaluate(_SEND, f"{visit.url}/api/task/async-apply/flower_tasks.double")
        tasks = f"{visit.url}/api/tasks"
        until(lambda: page.evaluate(_STATE, [tasks, task]) == "SUCCESS", "the task has been run", WITHIN)
        page.get_by_role("link", name="Tasks").click()
        page.wait_for_url(f"{visit.url}/tasks")
        page.get_by_text("flower_tasks.double").first.wait_for()
        page.get_by_role("link", name=task).click()
        page.get_by_text("SUCCESS").first.wait_for()
        assert page.url == f"{visit.url}/task/{task}", page.url


APPLICATION = Application(
    name="flower",
    title="Flower",
    requirements=("flower==2.2.0", "celery==5.7.0"),
    command="sh -c 'celery -A flower_tasks worker -E --pool solo & exec celery -A flower_tasks flower "
    "--port={port} {options}'",
    environment={"FLOWER_UNAUTHENTICATED_API": "true"},
    port=5555,
    drive=drive,
    does="see a worker, send it a task by the API, see what came of the task",
    remark="Two instances were not tried: each remembers by itself what workers have told it.",
    situations={
        Situation.ROOT: Lines("It needs nothing."),
        Situation.PREFIX: Lines(
            "`--url-prefix` is the prefix, which Flower has to find in the path: `rewrite: keep`. Without them "
            "its page asks for its files outside the prefix.",
            route="rewrite: keep",
            options="--url-prefix=flower",
        ),
        Situation.TLS: Lines("It needs nothing."),
    },
)
