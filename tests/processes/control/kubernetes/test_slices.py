"""Which endpoints of EndpointSlices become instances, and where."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from portico.config import KubernetesService
from portico.processes.control.kubernetes.slices import PortError, Slice, entries
from support.api_server import endpoint, endpoint_slice


def urls(*slices: dict[str, Any], **settings: Any) -> list[str]:
    decoded = [msgspec.convert(each, Slice) for each in slices]
    return [entry.url for entry in entries("a", KubernetesService(**settings), decoded)]


@pytest.mark.parametrize(
    ("conditions", "is_used"),
    [
        ({}, True),  # unknown ones count as ready
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False, "serving": True}, False),
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"serving": True}, True),
    ],
)
def test_conditions(conditions: dict[str, bool], is_used: bool) -> None:
    endpoints = [endpoint("10.0.0.1"), {**endpoint("10.0.0.2"), "conditions": conditions}]
    found = urls(endpoint_slice("s", "a", endpoints, {"": 80}))
    assert found == ["http://10.0.0.1", *(["http://10.0.0.2"] if is_used else [])]


def test_those_that_end_are_used_while_there_is_no_other() -> None:
    ending = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    dead = endpoint("10.0.0.2", ready=False, serving=False, terminating=True)
    assert urls(endpoint_slice("s", "a", [ending, dead], {"http": 8000})) == ["http://10.0.0.1:8000"]


def test_null_is_written_where_there_is_nothing() -> None:
    """As the controller writes the slice of a Service without pods."""
    assert urls(endpoint_slice("s", "a", None, None)) == []
    nothing = {**endpoint_slice("s", "a", [endpoint("10.0.0.1")], {"http": 80}), "ports": None}
    assert urls(nothing) == []
    assert urls(nothing, port=8000) == ["http://10.0.0.1:8000"]
    anything = {**nothing, "ports": [{"name": "", "port": None}]}
    assert urls(anything, port=8000) == ["http://10.0.0.1:8000"]
    null_conditions = {**endpoint("10.0.0.1"), "conditions": None}
    assert urls(endpoint_slice("s", "a", [null_conditions], {"http": 80})) == ["http://10.0.0.1"]


def test_a_pod_of_two_families_is_one_instance_at_the_one_that_is_ready() -> None:
    four = endpoint_slice(
        "4", "a", [endpoint("10.0.0.1", pod="x"), endpoint("10.0.0.2", pod="y", ready=False)], {"h": 80}
    )
    six = endpoint_slice("6", "a", [endpoint("fd00::1", pod="x"), endpoint("fd00::2", pod="y")], {"h": 80}, "IPv6")
    assert urls(six, four, scheme="https") == ["https://10.0.0.1:80", "https://[fd00::2]:80"]


def test_ports() -> None:
    one = endpoint_slice("1", "a", [endpoint("10.0.0.1", "10.9.9.9")], {"app1": 3000, "metrics": 9})
    two = endpoint_slice("2", "a", [endpoint("10.0.0.2")], {"app2": 3000})
    udp = endpoint_slice("3", "a", [endpoint("10.0.0.3")], {"dns": 53})
    udp["ports"][0]["protocol"] = "UDP"
    assert urls(one, two, udp, port="app1") == ["http://10.0.0.1:3000"]
    assert urls(one, two, udp, port=3000) == ["http://10.0.0.1:3000", "http://10.0.0.2:3000"]
    assert urls(two, udp) == ["http://10.0.0.2:3000"]
    for port, said in [(None, "several ports"), ("http", "no port http"), (80, "no port 80"), ("dns", "no port dns")]:
        with pytest.raises(PortError, match=rf"{said}: write.*app1 \(3000\), metrics \(9\), app2 \(3000\)$"):
            urls(one, two, udp, port=port)


@pytest.mark.parametrize("port", [-1, 0, 65_536, 1 << 40])
def test_a_port_that_is_none_is_left_out(port: int) -> None:
    slices = (
        endpoint_slice("s", "a", [endpoint("10.0.0.1")], {"": 80}),
        endpoint_slice("t", "a", [endpoint("10.0.0.2")], {"": port}),
    )
    assert urls(*slices) == ["http://10.0.0.1"]


@pytest.mark.parametrize("address", ["nowhere", "fe80::1%eth0", "", "10.0.0.1:80"])
def test_what_is_no_address_is_left_out(address: str) -> None:
    assert urls(endpoint_slice("s", "a", [endpoint(address)], {"http": 80})) == []
