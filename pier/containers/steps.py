"""The steps of a start, in order; see `launch`. Each comes down by the container's ID alone.

sandbox   a network namespace with its endpoints and published ports
mounts    volumes and binds ready, a shared /dev/shm, the files the container is given
bundle    config.json
monitor   a process that holds its stdio; clients that waited are connected
process   the runtime runs it
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from pier.containers.inputs import Inputs
from pier.containers.launch import Launch, Step
from pier.containers.log_order import log_order
from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.parts import Parts
from pier.containers.placement import Placement
from pier.containers.spec import ContainerSpec
from pier.containers.to_oci import to_oci
from pier.linux import cgroup, syscalls
from pier.networks.model import EndpointRequest, PortRequest, SandboxRequest
from pier.runtime.bundle import remove_bundle, write_bundle
from pier.runtime.monitors import MonitorLost, adopt
from pier.runtime.orders import ConsoleSize, MonitorOrder

_ETC = ("hosts", "hostname", "resolv.conf")


def all_steps(parts: Parts, inputs: Inputs, placement: Placement) -> tuple[Step, ...]:
    return (
        SandboxStep(parts, inputs),
        MountsStep(parts, placement),
        BundleStep(parts, inputs, placement),
        MonitorStep(parts, inputs),
        ProcessStep(),
    )


class SandboxStep:
    def __init__(self, parts: Parts, inputs: Inputs) -> None:
        self._parts = parts
        self._inputs = inputs

    async def up(self, launch: Launch) -> None:
        mode = launch.container.spec.host.network_mode
        if joined_container(mode):
            other = self._inputs.joined(mode, "network")
            launch.netns_path = f"/proc/{other.status.pid}/ns/net"
            return
        sandbox = await self._parts.networks.bring_up(sandbox_request(launch.container))
        launch.netns_path = sandbox.netns_path or None
        launch.warnings += sandbox.warnings

    async def down(self, container_id: str) -> None:
        await self._parts.networks.take_down(container_id)


def sandbox_request(container: Container) -> SandboxRequest:
    """What the networks are asked for."""
    spec = container.spec
    host = spec.host
    return SandboxRequest(
        container_id=container.id,
        name=container.name,
        hostname=spec.hostname,
        domainname=spec.domainname,
        endpoints=endpoint_requests(spec),
        ports=() if host.network_mode in ("host", "none") else port_requests(spec),
        dns=host.dns,
        dns_search=host.dns_search,
        dns_options=host.dns_options,
        extra_hosts=host.extra_hosts,
        sysctls=host.sysctls,
    )


def endpoint_requests(spec: ContainerSpec) -> dict[str, EndpointRequest]:
    """By network name. The network of the mode comes first, whether it has settings or not."""
    mode = "none" if spec.network_disabled else spec.host.network_mode
    if mode in ("none", "host"):
        return {mode: EndpointRequest()}
    names = dict.fromkeys((mode, *spec.endpoints)) if not spec.endpoints else spec.endpoints
    return {
        name: EndpointRequest(
            ipv4=asked.ipv4,
            ipv6=asked.ipv6,
            mac_address=asked.mac_address,
            aliases=asked.aliases,
            links=asked.links,
            gateway_priority=asked.gateway_priority,
            driver_options=asked.driver_options,
        )
        if (asked := spec.endpoints.get(name))
        else EndpointRequest()
        for name in names
    }


def port_requests(spec: ContainerSpec) -> list[PortRequest]:
    """`-p`, and with `-P` every exposed port that has no `-p` of its own."""
    host = spec.host
    ports = [
        PortRequest(port=b.port, protocol=b.protocol, host_ip=b.host_ip, host_port=b.host_port)
        for b in host.port_bindings
    ]
    if host.publish_all_ports:
        bound = {f"{port.port}/{port.protocol}" for port in ports}
        for exposed in spec.exposed_ports:
            number, _, protocol = exposed.partition("/")
            if exposed not in bound:
                ports.append(PortRequest(port=int(number), protocol=protocol or "tcp"))
    return ports


class MountsStep:
    def __init__(self, parts: Parts, placement: Placement) -> None:
        self._parts = parts
        self._placement = placement

    async def up(self, launch: Launch) -> None:
        container = launch.container
        await self._placement.mount(container)
        if container.spec.host.ipc_mode == "shareable":
            self._share_memory(container)
        self._write_files(container)

    def _share_memory(self, container: Container) -> None:
        path = self._parts.shm(container.id)
        path.mkdir(parents=True, exist_ok=True)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        options = f"mode=1777,size={container.spec.host.shm_size}"
        syscalls.mount("shm", str(path), "tmpfs", flags, options)

    def _write_files(self, container: Container) -> None:
        """The files in /etc a container is given; another's where it joins that one's network."""
        if joined_container(container.spec.host.network_mode):
            return
        texts = self._parts.networks.files(sandbox_request(container))
        directory = self._parts.directory(container.id)
        (directory / "hosts").write_text(texts.hosts)
        (directory / "resolv.conf").write_text(texts.resolv_conf)
        (directory / "hostname").write_text(container.spec.hostname + "\n")

    async def down(self, container_id: str) -> None:
        await self._placement.unmount(container_id)
        path = self._parts.shm(container_id)
        if not path.exists():
            return
        try:
            syscalls.umount2(str(path), syscalls.MNT_DETACH)
        except OSError as error:
            if error.errno not in syscalls.NOT_MOUNTED:
                raise
        path.rmdir()


class BundleStep:
    def __init__(self, parts: Parts, inputs: Inputs, placement: Placement) -> None:
        self._parts = parts
        self._inputs = inputs
        self._placement = placement

    async def up(self, launch: Launch) -> None:
        container = launch.container
        bundle = self._parts.bundle(container.id)
        inputs = await self._inputs.for_start(
            container,
            launch.overlay,
            netns_path=launch.netns_path,
            mounts=self._placement.with_sources(container),
            files=self._files(container),
        )
        write_bundle(bundle, to_oci(replace(inputs, rootfs=str(bundle / "rootfs"))))

    def _files(self, container: Container) -> Mapping[str, str]:
        other = joined_container(container.spec.host.network_mode)
        directory = self._parts.directory(other or container.id)
        return {
            f"/etc/{name}": str(directory / name) for name in _ETC if (directory / name).exists()
        }

    async def down(self, container_id: str) -> None:
        remove_bundle(self._parts.bundle(container_id))


class MonitorStep:
    """Going down it ends whatever runs: by the monitor if there is one, else by the runtime."""

    def __init__(self, parts: Parts, inputs: Inputs) -> None:
        self._parts = parts
        self._inputs = inputs

    async def up(self, launch: Launch) -> None:
        container, spec = launch.container, launch.container.spec
        launch.monitor = await self._parts.spawner.launch(
            MonitorOrder(
                container_id=container.id,
                bundle=self._parts.bundle(container.id),
                runtime=self._parts.runtime_of(container),
                overlay=launch.overlay,
                terminal=spec.tty,
                console_size=ConsoleSize(*spec.host.console_size),
                stdin=spec.open_stdin,
                stdin_once=spec.stdin_once,
                log=log_order(container, self._parts.directory(container.id)),
                cgroup=self._inputs.cgroups_path(container),
            )
        )
        live = self._parts.live[container.id]
        live.monitor = launch.monitor
        await live.clients.hand_over(launch.monitor)

    async def down(self, container_id: str) -> None:
        live = self._parts.live[container_id]
        monitor, live.monitor = live.monitor, None
        monitor = monitor or await adopt(self._parts.bundle(container_id))
        if monitor is not None:
            if monitor.pid:
                with contextlib.suppress(MonitorLost):
                    await monitor.kill()
                await monitor.ended()
            await monitor.disconnect()  # one that was never told to start ends by this
        container = self._parts.store.find(container_id)
        if container is None:
            return
        group = self._inputs.cgroups_path(container)
        if cgroup.layout().directories(group):
            await self._parts.runtimes.delete(self._parts.runtime_of(container), container_id)
            cgroup.remove(group)


class ProcessStep:
    async def up(self, launch: Launch) -> None:
        assert launch.monitor is not None
        launch.pid = await launch.monitor.start()

    async def down(self, container_id: str) -> None:
        """The monitor's step ends it."""
