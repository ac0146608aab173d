"""Stand-in until the branch `redis` is merged."""
def connect(url, *, timeout, connections=8, decode=False):
    import redis.asyncio as r
    return r.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, max_connections=connections, protocol=2)
