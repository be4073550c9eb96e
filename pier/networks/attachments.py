"""Containers on networks: bring up, take down, adopt after a restart, connect and disconnect live.

Rows come first when going up and go first when coming down; what follows from them, sandbox,
interfaces, sockets, firewall elements, is found by them or dies with the descriptors kept here.
Callers hold the container's lock, so for one container these never overlap.
"""

import asyncio
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from pier.errors import Conflict, Failed, Forbidden
from pier.networks import bridge, ipam, proxy, sandbox, sysctls
from pier.networks.bridge import BridgeMissing
from pier.networks.claims import Claims, check_connect, dns_names
from pier.networks.devices import Devices
from pier.networks.directory import View
from pier.networks.flows import Flows
from pier.networks.model import (
    Endpoint,
    EndpointRequest,
    Network,
    NetworkSettings,
    PortRequest,
    Resolving,
    Sandbox,
    SandboxRequest,
    gateway_order,
)
from pier.networks.pool import SandboxPool
from pier.networks.ports import CannotPublish, Held, HostPorts
from pier.networks.sandbox import Namespace
from pier.networks.store import Directories, Records
from pier.networks.table import Table

if TYPE_CHECKING:
    from pier.networks.dns import NameServer

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """What is used of pier.events.Events."""

    def publish(
        self, kind: str, action: str, id_: str, attributes: Mapping[str, str] | None = None
    ) -> None: ...


class NotConnected(Forbidden):
    def __init__(self, container: str, network: str) -> None:
        super().__init__(f"container {container} is not connected to network {network}")


class AlreadyUp(Conflict):
    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} has a sandbox already; take it down first")


class NoSandbox(Failed):
    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} has no sandbox: it is not running")


@dataclass(slots=True)
class _Running:
    """What the daemon itself holds of a running container's networking."""

    namespace: Namespace | None = None
    held: Held = field(default_factory=Held)
    proxies: list[asyncio.Server] = field(default_factory=list)
    names: "NameServer | None" = None


class Attachments:
    """All containers' endpoints. `pool` and `table` are open; Networks owns them."""

    def __init__(
        self,
        settings: NetworkSettings,
        records: Records,
        events: Publisher,
        pool: SandboxPool,
        table: Table,
        devices: Devices,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._records = records
        self._events = events
        self._pool = pool
        self._table = table
        self._devices = devices
        self._tasks = tasks
        self._claims = Claims(records)
        self._flows = Flows()
        self._directories = Directories(records)
        self._ports = HostPorts(records, settings.bind_ip)
        self._running: dict[str, _Running] = {}

    async def bring_up(self, request: SandboxRequest, networks: Mapping[str, Network]) -> Sandbox:
        """A sandbox with its endpoints, ports and names; or an error, and nothing of it."""
        if request.container_id in self._running:
            raise AlreadyUp(request.container_id)
        if self._records.endpoints(request.container_id):
            await self.take_down(request.container_id)  # a crash left them
        running = self._running[request.container_id] = _Running()
        try:
            if any(r.ipv4 or r.ipv6 or r.mac_address for r in request.endpoints.values()):
                await self._pool.swept()  # the address may have been a neighbour's a moment ago
            endpoints = self._claims.claim(request, networks)
            if any(network.driver == "host" for network in networks.values()):
                return Sandbox(container_id=request.container_id, endpoints=tuple(endpoints))
            running.namespace = await self._pool.take(
                with_veth=any(endpoint.interface for endpoint in endpoints)
            )
            await self._furnish(running.namespace, endpoints, request)
            await self._publish(running, request.name, endpoints, request.ports)
            await self._serve_names(running, endpoints)
        except BaseException:
            await self.take_down(request.container_id)
            raise
        for endpoint in endpoints:
            self._tell("connect", endpoint)
        return Sandbox(
            container_id=request.container_id,
            netns_fd=running.namespace.fd,
            netns_path=running.namespace.path,
            endpoints=tuple(endpoints),
        )

    async def take_down(self, container_id: str) -> None:
        """Free everything the container has of networks; any number of times."""
        running = self._running.pop(container_id, None)
        with self._records.transaction():
            endpoints = self._records.endpoints(container_id)
            forwards = self._records.forwards(container_id)
            self._records.delete_endpoints(container_id)
        if running is not None:
            self._release(running)
        if forwards:
            await self._table.delete(forwards)
            self._flows.forget(forwards)
        for endpoint in endpoints:
            self._tell("disconnect", endpoint)

    async def adopt(self, container_id: str, pid: int) -> None:
        """Take a running container's networking in hand again, after a restart of the daemon.

        Raises OSError if process `pid` has ended.
        """
        endpoints = self._records.endpoints(container_id)
        running = self._running.setdefault(container_id, _Running())
        if running.namespace is None and not any(e.network.driver == "host" for e in endpoints):
            running.namespace = await _in_thread(sandbox.of_process, pid, endpoints)
        running.held, lost = self._ports.hold_again(self._records.ports(container_id))
        for port in lost:
            _log.warning(
                "container %s: host port %s/%s is in use by another program",
                *(container_id, port.host_port, port.protocol),
            )
        await self._start_proxies(running, endpoints)
        await self._serve_names(running, endpoints)

    async def connect(
        self, request: SandboxRequest, network: Network, wanted: EndpointRequest
    ) -> Endpoint:
        """Attach a running container to one more network."""
        namespace = self._namespace(request.container_id)
        present = self._records.endpoints(request.container_id)
        check_connect(request.name, network, present)
        ipam.check_request(network, wanted)
        await self._pool.swept()
        with self._records.transaction():
            taken = {endpoint.interface for endpoint in present}
            endpoint = self._claims.claim_one(request, network, wanted, taken)
        try:
            await self._furnish(namespace, [endpoint], request, present)
        except (OSError, sysctls.SysctlRefused):
            self._records.delete_endpoint(endpoint.id)
            await _in_thread(sandbox.detach, namespace, endpoint)
            raise
        running, endpoints = self._running[request.container_id], [*present, endpoint]
        await self._serve_names(running, endpoints)
        if not running.held.ports:  # none of the networks before had a way out
            await self._publish(running, request.name, endpoints, request.ports)
        self._tell("connect", endpoint)
        return endpoint

    async def disconnect(self, container_id: str, name: str, network: Network) -> None:
        """Detach a running container from one of its networks. Its ports there are published
        no more."""
        endpoints = self._records.endpoints(container_id)
        left = [endpoint for endpoint in endpoints if endpoint.network.id != network.id]
        gone = next((e for e in endpoints if e.network.id == network.id), None)
        if gone is None:
            raise NotConnected(name, network.name)
        before = self._records.forwards(container_id)
        self._records.delete_endpoint(gone.id)
        await self._unpublish(container_id, before)
        running = self._running.get(container_id)
        if running is not None and running.namespace is not None and gone.interface:
            await _in_thread(sandbox.detach, running.namespace, gone)
            await _in_thread(sandbox.set_ways_out, running.namespace, left)
            await self._serve_names(running, left)
        self._tell("disconnect", gone)

    def rename(self, request: SandboxRequest) -> None:
        for endpoint in self._records.endpoints(request.container_id):
            names = dns_names(request, endpoint.network, endpoint.request)
            self._records.update_endpoint(replace(endpoint, dns_names=names))

    def namespace(self, container_id: str) -> Sandbox:
        """The running container's sandbox, for another that shares it."""
        held = self._namespace(container_id)
        return Sandbox(
            container_id=container_id,
            netns_fd=held.fd,
            netns_path=held.path,
            endpoints=tuple(self._records.endpoints(container_id)),
        )

    async def close(self) -> None:
        """Let go of all sockets and descriptors. Containers keep what is theirs."""
        await self._flows.close()
        for running in self._running.values():
            self._close_sockets(running)
            if running.namespace is not None:
                running.namespace.veths.clear()  # they stay up: the container runs on
                self._pool.let_go(running.namespace)
        self._running.clear()

    # Carrying out, and undoing

    async def _furnish(
        self,
        namespace: Namespace,
        endpoints: Sequence[Endpoint],
        request: SandboxRequest,
        present: Sequence[Endpoint] = (),
    ) -> None:
        try:
            await _in_thread(self._equip, namespace, endpoints, request, present)
        except BridgeMissing as missing:
            _log.warning("%s: it is made again", missing)
            for endpoint in endpoints:
                await self._devices.mend(endpoint.network)
            await _in_thread(self._equip, namespace, endpoints, request, present)

    def _equip(
        self,
        namespace: Namespace,
        endpoints: Sequence[Endpoint],
        request: SandboxRequest,
        present: Sequence[Endpoint],
    ) -> None:
        """Raises BridgeMissing before anything is done."""
        bridge.check_present(endpoint.network for endpoint in endpoints)
        for endpoint in endpoints:
            if endpoint.interface:
                sandbox.attach(
                    namespace, endpoint, self._settings.bridge, hairpin=bool(request.ports)
                )
                own = ipam.endpoint_sysctls(endpoint.request, endpoint.interface)
                sysctls.apply(namespace, own)
        sandbox.set_ways_out(namespace, [*present, *endpoints])
        sysctls.apply(namespace, sysctls.of_networks(request.sysctls))

    async def _publish(
        self,
        running: _Running,
        name: str,
        endpoints: Sequence[Endpoint],
        requests: Sequence[PortRequest],
    ) -> None:
        outward = [e for e in gateway_order(endpoints) if e.gateway4 or e.gateway6]
        if not requests or not outward:
            return
        endpoint = outward[0]
        running.held = self._ports.reserve(name, endpoint, requests)
        # No await between the look at the rows in reserve() and this.
        with self._records.transaction():
            for port in running.held.ports:
                self._records.insert_port(endpoint.id, port)
        try:
            await self._table.add(self._records.forwards(endpoint.container_id))
        except OSError as error:
            raise CannotPublish(name, endpoint, str(error)) from error
        self._flows.forget(self._records.forwards(endpoint.container_id))
        await self._start_proxies(running, endpoints)

    async def _unpublish(self, container_id: str, before: Sequence[object]) -> None:
        """Rows of ports have gone with their endpoint: let the rest follow."""
        kept = self._records.forwards(container_id)
        if len(kept) == len(before):
            return
        ports = set(self._records.ports(container_id))
        running = self._running.get(container_id)
        if running is not None:
            for port in set(running.held.ports) - ports:
                if held := running.held.ports.pop(port):
                    held.close()
            for server in running.proxies:
                server.close()
            running.proxies.clear()
        await self._table.rewrite()

    async def _start_proxies(self, running: _Running, endpoints: Sequence[Endpoint]) -> None:
        """Serve by proxy what the firewall cannot: ::1, and the family the container lacks."""
        ordered = gateway_order(endpoints)
        ipv4 = next((e.ipv4 for e in ordered if e.ipv4), "")
        address = ipv4 or next((e.ipv6 for e in ordered if e.ipv6), "")
        for port, held in running.held.ports.items():
            beyond = ":" in port.host_ip or not ipv4
            if held is not None and port.protocol == "tcp" and address and beyond:
                held.setblocking(False)
                running.proxies.append(await proxy.serve(held, address, port.port))

    async def _serve_names(self, running: _Running, endpoints: Sequence[Endpoint]) -> None:
        """Have 127.0.0.11 answer, once there is a network whose containers have names."""
        named = [endpoint for endpoint in endpoints if endpoint.network.serves_names]
        if running.namespace is None or not named:
            return
        if running.names is None:
            # With the first container that has names: dnspython takes 2 MB, and 50 ms.
            await asyncio.to_thread(importlib.import_module, "pier.networks.dns")
            from pier.networks.dns import NameServer

            container_id = named[0].container_id
            running.names = await NameServer.start(
                running.namespace.fd, lambda: self._view(container_id), self._tasks
            )

    def _view(self, container_id: str) -> View:
        """What the container's DNS knows right now."""
        endpoints = self._records.endpoints(container_id)
        named = [endpoint for endpoint in endpoints if endpoint.network.serves_names]
        resolving = endpoints[0].resolving if endpoints else Resolving()
        links = [link.partition(":") for e in named for link in e.request.links]
        return View(
            directories=[self._directories.of(endpoint.network) for endpoint in named],
            links={(alias or name).lower(): name.lower() for name, _, alias in links},
            servers=resolving.servers or self._settings.dns,
            options=resolving.options or self._settings.dns_options,
            goes_out=any(not endpoint.network.spec.internal for endpoint in endpoints),
        )

    def _release(self, running: _Running) -> None:
        self._close_sockets(running)
        if running.namespace is not None:
            self._pool.let_go(running.namespace)

    def _close_sockets(self, running: _Running) -> None:
        for server in running.proxies:
            server.close()
        running.held.close()
        if running.names is not None:
            running.names.close()

    def _namespace(self, container_id: str) -> Namespace:
        running = self._running.get(container_id)
        if running is None or running.namespace is None:
            raise NoSandbox(container_id)
        return running.namespace

    def _tell(self, action: str, endpoint: Endpoint) -> None:
        network = endpoint.network
        self._events.publish(
            "network",
            action,
            network.id,
            {"container": endpoint.container_id, "name": network.name, "type": network.driver},
        )


async def _in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """asyncio.to_thread, whose end is waited for even if the caller is cancelled.

    The thread uses descriptors; they must not be closed, and their numbers used again, meanwhile.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, partial(work, *arguments, **named))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
