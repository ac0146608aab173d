"""uvicorn on a free port, which the service can read: `python -m support.serve APP WORKERS [ROOT_PATH]`.

APP is one of orders.py, or of the module that stands before its colon.
"""

from __future__ import annotations

import os
import socket
import sys

import uvicorn
from uvicorn.supervisors import Multiprocess


def main(app: str, workers: int, root_path: str = "") -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    os.environ["PORTICO_SERVICE_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    name = app if ":" in app else f"support.orders:{app}"
    config = uvicorn.Config(name, workers=workers, log_config=None, ws="websockets-sansio", root_path=root_path)
    print("port", listener.getsockname()[1], flush=True)
    server = uvicorn.Server(config)
    if workers > 1:
        Multiprocess(config, [listener]).run()
    else:
        server.run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
