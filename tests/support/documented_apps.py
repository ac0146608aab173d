"""Services that document themselves: three of FastAPI's, with what usually collides, and a document of OpenAPI 3.0."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel


class Error(BaseModel):
    """The same in all of them."""

    code: int


def orders() -> FastAPI:
    app = FastAPI(title="Orders", version="2.1")

    class Item(BaseModel):
        id: int
        count: int = 1

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/items/{item_id}", responses={404: {"model": Error}})
    def read(item_id: int, detail: bool = False) -> Item:
        return Item(id=item_id, count=5 if detail else 1)

    @app.post("/items", tags=["writing"])
    def create(item: Item) -> Item:
        return item

    return app


def users() -> FastAPI:
    app = FastAPI(title="Users", version="0.9")

    class Item(BaseModel):
        name: str

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/items/{item_id}", responses={404: {"model": Error}})
    def read(item_id: str) -> Item:
        return Item(name=item_id)

    return app


def pages() -> FastAPI:
    """Mounted at `/`, with a way in of its own and a `/health` that is the gateway's there."""
    app = FastAPI(title="Pages")
    token = OAuth2PasswordBearer("token")

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.get("/pages/{path:path}")
    def page(path: str, who: Annotated[str, Depends(token)]) -> str:
        return f"{path} for {who}"

    @app.post("/token")
    def sign_in() -> dict[str, str]:
        return {"access_token": "t", "token_type": "bearer"}

    return app


OLD: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Old", "version": "1"},
    "servers": [{"url": "http://10.1.2.3:8080/context"}],
    "paths": {
        "/stock": {
            "get": {
                "operationId": "stock",
                "parameters": [
                    {
                        "name": "least",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "nullable": True},
                    }
                ],
                "responses": {
                    "200": {
                        "description": "fine",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}},
                    }
                },
            }
        }
    },
    "components": {
        "schemas": {"Item": {"type": "object", "properties": {"name": {"type": "string", "nullable": True}}}}
    },
}
