"""A gateway as one writes it on the first day: every request has a client, and so a TLS context, of its own.

Arguments: the port, the service's URL, the secret of the tokens, the file of the access log.
"""

import json
import logging
import sys
import time
from collections import defaultdict, deque
from typing import Annotated, Any

import httpx
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

PORT, SERVICE, SECRET, LOG = sys.argv[1:]
PER_MINUTE = 1_000_000  # no request of the benchmark is refused

app = FastAPI()
log = logging.getLogger("access")
recent: defaultdict[str, deque[float]] = defaultdict(deque)


def consumer(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> dict[str, Any]:
    """The claims of a valid token."""
    try:
        claims: dict[str, Any] = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "invalid token") from error
    return claims


def limit(request: Request) -> None:
    """Counts the requests of an address in the last minute."""
    times, now = recent[address(request)], time.time()
    while times and times[0] < now - 60:
        times.popleft()
    if len(times) >= PER_MINUTE:
        raise HTTPException(429, "too many requests")
    times.append(now)


def address(request: Request) -> str:
    """The consumer."""
    return request.client.host if request.client else ""


@app.api_route(
    "/api/bench/{path:path}",
    methods=["GET", "POST", "PUT", "DELETE"],
    dependencies=[Depends(limit), Depends(consumer)],
)
async def forward(path: str, request: Request) -> Response:
    """Asks the service and waits for all of its answer."""
    began = time.time()
    fields = {name: value for name, value in request.headers.items() if name != "host"}
    async with httpx.AsyncClient() as client:
        answer = await client.request(
            request.method,
            f"{SERVICE}/{path}",
            params=request.query_params,
            headers=fields,
            content=await request.body(),
            timeout=30,
        )
    entry = {
        "method": request.method,
        "path": request.url.path,
        "client_ip": address(request),
        "status_code": answer.status_code,
        "duration_ms": round((time.time() - began) * 1000, 2),
        "timestamp": began,
    }
    log.info(json.dumps(entry))
    return Response(answer.content, answer.status_code, dict(answer.headers))


if __name__ == "__main__":
    log.addHandler(logging.FileHandler(LOG))
    log.setLevel(logging.INFO)
    uvicorn.run(app, host="127.0.0.1", port=int(PORT), access_log=False, log_level="warning")
