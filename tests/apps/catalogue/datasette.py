"""Datasette: tables, their pages, a query of one's own, data as CSV and JSON."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    with visit.page("/favicon") as page:
        page.goto(f"{visit.url}/")
        page.get_by_role("link", name="items").first.click()
        page.get_by_role("link", name="Next page").click()
        page.get_by_text("item 150", exact=True).wait_for()
        assert page.url.startswith(f"{visit.url}/shop/items?"), page.url

        page.goto(f"{visit.url}/shop?sql=select+count(*)+as+many+from+items")
        page.get_by_text("1000", exact=True).wait_for()

        following = page.evaluate(
            "async url => (await (await fetch(url)).json()).next_url", f"{visit.url}/shop/items.json"
        )
        assert following.startswith(f"{visit.url}/shop/items.json?"), following
        page.goto(f"{visit.url}/shop/items/")
        assert page.url == f"{visit.url}/shop/items", page.url


APPLICATION = Application(
    name="datasette",
    title="Datasette",
    requirements=("datasette==0.65.5",),
    command="sh -c 'python datasette_data.py && exec datasette serve shop.db --port {port} {options}'",
    port=8001,
    drive=drive,
    does="open a table, its next page, a query, `next_url` of JSON, the redirect of a slash too many",
    situations={
        Situation.ROOT: Lines("It needs nothing: its links are right by the client's `Host`."),
        Situation.PREFIX: Lines(
            "The path arrives without its prefix, which `base_url` puts into all links. Without it they lead "
            "outside the prefix.",
            options="--setting base_url /datasette/",
        ),
        Situation.TLS: Lines("It needs nothing: it takes the scheme from `X-Forwarded-Proto`, from this machine."),
        Situation.TWO: Lines("Nothing is kept in one instance: no lines are needed for it."),
    },
)
