"""The applications, in the order of the page."""

from __future__ import annotations

from typing import Final

from .application import Application
from .catalogue import (
    dash,
    datasette,
    django,
    fastapi,
    fastmcp,
    flask,
    flower,
    gradio,
    jupyterlab,
    marimo,
    mlflow,
    nicegui,
    openai,
    panel,
    prefect,
    socketio,
    strawberry,
    streamlit,
    tensorboard,
)

APPLICATIONS: Final[tuple[Application, ...]] = (
    fastapi.APPLICATION,
    flask.APPLICATION,
    django.APPLICATION,
    streamlit.APPLICATION,
    gradio.APPLICATION,
    jupyterlab.APPLICATION,
    marimo.APPLICATION,
    panel.APPLICATION,
    nicegui.APPLICATION,
    dash.APPLICATION,
    datasette.APPLICATION,
    mlflow.APPLICATION,
    tensorboard.APPLICATION,
    prefect.APPLICATION,
    flower.APPLICATION,
    fastmcp.APPLICATION,
    socketio.APPLICATION,
    openai.APPLICATION,
    strawberry.APPLICATION,
)
