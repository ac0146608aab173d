"""A service with its documentation, a login by OAuth 2, a form that uploads, a redirect and a WebSocket."""

from typing import Annotated

from fastapi import Depends, HTTPException, UploadFile, WebSocket
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from fastapi_offline import FastAPIOffline  # Swagger UI from here, in place of a CDN

app = FastAPIOffline(title="Shop")
token_of = OAuth2PasswordBearer(tokenUrl="token")

FORM = """<title>upload</title>
<form method=post enctype=multipart/form-data action=upload><input type=file name=file><button>send</button></form>"""
CHAT = """<title>chat</title><input id=text><ul id=log></ul><script>
const url = new URL("echo", location); url.protocol = url.protocol.replace("http", "ws");
let socket;
const connect = () => {
  socket = new WebSocket(url);
  socket.onopen = () => document.title = "connected";
  socket.onmessage = event => log.append(Object.assign(document.createElement("li"), {textContent: event.data}));
  socket.onclose = event => { document.title = `closed ${event.code}`; setTimeout(connect, 300); };
};
connect();
text.onchange = () => socket.send(text.value);
</script>"""


@app.post("/token")
def token(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    if form.password != "secret":
        raise HTTPException(401)
    return {"access_token": form.username, "token_type": "bearer"}


@app.get("/me")
def me(user: Annotated[str, Depends(token_of)]) -> dict[str, str]:
    return {"user": user}


@app.get("/items/")
def items() -> list[str]:
    return ["apple", "pear"]


@app.get("/form", response_class=HTMLResponse)
def form() -> str:
    return FORM


@app.post("/upload")
async def upload(file: UploadFile) -> RedirectResponse:
    return RedirectResponse(app.url_path_for("uploaded", size=str(len(await file.read()))), 303)


@app.get("/uploaded/{size}", response_class=HTMLResponse)
def uploaded(size: int) -> str:
    return f"<title>{size} bytes</title>"


@app.get("/chat", response_class=HTMLResponse)
def chat() -> str:
    return CHAT


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"echo of {text}")
