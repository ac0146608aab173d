"""FastMCP: tools by its own client, in both forms of the protocol."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    visit.client("fastmcp_user.py")


APPLICATION = Application(
    name="fastmcp",
    title="FastMCP",
    requirements=("fastmcp==4.2.3", "mcp==2.3.0"),
    command="python fastmcp_server.py",
    environment={"PORT": "{port}"},
    port=8000,
    drive=drive,
    does="four clients at once list tools, call them and get progress, by the protocol of 2026 and by that with "
    "sessions; the redirect from `/mcp/`",
    ready="/mcp",
    situations={
        Situation.ROOT: Lines("It needs nothing."),
        Situation.PREFIX: Lines("It needs nothing: the client uses the one address that it was given."),
        Situation.TLS: Lines("It needs nothing."),
        Situation.TWO: Lines(
            "Clients that begin with `initialize` get a session in one instance, named by `Mcp-Session-Id`. "
            "Without `sticky.issued` "
            'about half of their requests get 404, "Session not found". In the protocol of 2026 there are none.',
            service="sticky: {issued: Mcp-Session-Id}",
        ),
    },
)
