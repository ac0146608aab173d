"""A callback, an upload and a download."""

import base64

from dash import Dash, Input, Output, State, dcc, html

app = Dash(__name__)
app.layout = html.Div(
    [
        html.Button("count", id="count"),
        html.Div(id="counted"),
        dcc.Upload("choose", id="upload", max_size=-1),
        html.Div(id="size"),
        html.Button("download", id="ask"),
        dcc.Download(id="download"),
    ]
)


@app.callback(Output("counted", "children"), Input("count", "n_clicks"))
def count(clicks):
    return f"counted {clicks or 0}"


@app.callback(Output("size", "children"), Input("upload", "contents"), State("upload", "filename"))
def size(contents, name):
    return f"{name}: {len(base64.b64decode(contents.partition(',')[2]))} bytes" if contents else ""


@app.callback(Output("download", "data"), Input("ask", "n_clicks"), prevent_initial_call=True)
def download(clicks):
    return {"content": "y" * 3_000_000, "filename": "report.txt"}


server = app.server
