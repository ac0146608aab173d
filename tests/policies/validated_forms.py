"""The same with forms, for which FastAPI needs python-multipart."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, File, Form, UploadFile
from pydantic import BaseModel

app = FastAPI()


class Login(BaseModel):
    user: str
    age: int = 0
    tags: list[str] = []


@app.post("/form")
def form(user: Annotated[str, Form()], age: Annotated[int, Form()] = 0, tags: Annotated[list[int], Form()] = []) -> str:  # noqa: B006
    return "taken"


@app.post("/model-form")
def model_form(body: Annotated[Login, Form()]) -> str:
    return "taken"


@app.post("/optional-form")
def optional_form(user: Annotated[str, Form()] = "x") -> str:
    return "taken"


@app.post("/upload")
def upload(file: UploadFile, note: Annotated[str, Form()] = "") -> str:
    return "taken"


@app.post("/bytes")
def upload_bytes(file: Annotated[bytes, File()]) -> str:
    return "taken"
