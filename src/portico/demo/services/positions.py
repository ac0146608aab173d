"""Positions, and the book in memory that keeps them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, computed_field

MAX_POSITIONS = 1000

# The upper bounds keep the sum over a full book a finite float.
Amount = Annotated[float, Field(gt=0, le=1e12)]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{2,12}(-[A-Za-z0-9]{2,12})?$", to_upper=True)]


class PositionIn(BaseModel):
    """A position as a client writes it; without `price` it is worth what it cost."""

    symbol: Symbol = Field(examples=["SOL-USD"])
    quantity: Amount = Field(examples=[12.5])
    entry_price: Amount = Field(description="Paid for one unit.", examples=[140])
    price: Amount | None = Field(default=None, description="What one unit is worth now.", examples=[155])


class Position(PositionIn):
    """A position as it is kept."""

    id: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cost(self) -> float:
        """What was paid for it."""
        return self.quantity * self.entry_price

    @computed_field  # type: ignore[prop-decorator]
    @property
    def value(self) -> float:
        """What it is worth now."""
        return self.quantity * (self.entry_price if self.price is None else self.price)


class UnknownPositionError(Exception):
    """No position has the id."""


class SymbolTakenError(Exception):
    """Another position has the symbol."""


class BookFullError(Exception):
    """There is no room for another position."""


class Book:
    """At most `capacity` positions, found by id; no two have the same symbol."""

    def __init__(self, capacity: int = MAX_POSITIONS) -> None:
        self.capacity = capacity
        self._positions: dict[int, Position] = {}
        self._ids: dict[str, int] = {}
        self._last_id = 0

    def all(self) -> list[Position]:
        """Every position, in order of creation."""
        return list(self._positions.values())

    def get(self, position_id: int) -> Position:
        """The position with that id; raises UnknownPositionError."""
        try:
            return self._positions[position_id]
        except KeyError:
            raise UnknownPositionError(f"there is no position {position_id}") from None

    def add(self, new: PositionIn) -> Position:
        """Keeps `new` under the next id; raises SymbolTakenError or BookFullError."""
        self._refuse_taken(new.symbol, by_other_than=None)
        if len(self._positions) >= self.capacity:
            raise BookFullError(f"the portfolio holds its maximum of {self.capacity} positions; delete one first")
        self._last_id += 1
        return self._keep(self._last_id, new)

    def replace(self, position_id: int, new: PositionIn) -> Position:
        """Replaces a position by `new`; raises UnknownPositionError or SymbolTakenError."""
        old = self.get(position_id)
        self._refuse_taken(new.symbol, by_other_than=position_id)
        del self._ids[old.symbol]
        return self._keep(position_id, new)

    def remove(self, position_id: int) -> None:
        """Forgets a position, whose id is not used again; raises UnknownPositionError."""
        del self._ids[self.get(position_id).symbol]
        del self._positions[position_id]

    def _refuse_taken(self, symbol: str, by_other_than: int | None) -> None:
        holder = self._ids.get(symbol)
        if holder is not None and holder != by_other_than:
            raise SymbolTakenError(f"position {holder} already has the symbol {symbol}")

    def _keep(self, position_id: int, new: PositionIn) -> Position:
        position = Position(id=position_id, **new.model_dump())
        self._positions[position_id] = position
        self._ids[position.symbol] = position_id
        return position


def example_book() -> Book:
    """A book with two positions, so that there is something to read."""
    book = Book()
    book.add(PositionIn(symbol="BTC-USD", quantity=0.5, entry_price=42000, price=51000))
    book.add(PositionIn(symbol="ETH-USD", quantity=4, entry_price=2600, price=2450))
    return book
