"""Host ports: chosen, and held by a bound socket for as long as they are published.

The firewall does the forwarding; the socket keeps other programs, and other daemons, from using
the port, and makes `ss -ltn` show it. Only TCP to [::] of a container without IPv6 is really
served from the socket, by a small proxy (pier.networks.proxy).
"""

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from pier.errors import Failed, InvalidArgument
from pier.networks.firewall import ANY
from pier.networks.model import Endpoint, PortRequest, PublishedPort
from pier.networks.store import Records

_LOCAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 -- what others have
_ATTEMPTS = 512
_BACKLOG = 128


class CannotPublish(Failed):
    def __init__(self, container: str, endpoint: Endpoint, reason: str) -> None:
        super().__init__(
            "failed to set up container networking: driver failed programming external "
            f"connectivity on endpoint {container} ({endpoint.id}): {reason}"
        )


class InvalidPort(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"invalid port specification: {text!r}")


@dataclass(slots=True)
class Held:
    """Published ports of one container, each with its socket; None if none can be had (SCTP)."""

    ports: dict[PublishedPort, socket.socket | None] = field(default_factory=dict)

    def close(self) -> None:
        for held in self.ports.values():
            if held is not None:
                held.close()
        self.ports.clear()


class _Taken(Exception):
    """A host port that cannot be had, and why."""


class _NotBound(Exception):
    """Why the kernel did not bind a port."""


class HostPorts:
    """Chooses and binds. The rows, by which one's own mappings are known, are the caller's."""

    def __init__(self, records: Records, bind_ip: str) -> None:
        self._records = records
        self._bind_ip = bind_ip
        self._cursor = 0

    def reserve(self, container: str, endpoint: Endpoint, requests: Sequence[PortRequest]) -> Held:
        """Host ports for all of `requests`, or CannotPublish and none."""
        with ExitStack() as undo:
            held = Held()
            undo.callback(held.close)
            for request in requests:
                try:
                    self._reserve(endpoint, request, held)
                except _Taken as taken:
                    raise CannotPublish(container, endpoint, str(taken)) from None
            undo.pop_all()
        return held

    def hold_again(self, ports: Sequence[PublishedPort]) -> tuple[Held, Sequence[PublishedPort]]:
        """Bind what is published already, after a restart; and those somebody else has now."""
        held, lost = Held(), []
        for port in ports:
            try:
                held.ports[port] = _bind(port.protocol, port.host_ip, port.host_port)
            except (_NotBound, OSError):
                lost.append(port)
        return held, lost

    def _reserve(self, endpoint: Endpoint, request: PortRequest, held: Held) -> None:
        """One host port, the same on every address; the first that is free of those allowed."""
        addresses = self._addresses(endpoint, request)
        failure = _Taken("all ports are allocated")
        candidates = self._candidates(request.host_port)
        for number in candidates:
            try:
                held.ports.update(self._bind_all(endpoint, request, addresses, number, held))
            except _Taken as taken:
                failure = taken
                continue
            if not request.host_port:
                self._cursor = number
            return
        raise failure

    def _bind_all(
        self,
        endpoint: Endpoint,
        request: PortRequest,
        addresses: Sequence[str],
        number: int,
        held: Held,
    ) -> dict[PublishedPort, socket.socket | None]:
        holders = self._records.port_holders(request.protocol, number)
        holders |= {
            p.host_ip for p in held.ports if (p.protocol, p.host_port) == (request.protocol, number)
        }
        bound = Held()
        with ExitStack() as undo:
            undo.callback(bound.close)
            for address in addresses:
                if taken := next((h for h in holders if _same_place(address, h)), ""):
                    place = _join(taken if taken in _EVERYWHERE else address, number)
                    raise _Taken(f"Bind for {place} failed: port is already allocated")
                port = PublishedPort(
                    port=request.port,
                    protocol=request.protocol,
                    host_ip=address,
                    host_port=number,
                )
                try:
                    bound.ports[port] = _bind(request.protocol, address, number)
                except _NotBound as error:
                    inside = _join(endpoint.ipv6 if ":" in address else endpoint.ipv4, request.port)
                    place = f"{_join(address, number)}:{inside}/{request.protocol}"
                    raise _Taken(f"failed to bind host port for {place}: {error}") from error
                except OSError as error:
                    if error.errno not in _NO_IPV6 or ":" not in address or request.host_ip:
                        raise
            undo.pop_all()
        return bound.ports

    def _addresses(self, endpoint: Endpoint, request: PortRequest) -> Sequence[str]:
        if request.host_ip:
            try:
                address = ip_address(request.host_ip)
            except ValueError:
                raise InvalidPort(request.host_ip) from None
            if "%" in str(address):
                raise InvalidPort(request.host_ip)
            return [str(address)]
        default = endpoint.network.bind_ip
        default = self._bind_ip if default in ("", *ANY) else default
        if default not in ("", *ANY):
            return [default]
        # Without an IPv6 address only TCP can be served there, by the proxy.
        reachable = endpoint.ipv6 or request.protocol == "tcp"
        return ANY if reachable else ANY[:1]

    def _candidates(self, text: str) -> Iterator[int]:
        if text in ("", "0"):
            first, last = map(int, _LOCAL_RANGE.read_text().split())
            span = last - first + 1
            start = self._cursor + 1 if first <= self._cursor < last else first
            yield from (first + (start - first + n) % span for n in range(min(span, _ATTEMPTS)))
            return
        begin, _, end = text.partition("-")
        try:
            numbers = range(int(begin), int(end or begin) + 1)
        except ValueError:
            raise InvalidPort(text) from None
        if not numbers or numbers[0] < 1 or numbers[-1] > 65535:
            raise InvalidPort(text)
        yield from numbers


def _bind(protocol: str, address: str, number: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    number_of_protocol = socket.IPPROTO_SCTP if protocol == "sctp" else 0
    try:
        bound = socket.socket(family, _KINDS[protocol] | socket.SOCK_CLOEXEC, number_of_protocol)
    except OSError as error:
        if protocol == "sctp":  # a kernel without SCTP sockets can still forward it
            return None
        raise error
    try:
        if protocol == "tcp":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, number))
        if protocol != "udp":
            bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno in _NO_IPV6 and family == socket.AF_INET6:
            raise
        words = (error.strerror or "").lower()
        if error.errno == errno.EADDRNOTAVAIL:
            words = "cannot assign requested address"
        raise _NotBound(words) from error
    return bound


def _same_place(one: str, other: str) -> bool:
    if (":" in one) != (":" in other):
        return False
    return one == other or one in ANY or other in ANY


def _join(address: str, number: int) -> str:
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"
