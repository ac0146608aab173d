"""The catalogue: products, posts, and the pages that people see."""

import asyncio
import os

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

INSTANCE = os.environ.get("INSTANCE", "catalogue")

app = FastAPI(title="Catalogue")


@app.get("/", response_class=HTMLResponse)
@app.head("/", response_class=HTMLResponse)
async def front_page(response: Response) -> str:
    response.headers["X-Powered-By"] = "FastAPI"
    return "<h1>Shop</h1>"


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/instance")
async def instance() -> dict[str, str]:
    """Which instance this is."""
    return {"instance": INSTANCE}


@app.get("/products/{number}")
async def product(number: int, response: Response, currency: str = "EUR") -> dict[str, object]:
    if number > 1000:
        raise HTTPException(404, "no such product")
    response.headers["Cache-Control"] = "max-age=60"
    return {"product": number, "currency": currency}


@app.get("/posts/{slug}")
async def post(slug: str, year: int = 0) -> dict[str, object]:
    return {"post": slug, "year": year}


@app.get("/search")
async def search(q: str = "", sort: str = "name") -> dict[str, str]:
    return {"q": q, "sort": sort}


@app.get("/seen")
async def seen(request: Request) -> dict[str, str | None]:
    """What of the request reaches this service."""
    names = ("host", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-site", "cookie")
    return {"path": request.url.path, **{name: request.headers.get(name) for name in names}}


@app.api_route("/checkout", methods=["GET", "POST"])
async def checkout() -> dict[str, str]:
    return {"checkout": "open"}


@app.get("/slow")
async def slow() -> dict[str, str]:
    """A report that takes longer than anybody waits."""
    await asyncio.sleep(10)
    return {"report": "done"}
