#!/usr/bin/env bash
# JupyterLab 4.6.6 gives up kernels that run: at close codes 1000 and 1001, and at a 502 or 504 while it connects anew.
#
# The page's kernel WebSocket connects anew after 1006 and 1012. After 1000 or 1001 (Going Away, RFC 6455 section 7.4.1:
# "such as a server going down") it never does: the kernel is "Disconnected" until the page is loaded again. If the new
# WebSocket does not open, the page asks /api/kernels/ID for the kernel's state. 503, 424 or no answer at all make it ask
# again; at any other error, so also at the 502 or 504 of a proxy, it says "Kernel died unexpectedly", and gives up.
#
# Source: @jupyterlab/services, src/kernel/default.ts: _onWSClose (since jupyterlab/jupyterlab#18243, so that pages do
# not connect for ever to kernels that were shut down), and getKernelModel in _createSocket; and run it (needs `chromium`).
# Server and page are real; Playwright puts in the close code and the status. It prints what the page made of them, and
# fails if that has changed.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; [ -z "$server" ] || wait "$server" || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --disable-pip-version-check -qq install \
    jupyterlab==4.6.6 jupyter-server==2.21.1 ipykernel==7.4.0 playwright==1.65.2
mkdir notebooks
cat > notebooks/a.ipynb <<'JSON'
{"cells": [], "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
 "nbformat": 4, "nbformat_minor": 5}
JSON
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
HOME=$folder PATH=$folder/venv/bin:$PATH venv/bin/jupyter lab --no-browser --allow-root --ip=127.0.0.1 --port="$port" \
    --ServerApp.port_retries=0 --IdentityProvider.token= --notebook-dir=notebooks >server.log 2>&1 &
server=$!

cat > drive.py <<'PYTHON'
import re
import shutil
import sys
import time
import urllib.request

from playwright.sync_api import sync_playwright

BASE = sys.argv[1]
CHANNELS = re.compile(r"/api/kernels/[^/]+/channels")
DIED = "Kernel died unexpectedly"
EXPECTED = {
    (1000, None): "disconnected",
    (1001, None): "disconnected",
    (1006, None): "connects anew",
    (1012, None): "connects anew",
    (1012, 502): DIED,
    (1012, 504): DIED,
    (1012, 503): "keeps trying",
}


def outcome(browser, code, status):
    """What the page makes of `code`, and, with a `status`, of no new WebSocket and this answer to its question."""
    page = browser.new_page()
    sockets = []

    def connect(socket):
        sockets.append(socket)
        if len(sockets) > 1 and status:
            socket.close(code=1006)
        else:
            socket.connect_to_server()

    page.route_web_socket(CHANNELS, connect)
    page.goto(f"{BASE}/lab/tree/a.ipynb?reset", timeout=90_000)
    indicator = page.locator(".jp-Notebook-ExecutionIndicator")
    for _ in range(60):
        page.wait_for_timeout(1_000)
        if sockets and indicator.count() and indicator.get_attribute("data-status") == "idle":
            break
    if status:
        page.route(re.compile(r"/api/kernels/[^/?]+(\?|$)"), lambda route: route.fulfill(status=status, body=""))
    sockets[-1].close(code=code)
    page.wait_for_timeout(6_000)
    state = indicator.get_attribute("data-status")
    died = page.get_by_text(DIED).count()
    page.close()
    if died or state == "disconnected":
        return DIED if died else state
    if status:
        return "keeps trying" if state == "connecting" else state
    return "connects anew" if len(sockets) > 1 else f"{state}, no new WebSocket"


until = time.monotonic() + 60
while True:
    try:
        urllib.request.urlopen(f"{BASE}/api", timeout=5)
        break
    except OSError:
        if time.monotonic() > until:
            sys.exit("no server: " + open("server.log").read())
        time.sleep(0.2)
with sync_playwright() as playwright:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
    seen = {}
    for code, status in EXPECTED:
        seen[code, status] = outcome(browser, code, status)
        what = f", then no WebSocket and {status} from /api/kernels/ID" if status else ""
        print(f"close code {code}{what}: {seen[code, status]}", flush=True)
    with urllib.request.urlopen(f"{BASE}/api/kernels") as answer:
        print("kernels that the server runs:", len(re.findall('"execution_state": "(?:idle|busy)"', answer.read().decode())))
    browser.close()
sys.exit(seen != EXPECTED)
PYTHON
timeout 400 venv/bin/python drive.py "http://127.0.0.1:$port"
