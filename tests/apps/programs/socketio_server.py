"""A server of Socket.IO that answers events and remembers who has come, with the page of one of its clients."""

import socketio

server = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(server)
seen = {}


@server.event
async def connect(sid, environ):
    seen[sid] = 0


@server.event
async def count(sid, data):
    seen[sid] += 1
    await server.emit("counted", seen[sid], to=sid)
    return f"{data} {seen[sid]}"
