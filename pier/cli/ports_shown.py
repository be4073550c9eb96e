"""The ports of a container in one line: `0.0.0.0:8000-8002->80-82/tcp, 443/tcp`. Pure.

Ports of one protocol and host address that follow each other are shown as a range.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Port = dict[str, Any]  # {IP, PrivatePort, PublicPort, Type}


def format_ports(ports: Iterable[Port]) -> str:
    """Return the ports as `ps` shows them."""
    groups: dict[tuple[str, str], list[list[int]]] = {}
    order: list[tuple[str, str]] = []
    lone: list[str] = []
    for port in sorted(ports, key=_sort_key):
        private, public = port.get("PrivatePort", 0), port.get("PublicPort", 0)
        kind, address = port.get("Type", "tcp"), port.get("IP", "")
        if address and public != private:
            lone.append(f"{_host(address)}:{public}->{private}/{kind}")
            continue
        key = (address, kind)
        ranges = groups.setdefault(key, [])
        if key not in order:
            order.append(key)
        if ranges and ranges[-1][1] + 1 == private:
            ranges[-1][1] = private
        elif not ranges or ranges[-1][1] != private:
            ranges.append([private, private])
    shown = [_range(key, first, last) for key in order for first, last in groups[key]]
    return ", ".join(shown + lone)


def _sort_key(port: Port) -> tuple[int, str, int, str]:
    private, public = port.get("PrivatePort", 0), port.get("PublicPort", 0)
    return private, port.get("IP", ""), public, port.get("Type", "")


def _range(key: tuple[str, str], first: int, last: int) -> str:
    address, kind = key
    inside = str(first) if first == last else f"{first}-{last}"
    return f"{_host(address)}:{inside}->{inside}/{kind}" if address else f"{inside}/{kind}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
