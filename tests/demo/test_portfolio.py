"""The portfolio sample: positions come, change and go with the right statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from portico.demo.services.positions import MAX_POSITIONS, Book, PositionIn

Call = Callable[..., httpx.Response]


def position(symbol: str = "SOL-USD", **changes: Any) -> dict[str, Any]:
    return {"symbol": symbol, "quantity": 2, "entry_price": 100} | changes


def test_a_position_from_creation_to_deletion(portfolio_call: Call) -> None:
    created = portfolio_call("POST", "/api/positions", json=position("sol-usd"))
    assert created.status_code == 201
    path = created.headers["location"]
    assert path == "/api/positions/1"
    assert created.json() == {**position(), "price": None, "id": 1, "cost": 200, "value": 200}
    assert portfolio_call("GET", path).json() == created.json()

    replaced = portfolio_call("PUT", path, json=position(price=150))
    assert (replaced.status_code, replaced.json()["value"]) == (200, 300)
    assert portfolio_call("GET", "/api/positions").json() == [replaced.json()]

    deleted = portfolio_call("DELETE", path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert portfolio_call("GET", "/api/positions").json() == []


@pytest.mark.parametrize("prefix", ["/api/portfolio", "/api"])
def test_location_is_the_path_before_the_prefix_was_stripped(portfolio_call: Call, prefix: str) -> None:
    created = portfolio_call("POST", "/api/positions", json=position(), headers={"X-Forwarded-Prefix": prefix})
    assert created.headers["location"] == f"{prefix}/api/positions/1"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_position_is_404(portfolio_call: Call, method: str) -> None:
    body = {"json": position()} if method == "PUT" else {}
    answer = portfolio_call(method, "/api/positions/7", **body)
    assert (answer.status_code, answer.json()) == (404, {"detail": "there is no position 7"})


def test_a_symbol_is_held_by_one_position(portfolio_call: Call) -> None:
    portfolio_call("POST", "/api/positions", json=position())
    portfolio_call("POST", "/api/positions", json=position("ADA-USD"))
    again = portfolio_call("POST", "/api/positions", json=position())
    assert (again.status_code, again.json()["detail"]) == (409, "position 1 already has the symbol SOL-USD")
    assert portfolio_call("PUT", "/api/positions/2", json=position()).status_code == 409
    assert portfolio_call("PUT", "/api/positions/2", json=position("DOT-USD")).status_code == 200
    assert portfolio_call("POST", "/api/positions", json=position("ADA-USD")).status_code == 201


def test_a_full_portfolio_refuses_another_until_one_goes(portfolio_call: Call) -> None:
    for symbol in ("AA", "BB", "CC"):
        assert portfolio_call("POST", "/api/positions", json=position(symbol)).status_code == 201
    full = portfolio_call("POST", "/api/positions", json=position("DD"))
    assert full.status_code == 507
    assert "maximum of 3 positions" in full.json()["detail"]
    portfolio_call("DELETE", "/api/positions/2")
    assert portfolio_call("POST", "/api/positions", json=position("DD")).headers["location"] == "/api/positions/4"


@pytest.mark.parametrize(
    "body", [position("S"), position("A B"), position(quantity=0), position(price=-1), position(entry_price="NaN"), {}]
)
def test_an_unusable_position_is_422(portfolio_call: Call, body: dict[str, Any]) -> None:
    assert portfolio_call("POST", "/api/positions", json=body).status_code == 422


def test_summary(portfolio_call: Call) -> None:
    empty = portfolio_call("GET", "/api/summary").json()
    assert empty == {"positions": 0, "cost": 0, "value": 0, "profit": 0, "profit_share": 0, "weights": {}}
    portfolio_call("POST", "/api/positions", json=position(price=150))
    portfolio_call("POST", "/api/positions", json=position("ADA-USD", quantity=100, entry_price=1))
    assert portfolio_call("GET", "/api/summary").json() == {
        "positions": 2,
        "cost": 300,
        "value": 400,
        "profit": 100,
        "profit_share": pytest.approx(1 / 3),
        "weights": {"SOL-USD": 0.75, "ADA-USD": 0.25},
    }


def test_sums_over_a_full_book_stay_finite() -> None:
    book = Book()
    for number in range(MAX_POSITIONS):
        book.add(PositionIn(symbol=f"S{number}", quantity=1e12, entry_price=1e12))
    assert sum(kept.value for kept in book.all()) == pytest.approx(1e27)
