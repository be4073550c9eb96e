"""Ports as images write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.containers.exposed import parse_exposed


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [(80, "tcp")]),
        ("53/UDP", [(53, "udp")]),
        ("8000-8002/tcp", [(8000, "tcp"), (8001, "tcp"), (8002, "tcp")]),
    ],
)
def test_ports_and_ranges(text: str, ports: list[tuple[int, str]]) -> None:
    assert list(parse_exposed([text])) == ports


@pytest.mark.parametrize(
    "text", ["", "x", "0", "99999/tcp", "9-8", "80/icmp", "80/tcp\n", "-1", "80-", "\u0663"]
)
def test_anything_else_is_left_out(text: str) -> None:
    assert [str(port) for port in parse_exposed([text, "80"])] == ["80/tcp"]


@given(st.text())
def test_any_text_is_ports_or_nothing(text: str) -> None:
    assert all(0 < port.number < 65536 for port in parse_exposed([text]))
