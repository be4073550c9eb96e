"""The steps of a start, in order; see `launch`. Each comes down by the container's ID alone.

volumes   volumes and binds ready
sandbox   a network namespace with its endpoints and published ports
files     a shared /dev/shm, the files the container is given
bundle    config.json
monitor   a process that holds its stdio; clients that waited are connected
process   the runtime runs it
"""

import contextlib
from dataclasses import replace

from pier.containers.etc_files import EtcFiles, sources
from pier.containers.inputs import Inputs
from pier.containers.launch import Launch, Step
from pier.containers.log_order import log_order
from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.parts import Parts
from pier.containers.placement import Placement
from pier.containers.requests_for_networks import sandbox_request
from pier.containers.to_oci import to_oci
from pier.errors import NotFound, in_context
from pier.linux import cgroup, syscalls
from pier.networks.ipam import AddressInUse, NoAddressLeft
from pier.runtime.bundle import remove_bundle, write_bundle
from pier.runtime.filters import Filters
from pier.runtime.monitors import MonitorLost, adopt
from pier.runtime.orders import ConsoleSize, MonitorOrder


def all_steps(
    parts: Parts, inputs: Inputs, placement: Placement, etc: EtcFiles
) -> tuple[Step, ...]:
    filters = Filters()
    return (
        VolumesStep(placement),
        SandboxStep(parts, inputs),
        FilesStep(parts, etc),
        BundleStep(parts, inputs, placement, filters),
        MonitorStep(parts, inputs),
        ProcessStep(parts, filters),
    )


class VolumesStep:
    """First up and last down, so that events come in Docker's order."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    async def up(self, launch: Launch) -> None:
        await self._placement.mount(launch.container)

    async def down(self, container_id: str) -> None:
        await self._placement.unmount(container_id)


class SandboxStep:
    def __init__(self, parts: Parts, inputs: Inputs) -> None:
        self._parts = parts
        self._inputs = inputs

    async def up(self, launch: Launch) -> None:
        self._inputs.check_links(launch.container)
        mode = launch.container.spec.host.network_mode
        if joined_container(mode):
            other = self._joined(mode)
            launch.netns_path = f"/proc/{other.status.pid}/ns/net"
            return
        try:
            sandbox = await self._parts.networks.bring_up(sandbox_request(launch.container))
        except (NotFound, AddressInUse, NoAddressLeft) as error:
            raise in_context(error, "failed to set up container networking") from error
        launch.netns_path = sandbox.netns_path or None
        launch.warnings += sandbox.warnings

    def _joined(self, mode: str) -> Container:
        try:
            return self._inputs.joined(mode, "network")
        except NotFound as error:
            raise in_context(error, "joining network namespace of container") from error

    async def down(self, container_id: str) -> None:
        await self._parts.networks.take_down(container_id)


class FilesStep:
    """What the daemon provides: shared memory, and the files in /etc, which name the addresses."""

    def __init__(self, parts: Parts, etc: EtcFiles) -> None:
        self._parts = parts
        self._etc = etc

    async def up(self, launch: Launch) -> None:
        container = launch.container
        if container.spec.host.ipc_mode == "shareable":
            self._share_memory(container)
        self._etc.write(container)
        self._etc.write_users(container)

    def _share_memory(self, container: Container) -> None:
        path = self._parts.shm(container.id)
        path.mkdir(parents=True, exist_ok=True)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        options = f"mode=1777,size={container.spec.host.shm_size}"
        syscalls.mount("shm", str(path), "tmpfs", flags, options)

    async def down(self, container_id: str) -> None:
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
    def __init__(
        self,
        parts: Parts,
        inputs: Inputs,
        placement: Placement,
        filters: Filters,
    ) -> None:
        self._filters = filters
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
            mounts=await self._placement.with_sources(container),
            files=sources(self._parts, container),
        )
        launch.config = to_oci(replace(inputs, rootfs=str(bundle / "rootfs")))
        runtime = self._parts.runtime_of(container)
        write_bundle(bundle, self._filters.apply(launch.config, runtime))

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
        self._parts.hold_names(container.id)
        await live.clients.hand_over(launch.monitor)

    async def down(self, container_id: str) -> None:
        live = self._parts.live[container_id]
        monitor, live.monitor = live.monitor, None
        monitor = monitor or await adopt(self._parts.bundle(container_id))
        if monitor is not None:
            killed = False
            with contextlib.suppress(MonitorLost):
                killed = await monitor.kill()
            if killed or monitor.pid:
                await monitor.ended()
            await monitor.disconnect()  # one that was never told to start ends by this
        container = self._parts.store.find(container_id)
        if container is None:
            return
        group = self._inputs.cgroups_path(container)
        if cgroup.layout().directories(group):
            await self._parts.runtimes.delete(self._parts.runtime_of(container), container_id)
            cgroup.remove(group)
        cgroup.remove_stray(group)


class ProcessStep:
    def __init__(self, parts: Parts, filters: Filters) -> None:
        self._parts = parts
        self._filters = filters

    async def up(self, launch: Launch) -> None:
        assert launch.monitor is not None
        launch.pid = await launch.monitor.start()
        runtime = self._parts.runtime_of(launch.container)
        self._filters.learn(launch.config, runtime, launch.container.id)

    async def down(self, container_id: str) -> None:
        """The monitor's step ends it."""
