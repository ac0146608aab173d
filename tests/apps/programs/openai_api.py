"""An API as OpenAI's: completions at once and as a stream, a slow one, files; what it was told to stop is counted."""

import asyncio
import json
import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()
STOPPED = Path(os.environ["SHARED"], "stopped")
"""A character for each stream that was, in whichever instance."""


def completion(text):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice]}


async def words(request, many):
    for number in range(many):
        delta = {"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": f"word{number} "}}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [delta]}
        try:
            yield f"data: {json.dumps(chunk)}\n\n"
            await asyncio.sleep(0.05)
        except (asyncio.CancelledError, GeneratorExit):
            with STOPPED.open("a") as file:
                file.write("x")
            raise
    yield "data: [DONE]\n\n"


@app.post("/v1/chat/completions")
async def chat(request: Request):
    asked = json.loads(await request.body())
    if asked.get("stream"):
        many = 10_000 if asked["model"] == "endless" else 20
        return StreamingResponse(words(request, many), media_type="text/event-stream")
    if asked["model"] == "slow":
        await asyncio.sleep(35)
    return completion(f"{len(asked['messages'][-1]['content'])} characters")


@app.get("/stopped")
def count() -> int:
    return STOPPED.stat().st_size if STOPPED.exists() else 0
