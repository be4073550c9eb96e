"""Containers on networks: bring up, take down, adopt after a restart, connect and disconnect live.

Rows come first when going up and go first when coming down; what follows from them, sandbox,
interfaces, sockets, firewall elements, is found by them or dies with the descriptors kept here.
Callers hold the container's lock, so for one container these never overlap.
"""

import asyncio
import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from pier.errors import Conflict, Failed, Forbidden
from pier.networks import bridge, ipam, sandbox, sysctls
from pier.networks.bridge import BridgeMissing
from pier.networks.claims import Claims, check_connect, dns_names
from pier.networks.devices import Devices
from pier.networks.directory import View, links_by_alias
from pier.networks.model import (
    Endpoint,
    EndpointRequest,
    Network,
    NetworkSettings,
    Resolving,
    Sandbox,
    SandboxRequest,
)
from pier.networks.pool import SandboxPool
from pier.networks.ports import CannotPublish
from pier.networks.publishing import Published, Publishing
from pier.networks.sandbox import Namespace
from pier.networks.store import Directories, Records
from pier.networks.table import Table
from pier.threads import blocking

if TYPE_CHECKING:
    from pier.networks.dns import NameServer


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
    published: Published = field(default_factory=Published)
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
        self._devices = devices
        self._tasks = tasks
        self._claims = Claims(records)
        self._directories = Directories(records)
        self._publishing = Publishing(records, table, settings.bind_ip)
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
            await self._publishing.publish(
                running.published, request.name, endpoints, request.ports
            )
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
        await self._publishing.withdraw(forwards)
        for endpoint in endpoints:
            self._tell("disconnect", endpoint)

    async def adopt(self, container_id: str, pid: int, sockets: Sequence[int]) -> None:
        """Take a running container's networking in hand again, after a restart of the daemon.

        sockets: its DNS's, as `name_sockets` gave them; they are copied. Raises OSError if process
        `pid` has ended.
        """
        endpoints = self._records.endpoints(container_id)
        running = self._running.setdefault(container_id, _Running())
        if running.namespace is None and not any(e.network.driver == "host" for e in endpoints):
            running.namespace = await blocking(sandbox.of_process, pid, endpoints)
        for port in await self._publishing.adopt(running.published, container_id, endpoints):
            _log.warning(
                "container %s: host port %s/%s is in use by another program",
                *(container_id, port.host_port, port.protocol),
            )
        await self._serve_names(running, endpoints, sockets)

    def name_sockets(self, container_id: str) -> Sequence[int]:
        """The sockets of a container's DNS, for who outlives the daemon to hold copies of."""
        running = self._running.get(container_id)
        return running.names.sockets if running is not None and running.names is not None else ()

    async def connect(
        self, request: SandboxRequest, network: Network, wanted: EndpointRequest
    ) -> Endpoint:
        """Attach a running container to one more network. It may be the better way out: then
        published ports lead there."""
        namespace = self._namespace(request.container_id)
        present = self._records.endpoints(request.container_id)
        check_connect(request.name, network, present)
        ipam.check_request(network, wanted)
        await self._pool.swept()
        with self._records.transaction():
            taken = {endpoint.interface for endpoint in present}
            endpoint = self._claims.claim_one(request, network, wanted, taken)
        running, endpoints = self._running[request.container_id], [*present, endpoint]
        try:
            await self._furnish(namespace, [endpoint], request, present)
            await self._publishing.follow(running.published, request, endpoints)
        except (OSError, sysctls.SysctlRefused, CannotPublish):
            self._records.delete_endpoint(endpoint.id)
            await blocking(sandbox.detach, namespace, endpoint)
            raise
        await self._serve_names(running, endpoints)
        self._tell("connect", endpoint)
        return endpoint

    async def disconnect(self, request: SandboxRequest, network: Network) -> None:
        """Detach a running container from one of its networks. What it publishes there is
        published on the next best, as `request` says."""
        container_id = request.container_id
        endpoints = self._records.endpoints(container_id)
        left = [endpoint for endpoint in endpoints if endpoint.network.id != network.id]
        gone = next((e for e in endpoints if e.network.id == network.id), None)
        if gone is None:
            raise NotConnected(request.name, network.name)
        running = self._running.get(container_id)
        if running is not None:
            await self._publishing.follow(running.published, request, left)
        self._records.delete_endpoint(gone.id)
        if running is not None and running.namespace is not None and gone.interface:
            await blocking(sandbox.detach, running.namespace, gone)
            await blocking(sandbox.set_ways_out, running.namespace, left)
            await self._serve_names(running, left)
        self._tell("disconnect", gone)

    def rename(self, request: SandboxRequest) -> None:
        for endpoint in self._records.endpoints(request.container_id):
            names = dns_names(request, endpoint.network, endpoint.request)
            self._records.update_endpoint(replace(endpoint, dns_names=names))

    def relink(self, container_id: str, links: Mapping[str, tuple[str, ...]]) -> None:
        """The container's links are these from now on, by the name of the network."""
        for endpoint in self._records.endpoints(container_id):
            if endpoint.network.name in links:
                request = replace(endpoint.request, links=links[endpoint.network.name])
                self._records.update_endpoint(replace(endpoint, request=request))

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
        await self._publishing.close()
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
            await blocking(self._equip, namespace, endpoints, request, present)
        except BridgeMissing as missing:
            _log.warning("%s: it is made again", missing)
            for endpoint in endpoints:
                await self._devices.mend(endpoint.network)
            await blocking(self._equip, namespace, endpoints, request, present)

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

    async def _serve_names(
        self, running: _Running, endpoints: Sequence[Endpoint], sockets: Sequence[int] = ()
    ) -> None:
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
                running.namespace.fd, lambda: self._view(container_id), self._tasks, sockets
            )

    def _view(self, container_id: str) -> View:
        """What the container's DNS knows right now."""
        endpoints = self._records.endpoints(container_id)
        named = [endpoint for endpoint in endpoints if endpoint.network.serves_names]
        resolving = endpoints[0].resolving if endpoints else Resolving()
        links = [link for endpoint in named for link in endpoint.request.links]
        return View(
            directories=[self._directories.of(endpoint.network) for endpoint in named],
            links=links_by_alias(links),
            servers=resolving.servers or self._settings.dns,
            options=resolving.options or self._settings.dns_options,
            goes_out=any(not endpoint.network.spec.internal for endpoint in endpoints),
        )

    def _release(self, running: _Running) -> None:
        self._close_sockets(running)
        if running.namespace is not None:
            self._pool.let_go(running.namespace)

    def _close_sockets(self, running: _Running) -> None:
        running.published.close()
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
