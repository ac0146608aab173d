"""Portfolio (port 8003): positions kept in memory, and what they are worth together."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from portico.demo.services.positions import (
    Book,
    BookFullError,
    Position,
    PositionIn,
    SymbolTakenError,
    UnknownPositionError,
    example_book,
)
from portico.demo.services.service import sample_service

app = sample_service("portfolio", "Portfolio", "Positions kept in memory, one for each symbol.")
app.state.book = example_book()


class Summary(BaseModel):
    """All positions together; `weights` are shares of the value."""

    positions: int
    cost: float
    value: float
    profit: float
    profit_share: float = Field(description="Profit over cost: 0.05 is 5 %.")
    weights: dict[str, float]


class Refusal(BaseModel):
    """Why a request was refused."""

    detail: str


_REFUSALS: dict[type[Exception], int] = {UnknownPositionError: 404, SymbolTakenError: 409, BookFullError: 507}


async def _refuse(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=_REFUSALS[type(error)])


for _error in _REFUSALS:
    app.add_exception_handler(_error, _refuse)


def _refused(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Refusal} for code in codes}


async def _book(request: Request) -> Book:
    book: Book = request.app.state.book
    return book


CurrentBook = Annotated[Book, Depends(_book)]


@app.get("/api/positions", tags=["portfolio"])
async def list_positions(book: CurrentBook) -> list[Position]:
    """Every position."""
    return book.all()


@app.post("/api/positions", status_code=201, tags=["portfolio"], responses=_refused(409, 507))
async def create_position(new: PositionIn, book: CurrentBook, request: Request, response: Response) -> Position:
    """Opens a position; `Location` is its path as the client sees it."""
    position = book.add(new)
    response.headers["Location"] = request.url_for("read_position", position_id=position.id).path
    return position


@app.get("/api/positions/{position_id}", tags=["portfolio"], responses=_refused(404))
async def read_position(position_id: int, book: CurrentBook) -> Position:
    """One position."""
    return book.get(position_id)


@app.put("/api/positions/{position_id}", tags=["portfolio"], responses=_refused(404, 409))
async def replace_position(position_id: int, new: PositionIn, book: CurrentBook) -> Position:
    """Replaces a position as a whole."""
    return book.replace(position_id, new)


@app.delete("/api/positions/{position_id}", status_code=204, tags=["portfolio"], responses=_refused(404))
async def delete_position(position_id: int, book: CurrentBook) -> None:
    """Closes a position."""
    book.remove(position_id)


@app.get("/api/summary", tags=["portfolio"])
async def summary(book: CurrentBook) -> Summary:
    """What all positions cost and are worth."""
    positions = book.all()
    cost = sum(position.cost for position in positions)
    value = sum(position.value for position in positions)
    return Summary(
        positions=len(positions),
        cost=cost,
        value=value,
        profit=value - cost,
        profit_share=(value - cost) / cost if cost else 0.0,
        weights={position.symbol: position.value / value for position in positions},
    )
