"""A GraphQL API of Strawberry's, by gql: queries and a subscription; and its page, GraphiQL."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    visit.client("strawberry_user.py")


APPLICATION = Application(
    name="strawberry",
    title="Strawberry",
    requirements=(
        "strawberry-graphql==0.341.2",
        "gql[aiohttp,websockets]==4.4.0",
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
    ),
    command="uvicorn strawberry_api:app --port {port}",
    port=8000,
    drive=drive,
    does="with gql: queries, one of 9 MB, and a subscription over a WebSocket",
    ready="/graphql",
    situations={
        Situation.ROOT: Lines("It needs nothing."),
        Situation.PREFIX: Lines(
            "It needs nothing: clients use the one address that they were given, and so does its page, GraphiQL."
        ),
        Situation.TLS: Lines("It needs nothing."),
        Situation.TWO: Lines("A subscription is one WebSocket, and nothing else is kept: no lines are needed for it."),
    },
)
