"""A service as people write them with FastAPI, and what its requests look like."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Body, Cookie, FastAPI, Header, Path, Query
from pydantic import AnyUrl, BaseModel, ConfigDict, Field

app = FastAPI()


class Colour(Enum):
    red = "red"
    blue = "blue"


class Level(IntEnum):
    low = 1
    high = 2


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Everything(BaseModel):
    """Every kind of field."""

    number: int = Field(default=1, ge=-10, le=1000)
    ratio: float | None = None
    price: Decimal | None = None
    flag: bool = False
    text: str = Field(default="a", min_length=1, max_length=20)
    code: str | None = Field(default=None, pattern=r"^[a-z]{2,5}$")
    when: datetime | None = None
    day: date | None = None
    hour: time | None = None
    span: timedelta | None = None
    key: UUID | None = None
    four: IPv4Address | None = None
    six: IPv6Address | None = None
    url: AnyUrl | None = None
    colour: Colour | None = None
    level: Level | None = None
    numbers: list[int] = Field(default=[], max_length=5)
    names: set[str] = Field(default=set(), max_length=3)
    pair: tuple[int, str] | None = None
    by_name: dict[str, float] = {}
    by_number: dict[int, str] = {}
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: int | str | None = None
    node: Node | None = None
    anything: Any = None
    step: float | None = Field(default=None, multiple_of=0.1)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    count: int = Field(gt=0)


@app.post("/everything")
def everything(body: Everything) -> str:
    return "taken"


@app.post("/strict")
def strict(body: Strict) -> str:
    return "taken"


@app.post("/maybe")
def maybe(body: Strict | None = None) -> str:
    return "taken"


@app.post("/several")
def several(first: Annotated[int, Body()] = 1, second: Annotated[str, Body()] = "b") -> str:
    return "taken"


@app.post("/list")
def numbers(body: list[int]) -> str:
    return "taken"


@app.post("/text")
def text(body: Annotated[str, Body()]) -> str:
    return "taken"


@app.post("/raw")
def raw(body: Annotated[bytes, Body(media_type="application/octet-stream")]) -> str:
    return "taken"


@app.get("/query")
def query(
    number: int,
    ratio: float | None = None,
    flag: bool = False,
    when: datetime | None = None,
    day: date | None = None,
    key: UUID | None = None,
    colour: Colour | None = None,
    level: Level | None = None,
    page: Annotated[int, Query(ge=1, le=100)] = 1,
    many: Annotated[list[int], Query()] = [],  # noqa: B006
    words: Annotated[set[str] | None, Query(max_length=3)] = None,
    code: Annotated[str | None, Query(pattern="^[a-z]+$", min_length=2)] = None,
    either: int | str | None = None,
) -> str:
    return "taken"


@app.get("/path/{number}/{key}/{colour}")
def in_path(number: Annotated[int, Path(ge=0)], key: UUID, colour: Colour) -> str:
    return "taken"


@app.get("/header")
def header(
    x_number: Annotated[int, Header()],
    x_many: Annotated[list[int] | None, Header()] = None,
    user_agent: Annotated[str | None, Header()] = None,
    x_request_id: Annotated[str, Header()] = "",
) -> str:
    return "taken"


@app.get("/cookie")
def cookie(session: Annotated[int, Cookie()], theme: Annotated[Literal["dark", "light"], Cookie()] = "dark") -> str:
    return "taken"
