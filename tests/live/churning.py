"""Two hundred instances that join and leave for half a minute, under load: `PYTHONPATH=tests python -m live.churning`.

Arguments: how many, and for how many seconds.
"""

from __future__ import annotations

import sys
import time

from support.fleet import Fleet, churn, keep_registered
from support.redis_servers import RedisServer
from support.world import Gateway, until


def main(size: int, seconds: float) -> int:
    services = {"orders": {"discover": "redis", "retries": 2}}
    with RedisServer() as server, Fleet() as fleet:
        config = {"gateway": {"redis_url": server.url, "workers": 2}, "services": services}
        with Gateway(config) as one, Gateway(config) as other:
            steady = fleet.member("steady")
            fleet.begin(keep_registered(fleet, server.url, "orders", steady, ttl=2))
            for gateway in (one, other):
                until(lambda gateway=gateway: gateway.get("/api/orders/x").status == 200)  # type: ignore[misc]
            fleet.load([one.port, other.port], "/api/orders/x", clients=8)
            started = time.monotonic()
            members = fleet.run(churn(fleet, server.url, "orders", size, seconds), timeout=seconds + 60)
            took = time.monotonic() - started
            outcomes = fleet.settle()
            attempts = [
                line["attempts"]
                for gateway in (one, other)
                for line in gateway.log()
                if line["path"] == "/api/orders/x"
            ]
            print(f"{len(members)} instances joined and left in {took:.0f} s, {size} at a time")
            print(f"used: {sum(member.served > 0 for member in members)}, tried again: {sum(n > 1 for n in attempts)}")
            print(f"answers: {dict(outcomes)}")
            return 0 if set(outcomes) == {"200"} else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, float(sys.argv[2]) if len(sys.argv) > 2 else 30.0))
