"""Where the gateway listens, and the moment before it no longer does."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys

import pytest

from portico.config import GatewaySettings
from portico.processes.ipc.listeners import ListenError, Listeners, address_of, open_listener, turn_away, unavailable


def settings(**written: object) -> GatewaySettings:
    return GatewaySettings.model_validate({"host": "127.0.0.1", "port": 0, **written})


@pytest.mark.skipif(sys.platform != "linux", reason="a packet filter of Linux's")
def test_behind_the_filter_no_handshake_begins_and_those_begun_complete() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        before = socket.create_connection(listener.getsockname())
        turn_away(listener)
        late = socket.socket()
        late.setblocking(False)
        assert late.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        assert select.select([], [late], [], 0)[1] == [], "loopback would have connected it by now"
        accepted, _ = listener.accept()
        accepted.sendall(b"x")
        assert before.recv(1) == b"x"
        with pytest.raises(BlockingIOError):
            listener.accept()
        for each in (before, late, accepted):
            each.close()


def test_what_is_accepted_sends_small_pieces_at_once() -> None:
    """Else the second piece of a response would wait 40 ms for whoever delays acknowledging the first."""
    with open_listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_admin_address_that_nobody_wrote_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(GatewaySettings, "admin_address", other.getsockname())
        listeners = Listeners.open(settings())
        assert listeners.admin is None
        assert "GATEWAY_ADMIN" in listeners.admin_problem
        listeners.close()


def test_one_that_somebody_wrote_may_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenError, match="GATEWAY_ADMIN"):
        Listeners.open(settings(admin=address_of(other)))


def test_port_0_picks_a_free_one() -> None:
    listeners = Listeners.open(settings(admin="127.0.0.1:0"))
    assert listeners.admin is not None
    assert not address_of(listeners.admin).endswith(":0")
    listeners.close()
    listeners.close_admin()


def test_the_remedy_fits_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=r"in use; stop what uses it, or set GATEWAY_PORT to another port$"):
            open_listener("127.0.0.1", port)
    with pytest.raises(
        ListenError, match=r"; this machine has no such address, and 0\.0\.0\.0 or :: are all"
    ) as caught:
        open_listener("192.0.2.1", port)
    assert "port" not in str(caught.value).replace("GATEWAY", "")


def several(*listen: dict[str, object]) -> GatewaySettings:
    written = [{"host": "127.0.0.1", **each} for each in listen]
    return GatewaySettings.model_validate({"listen": written, "admin": "127.0.0.1:0"})


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_what_a_reload_wants_is_listened_on_by_the_sockets_that_are_there() -> None:
    listeners = Listeners.open(several({"name": "a", "port": 0}, {"name": "b", "port": 0}))
    a, b = listeners.gateway
    with contextlib.closing(listeners), socket.create_server(("127.0.0.1", 0)) as other:
        same, problems = listeners.following(several({"name": "a", "port": 0}, {"name": "b", "port": 0}))
        assert problems == []
        assert [each.manner for each in same.gateway] == [a.manner, b.manner]
        port = port_of(b.own)
        renamed, problems = listeners.following(several({"name": "c", "port": port}))
        assert problems == []
        assert [(each.key, each.own) for each in renamed.gateway] == [("c", b.own)]
        taken = other.getsockname()[1]
        kept, problems = listeners.following(several({"name": "a", "port": taken}, {"name": "d", "port": taken}))
        assert [each.manner for each in kept.gateway] == [a.manner], "it stays where it is; the new one is left out"
        moved, _ = listeners.following(several({"name": "a", "port": taken}, {"name": "b", "port": port_of(a.own)}))
        assert [(each.key, each.own) for each in moved.gateway] == [("b", a.own)], "no two at one socket"
        said = [problem.partition(": ")[0] for problem in problems]
        assert said == [f"cannot listen on 127.0.0.1:{taken} (listener {name})" for name in "ad"]
    listeners.close_admin()


def test_what_cannot_be_listened_on_is_known_beforehand() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as own:
        taken, port = (each.getsockname()[1] for each in (other, own))
        wanted = several({"name": "a", "port": port}, {"name": "b", "port": taken}, {"name": "c", "port": 0})
        (problem,) = unavailable(wanted, [("127.0.0.1", port)])
        assert problem.endswith("Address already in use; stop what uses it, or give it another port")
        (problem, _) = unavailable(wanted, [("0.0.0.0", port)])
        assert problem.endswith("or restart the gateway, which listens there at another host now")
