"""The first policy: it says hello to services and to clients."""

from portico.plugin import Exchange, Policy, ResponseHead


class Hello(Policy):
    """Tells the service where a request comes from, and the client which service answered."""

    def request(self, exchange: Exchange) -> None:
        exchange.upstream_headers.set("X-Hello", f"from {exchange.client_ip}")

    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        head.headers.set("X-Hello", f"from {exchange.service}")
