"""Networks: create, find, remove, prune; and the part of a container's start that needs them.

One object for the daemon. `open` finds everything again from rows and kernel names: it rewrites
the firewall as a whole, makes missing bridges, removes links of ours without a row.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network

from pier.errors import Conflict, Forbidden, InvalidArgument, NotFound, PierError
from pier.networks import bridge, files, ipam, pools
from pier.networks.attachments import Attachments, Publisher
from pier.networks.checks import check_spec
from pier.networks.devices import Devices
from pier.networks.model import (
    PREDEFINED,
    Endpoint,
    EndpointRequest,
    Network,
    NetworkSettings,
    NetworkSpec,
    PublishedPort,
    Sandbox,
    SandboxRequest,
    bridge_options,
)
from pier.networks.pool import SandboxPool
from pier.networks.store import Database, Member, Records
from pier.networks.table import Table
from pier.store.rows import DamagedRecord
from pier.threads import blocking

_log = logging.getLogger(__name__)

_DEVICE_NAME = re.compile(r"(?!(?:all|default)\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}\Z")
_CHECK_EVERY_S = 30.0


class NoSuchNetwork(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"network {name} not found")


class AmbiguousNetwork(InvalidArgument):
    def __init__(self, name: str, matches: int) -> None:
        super().__init__(f"network {name} is ambiguous ({matches} matches found on ID prefix)")


class NameInUse(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"network with name {name} already exists")


class PredefinedName(Forbidden):
    def __init__(self, name: str) -> None:
        super().__init__(f"operation is not permitted on predefined {name} network")


class PredefinedNetwork(Forbidden):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is a pre-defined network and cannot be removed")


class InUse(Forbidden):
    def __init__(self, network: Network, members: Sequence[Member]) -> None:
        listed = ", ".join(f'name:"{m.container_name}" id:"{m.endpoint.id[:12]}"' for m in members)
        super().__init__(
            f"error while removing network: network {network.name} has active endpoints ({listed})"
        )


@dataclass(frozen=True, slots=True)
class SandboxFiles:
    """Texts of /etc/hosts and /etc/resolv.conf."""

    hosts: str
    resolv_conf: str


class Networks:
    """All of networking. Callers hold the container's lock where a container is named."""

    def __init__(self, database: Database, events: Publisher, settings: NetworkSettings) -> None:
        self._settings = settings
        self._events = events
        self._records = Records(database)
        self._pool = SandboxPool(settings.ready_sandboxes)
        self._table = Table(f"pier-{settings.bridge}", self._records)
        self._devices = Devices(self._records, settings.bridge)
        self._tasks = asyncio.TaskGroup()
        self._attachments = Attachments(
            settings,
            self._records,
            events,
            self._pool,
            self._table,
            self._devices,
            self._tasks,
        )
        self._changing = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the host as the rows say, whatever was left behind."""
        await asyncio.to_thread(self._prepare_host)
        await self._make_predefined()
        networks = [network for network in self._records.networks() if network.bridge]
        endpoints = {endpoint.id for endpoint in self._records.all_endpoints()}
        swept = await asyncio.to_thread(
            bridge.sweep, self._settings.bridge, {n.bridge for n in networks}, endpoints
        )
        if swept:
            _log.info("links without a record removed: %s", " ".join(swept))
        for network in networks:
            await asyncio.to_thread(self._make_bridge, network)
            await self._devices.mend(network)
        await self._table.rewrite()
        await self._pool.fill()
        await self._stack.enter_async_context(self._tasks)
        self._watch = self._tasks.create_task(self._keep_watch())

    async def close(self) -> None:
        """Stop. While containers run, what they need of the kernel stays; else nothing does."""
        if self._watch is not None:
            self._watch.cancel()
        await self._attachments.close()
        await self._stack.aclose()
        await self._pool.close()
        running = bool(self._records.all_endpoints())
        await self._table.close(keep=running)
        if not running:
            for network in self._records.networks():
                if network.bridge:
                    await asyncio.to_thread(bridge.remove, network.bridge, self._settings.bridge)

    # Networks

    def get(self, name: str) -> Network:
        """By full ID, full name or a prefix of the ID, in this order."""
        networks = self._records.networks()
        name = "bridge" if name == "default" else name
        for exact in (lambda n: n.id == name, lambda n: n.name == name):
            if found := next(filter(exact, networks), None):
                return found
        matches = [network for network in networks if name and network.id.startswith(name)]
        if len(matches) > 1:
            raise AmbiguousNetwork(name, len(matches))
        if not matches:
            raise self._missing(name)
        return matches[0]

    def _missing(self, name: str) -> PierError:
        """Not there, or there with a record that nobody can read."""
        try:
            self._records.find_network(name)
        except DamagedRecord as damaged:
            return damaged
        return NoSuchNetwork(name)

    def list_(self) -> list[Network]:
        return self._records.networks()

    def members(self, network_id: str) -> list[Member]:
        """The running containers on a network."""
        return self._records.members(network_id)

    async def create(self, spec: NetworkSpec) -> Network:
        """A network with the subnets asked for, or the first free ones."""
        async with self._changing:
            self._check_new(spec)
            network = await self._decide(Network(id=secrets.token_hex(32), spec=spec))
            self._check_device(network)
            # First the row: a daemon killed from here on finds the device, however far it came.
            self._records.save_network(network)
            try:
                await self._set_up(network)
            except BaseException:
                await self._forget(network)
                raise
        self._tell("create", network)
        return network

    async def remove(self, name: str) -> None:
        """One whose record cannot be read goes too; a bridge of a chosen name at the next start."""
        async with self._changing:
            try:
                network = self.get(name)
            except DamagedRecord:
                network = Network(id=self._kept_id(name), spec=NetworkSpec(name=name))
                self._records.save_network(network)
            await self._remove(network)

    async def prune(self, wanted: Callable[[Network], bool] = lambda _: True) -> list[str]:
        """Remove the networks of users that no running container is on; their names."""
        pruned = []
        async with self._changing:
            for network in self._records.networks():
                unused = not self._records.members(network.id)
                if not network.predefined and unused and wanted(network):
                    await self._remove(network)
                    pruned.append(network.name)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return pruned

    # Containers

    async def bring_up(self, request: SandboxRequest) -> Sandbox:
        """See Attachments.bring_up. Without endpoints the sandbox has lo only."""
        networks = {name: self.get(name) for name in request.endpoints}
        return await self._attachments.bring_up(request, networks)

    async def take_down(self, container_id: str) -> None:
        await self._attachments.take_down(container_id)

    async def sweep(self, known: Collection[str]) -> None:
        """At start: take down what belongs to no container: a build's, cut short by a crash."""
        for container_id in {e.container_id for e in self._records.all_endpoints()} - set(known):
            await self.take_down(container_id)

    async def adopt(self, container_id: str, pid: int, sockets: Sequence[int] = ()) -> None:
        """See Attachments.adopt."""
        await self._attachments.adopt(container_id, pid, sockets)

    def name_sockets(self, container_id: str) -> Sequence[int]:
        """See Attachments.name_sockets."""
        return self._attachments.name_sockets(container_id)

    async def connect(self, request: SandboxRequest, name: str) -> Endpoint:
        """Attach a running container to the network `name`, as request.endpoints says."""
        network = self.get(name)
        wanted = request.endpoints.get(name) or request.endpoints.get(network.name)
        return await self._attachments.connect(request, network, wanted or EndpointRequest())

    async def disconnect(self, request: SandboxRequest, name: str) -> None:
        """Detach a running container, which asks for `request`, from the network `name`."""
        await self._attachments.disconnect(request, self.get(name))

    def rename(self, request: SandboxRequest) -> None:
        """A container is called `request.name` from now on: its DNS names follow at once."""
        self._attachments.rename(request)

    def relink(self, container_id: str, links: Mapping[str, tuple[str, ...]]) -> None:
        """See Attachments.relink."""
        self._attachments.relink(container_id, links)

    def check_endpoint(self, name: str, request: EndpointRequest) -> Network:
        """Refuse, before anything runs, what `bring_up` would refuse for the request's sake."""
        network = self.get(name)
        ipam.check_request(network, request)
        return network

    def sandbox(self, container_id: str) -> Sandbox:
        """The sandbox of a running container, for one that joins it (`container:<id>`)."""
        return self._attachments.namespace(container_id)

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """Of a running container, in the order of its interfaces."""
        return self._records.endpoints(container_id)

    def published(self, container_id: str) -> list[PublishedPort]:
        return self._records.ports(container_id)

    def files(self, request: SandboxRequest) -> SandboxFiles:
        """What /etc/hosts and /etc/resolv.conf of a container that is up must say."""
        endpoints = self._records.endpoints(request.container_id)
        host = files.read_host_files()
        return SandboxFiles(
            files.hosts_file(request, endpoints, self._host_gateways(), host),
            files.resolv_conf(request, endpoints, self._settings, host),
        )

    def _host_gateways(self) -> Sequence[str]:
        if self._settings.host_gateway_ips:
            return self._settings.host_gateway_ips
        return [pool.gateway for pool in self.get("bridge").spec.pools]

    # Inside

    def _prepare_host(self) -> None:
        if self._settings.ip_forward:
            bridge.allow_forwarding(4)

    async def _set_up(self, network: Network) -> None:
        if network.bridge:
            await blocking(self._make_bridge, network)
            await self._table.rewrite()

    def _make_bridge(self, network: Network) -> None:
        bridge.ensure(network, self._settings.bridge)
        if network.pool6 and self._settings.ip_forward:
            bridge.allow_forwarding(6)

    async def _make_predefined(self) -> None:
        """`bridge`, `host` and `none` always exist; `bridge` follows the settings."""
        now = time.time_ns()
        readable = {network.name: network for network in self._records.networks()}
        for number, (name, driver) in enumerate((("host", "host"), ("none", "null")), start=1):
            if name not in readable:
                spec = NetworkSpec(name=name, driver=driver)
                network = Network(id=self._kept_id(name), spec=spec, created_ns=now + number)
                self._records.save_network(network)
        known = readable.get("bridge")
        default = Network(
            id=self._kept_id("bridge"),
            spec=NetworkSpec(
                name="bridge",
                enable_ipv6=self._settings.ipv6,
                options=bridge_options(self._settings),
                pools=pools.default_pools(self._settings, known),
            ),
            created_ns=known.created_ns if known else now,
        )
        self._records.save_network(await self._decide(default))

    def _kept_id(self, name: str) -> str:
        """Of the network as it is, though its record may be damaged, or a new one."""
        return self._records.find_id(name) or secrets.token_hex(32)

    async def _decide(self, network: Network) -> Network:
        """With subnets and gateways; host and none have none."""
        if network.driver != "bridge":
            return replace(network, created_ns=network.created_ns or time.time_ns())
        host = await asyncio.to_thread(bridge.used_by_host)
        others = [
            ip_network(pool.subnet)
            for other in self._records.networks()
            if other.id != network.id
            for pool in other.spec.pools
        ]
        available = [*self._settings.address_pools, pools.local_ipv6(self._settings.bridge)]
        spec = ipam.decide_pools(network.spec, available=available, networks=others, host=host)
        return replace(network, spec=spec, created_ns=network.created_ns or time.time_ns())

    def _check_new(self, spec: NetworkSpec) -> None:
        if not spec.name.strip():
            raise InvalidArgument("invalid name: name is empty")
        if spec.name in PREDEFINED or spec.name == "default":
            raise PredefinedName(spec.name)
        check_spec(spec)
        if self._records.find_network(spec.name):
            raise NameInUse(spec.name)

    def _check_device(self, network: Network) -> None:
        """The name goes into the firewall's text and to the kernel; and must be free."""
        if not _DEVICE_NAME.match(network.bridge):
            raise InvalidArgument(f"invalid bridge name {network.bridge!r}")
        for other in self._records.networks():
            if other.bridge == network.bridge:
                raise Conflict(
                    f"bridge name {network.bridge} is already in use by network {other.name}"
                )

    async def _remove(self, network: Network) -> None:
        if network.predefined:
            raise PredefinedNetwork(network.name)
        # From here to the deletion of the row nothing awaits: nobody can come in between.
        if members := self._records.members(network.id):
            raise InUse(network, members)
        await self._forget(network)
        self._tell("destroy", network)

    async def _forget(self, network: Network) -> None:
        self._records.delete_network(network.id)
        if network.bridge:
            await self._table.rewrite()
            await blocking(bridge.remove, network.bridge, self._settings.bridge)

    async def _keep_watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            try:
                await self._devices.check()
                await self._table.check()
            except (OSError, TimeoutError):
                _log.warning("the firewall could not be checked", exc_info=True)

    def _tell(self, action: str, network: Network) -> None:
        attributes = {"name": network.name, "type": network.driver}
        self._events.publish("network", action, network.id, attributes)
