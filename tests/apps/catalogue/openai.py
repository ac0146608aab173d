"""An API as OpenAI's, before which the official client stands: vLLM, llama.cpp, LiteLLM and others are such."""

from __future__ import annotations

from apps.application import Application, Lines, Situation
from apps.visit import Visit


def drive(visit: Visit) -> None:
    visit.client("openai_user.py", *(["slow"] if visit.situation is Situation.ROOT else []))


_SERVICE = "timeout: {response: 10m, idle: 10m}\nbody_size: 100MiB"
_WHY = (
    "Models take their time: without `timeout` an answer that begins after 30 s becomes 504, and the client asks twice "
    "more by itself. Pictures are in the request, as base64: over 10 MiB that gets 413 without `body_size`."
)

APPLICATION = Application(
    name="openai",
    title="An API as OpenAI's",
    requirements=("openai==3.57.0", "fastapi==0.165.0", "uvicorn==0.54.0"),
    command="uvicorn openai_api:app --port {port}",
    port=8000,
    drive=drive,
    does="with the official client and a small API in place of a model: an answer at once, one after 35 s, a "
    "stream, one that the client closes and the service stops, a request of 12 MB",
    ready="/stopped",
    situations={
        Situation.ROOT: Lines(_WHY, service=_SERVICE),
        Situation.PREFIX: Lines("`base_url` of clients is `http://example.com/openai/v1`.", service=_SERVICE),
        Situation.TLS: Lines("As at the root of a host.", service=_SERVICE),
        Situation.TWO: Lines("Each request stands alone: no lines are needed for it.", service=_SERVICE),
    },
)
