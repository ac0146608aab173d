"""A button that counts, an upload and a download."""

import io

import panel as pn

pn.extension()
button = pn.widgets.Button(name="count")
file = pn.widgets.FileInput()
download = pn.widgets.FileDownload(
    callback=lambda: io.BytesIO(b"y" * 3_000_000), filename="report.txt", label="download"
)
pn.Column(
    button,
    pn.bind(lambda clicks: f"counted {clicks}", button.param.clicks),
    file,
    pn.bind(lambda value: f"{len(value or b'')} bytes", file),
    download,
).servable()
