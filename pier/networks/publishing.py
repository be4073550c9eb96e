"""Published ports of running containers: on the host, in the firewall and by proxy.

They lead to the endpoint that is the container's way out, and follow when that changes. A port
that was chosen once stays the same as long as the container runs.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pier.networks import proxy
from pier.networks.firewall import Forward
from pier.networks.flows import Flows
from pier.networks.model import Endpoint, PortRequest, PublishedPort, SandboxRequest, gateway_order
from pier.networks.ports import CannotPublish, Held, HostPorts
from pier.networks.store import Records
from pier.networks.table import Table


@dataclass(slots=True)
class Published:
    """What the daemon holds for one container: sockets, and proxies that serve from some."""

    held: Held = field(default_factory=Held)
    proxies: list[asyncio.Server] = field(default_factory=list)

    def close(self) -> None:
        """Proxies first: the event loop must forget their sockets before these are closed, or it
        takes the next descriptor of the same number for one of them."""
        for server in self.proxies:
            server.close()
        self.proxies.clear()
        self.held.close()


class Publishing:
    def __init__(self, records: Records, table: Table, bind_ip: str) -> None:
        self._records = records
        self._table = table
        self._ports = HostPorts(records, bind_ip)
        self._flows = Flows()

    async def publish(
        self,
        published: Published,
        name: str,
        endpoints: Sequence[Endpoint],
        requests: Sequence[PortRequest],
    ) -> None:
        """What a container asks for, if one of `endpoints` leads out. Raises CannotPublish."""
        endpoint = _way_out(endpoints)
        if not requests or endpoint is None:
            return
        published.held = self._ports.reserve(name, endpoint, requests)
        # No await between the look at the rows in reserve() and this.
        with self._records.transaction():
            for port in published.held.ports:
                self._records.insert_port(endpoint.id, port)
        forwards = self._records.forwards(endpoint.container_id)
        try:
            await self._table.add(forwards)
        except OSError as error:
            raise CannotPublish(name, endpoint, str(error)) from error
        self._flows.forget(forwards)
        await self._start_proxies(published, endpoints)

    async def follow(
        self, published: Published, request: SandboxRequest, endpoints: Sequence[Endpoint]
    ) -> None:
        """Have the ports where the way out is now, that is `endpoints`. Raises CannotPublish."""
        endpoint = _way_out(endpoints)
        holder = self._records.publishing_endpoint(request.container_id)
        if not (request.ports or holder) or (endpoint is not None and endpoint.id == holder):
            return
        before = self._records.ports(request.container_id)
        forwards = self._records.forwards(request.container_id)
        self._records.delete_ports(request.container_id)
        published.close()
        await self.withdraw(forwards)
        requests = _as_before(request.ports, before)
        await self.publish(published, request.name, endpoints, requests)

    async def withdraw(self, forwards: Sequence[Forward]) -> None:
        """What has no rows any more leaves the firewall, and the flows through it end."""
        if forwards:
            await self._table.delete(forwards)
            self._flows.forget(forwards)

    async def adopt(
        self, published: Published, container_id: str, endpoints: Sequence[Endpoint]
    ) -> Sequence[PublishedPort]:
        """Hold a running container's ports again; those that somebody else has by now."""
        published.held, lost = self._ports.hold_again(self._records.ports(container_id))
        await self._start_proxies(published, endpoints)
        return lost

    async def close(self) -> None:
        await self._flows.close()

    async def _start_proxies(self, published: Published, endpoints: Sequence[Endpoint]) -> None:
        """Serve by proxy what the firewall cannot: ::1, and the family the container lacks."""
        ordered = gateway_order(endpoints)
        ipv4 = next((e.ipv4 for e in ordered if e.ipv4), "")
        address = ipv4 or next((e.ipv6 for e in ordered if e.ipv6), "")
        for port, held in published.held.ports.items():
            beyond = ":" in port.host_ip or not ipv4
            if held is not None and port.protocol == "tcp" and address and beyond:
                held.setblocking(False)
                published.proxies.append(await proxy.serve(held, address, port.port))


def _way_out(endpoints: Sequence[Endpoint]) -> Endpoint | None:
    return next((e for e in gateway_order(endpoints) if e.gateway4 or e.gateway6), None)


def _as_before(
    requests: Sequence[PortRequest], before: Sequence[PublishedPort]
) -> list[PortRequest]:
    """`requests` with the host ports they had."""
    left = {(p.port, p.protocol, p.host_port) for p in before}
    kept = []
    for request in requests:
        had = next(
            (p for p in before if _answers(p, request) and (*_inner(p), p.host_port) in left), None
        )
        if had is None:
            kept.append(request)
            continue
        left.discard((*_inner(had), had.host_port))
        kept.append(replace(request, host_port=str(had.host_port)))
    return kept


def _inner(port: PublishedPort) -> tuple[int, str]:
    return port.port, port.protocol


def _answers(port: PublishedPort, request: PortRequest) -> bool:
    """Whether `port` may be what came of `request`."""
    first, _, last = request.host_port.partition("-")
    chosen = first not in ("", "0")
    return (
        (port.port, port.protocol) == (request.port, request.protocol)
        and (not request.host_ip or port.host_ip == request.host_ip)
        and (not chosen or int(first) <= port.host_port <= int(last or first))
    )
