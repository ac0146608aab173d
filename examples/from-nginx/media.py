"""Media: uploads, pictures, a feed that is dear to make, and a live channel."""

from itertools import count

from fastapi import FastAPI, Request, Response, WebSocket

app = FastAPI(title="Media")
made = count(1)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/upload")
@app.post("/avatar")
async def upload(request: Request) -> dict[str, int]:
    return {"bytes": len(await request.body())}


@app.get("/image/{name}/{width}")
async def image(name: str, width: int) -> Response:
    return Response(f"{name} at {width}", media_type="image/png", headers={"Cache-Control": "public, max-age=86400"})


@app.get("/feed")
async def feed(tag: str = "") -> dict[str, object]:
    """Counts how often it was made."""
    return {"tag": tag, "made": next(made)}


@app.get("/files/{name}")
async def file(name: str) -> Response:
    return Response(name, media_type="text/plain", headers={"Content-Disposition": f'attachment; filename="{name}"'})


@app.websocket("/live")
async def live(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
