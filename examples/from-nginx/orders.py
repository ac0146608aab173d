"""Orders: an API in two versions, and a page for customers that thinks it is at `/`."""

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

app = FastAPI(title="Orders", redirect_slashes=False)


@app.get("/")
@app.head("/")
async def mine(response: Response) -> dict[str, list[int]]:
    response.set_cookie("basket", "b7", path="/")
    return {"orders": [1, 2]}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/login")
async def login() -> Response:
    """Signs in: a cookie below this path, and on to the list."""
    response = RedirectResponse("/?welcome=1", status_code=303)
    response.set_cookie("session", "s1", path="/login")
    return response


@app.get("/away")
async def away() -> Response:
    return RedirectResponse("https://pay.example/now", status_code=302)


@app.get("/item/{name:path}")
async def item(name: str) -> dict[str, str]:
    return {"item": name}


@app.get("/api/v2/orders/{number}")
@app.get("/api/v3/orders/{number}")
async def order(number: int, request: Request) -> dict[str, object]:
    if number == 0:
        raise HTTPException(404, "no such order")
    return {"order": number, "version": request.url.path.split("/")[2]}


@app.post("/api/v2/orders")
@app.post("/api/v3/orders")
async def create(request: Request) -> Response:
    body = await request.body()
    return JSONResponse({"created": len(body)}, status_code=201, headers={"Location": "/orders/9"})


@app.delete("/api/v2/orders/{number}")
async def cancel(number: int) -> Response:  # noqa: ARG001
    return Response(status_code=204)
