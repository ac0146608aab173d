"""JupyterLab: log in, run cells of a notebook, upload, and keep the kernel when workers are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.application import Application, Lines, Situation
from apps.visit import MEGABYTES_12, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page


def drive(visit: Visit) -> None:
    with visit.page("/api/contents/notebook.ipynb/checkpoints", "/api/me", "/lsp/status", "workspaces") as page:
        page.goto(f"{visit.url}/lab/tree/notebook.ipynb")
        page.locator("#password_input").fill("secret")
        with page.expect_websocket(lambda socket: "/api/kernels/" in socket.url):
            page.locator("#login_submit").click()
        _run_cell(page)
        page.get_by_text("answer 42", exact=True).wait_for()
        if visit.situation is Situation.ROOT:
            visit.replace_workers()
        _run_cell(page)
        page.get_by_text("again 42", exact=True).wait_for()

        with page.expect_file_chooser() as chooser:
            page.get_by_title("Upload Files").or_(
                page.locator("[data-command='filebrowser:upload'], [title^='Upload']")
            ).first.click()
        chooser.value.set_files(MEGABYTES_12)
        page.locator(".jp-DirListing-item", has_text="big.csv").wait_for()


def _run_cell(page: Page) -> None:
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    page.locator(".jp-Notebook").press("Shift+Enter")


_OPTIONS = "--ServerApp.allow_remote_access=True"
_SERVICE = "body_size: 500MiB"

APPLICATION = Application(
    name="jupyterlab",
    title="JupyterLab",
    requirements=("jupyterlab==4.6.6", "jupyter-server==2.21.1", "ipykernel==7.4.0"),
    command="jupyter lab --no-browser --allow-root --port {port} --IdentityProvider.token=secret",
    port=8888,
    drive=drive,
    does="log in, run a cell, run another in the same kernel after workers were replaced, upload 12 MB",
    ready="/api",
    situations={
        Situation.ROOT: Lines(
            "Jupyter refuses any `Host` but a local one with 403 unless `allow_remote_access` is on. Notebooks "
            "are saved whole, pictures and all: over 10 MiB that gets 413 without `body_size`.",
            service=_SERVICE,
            options=_OPTIONS,
        ),
        Situation.PREFIX: Lines(
            "`base_url` is the prefix, which Jupyter has to find in the path: `rewrite: keep`. Without them the "
            "login is at `/login`, outside the prefix.",
            service=_SERVICE,
            route="rewrite: keep",
            options=f"{_OPTIONS} --ServerApp.base_url=/jupyterlab",
        ),
        Situation.TLS: Lines(
            "As at the root of a host. Its cookies are marked `Secure` with `--ServerApp.trust_xheaders=True`.",
            service=_SERVICE,
            options=f"{_OPTIONS} --ServerApp.trust_xheaders=True",
        ),
        Situation.TWO: Lines(
            "Kernels belong to one instance, and so do tokens and cookies, unless both have the same "
            "`JUPYTER_TOKEN` and cookie secret. Without `sticky` half of all requests get 404 or 403.",
            service=f"sticky: {{cookie: auto}}\n{_SERVICE}",
            options=_OPTIONS,
        ),
    },
)
