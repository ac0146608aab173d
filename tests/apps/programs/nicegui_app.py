"""A button that counts, an upload and a download; state of the user."""

import os

from nicegui import app, ui


@ui.page("/")
def index():
    counted = ui.label("counted 0")

    def count():
        number = int(counted.text.split()[1]) + 1
        counted.set_text(f"counted {number}")
        app.storage.user["count"] = number

    ui.button("count", on_click=count)
    size = ui.label("no file")

    async def uploaded(event):
        size.set_text(f"{len(await event.file.read())} bytes")

    ui.upload(on_upload=uploaded, auto_upload=True)
    ui.button("download", on_click=lambda: ui.download(b"y" * 3_000_000, "report.txt"))
    ui.link("second", "/second")


@ui.page("/second")
def second():
    ui.label(f"stored {app.storage.user.get('count', 0)}")


ui.run(
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    show=False,
    reload=False,
    storage_secret="the same in all",
    reconnect_timeout=30,
)
