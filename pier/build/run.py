"""RUN: one process in the snapshot of a step, its output passed on, nothing of it left.

The process is a container of its own for the runtime, started through the spawner like any other,
without a log and without a record. Its bundle is named after its ID, below `<exec_root>/builds`,
so a daemon that comes after a crash finds and ends it (`sweep`).
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pier.build.directories import removed
from pier.build.owners import Identity, find_identity
from pier.build.stubs import forget_untouched, missing_paths, remove_stubs
from pier.errors import Failed
from pier.images.transfer import taken
from pier.linux import cgroup
from pier.linux.mount import Overlay, open_overlay
from pier.runtime.bundle import remove_bundle, write_bundle
from pier.runtime.frames import STDOUT, Deframer
from pier.runtime.monitors import Monitor, RuntimeFailed, adopt
from pier.runtime.mount_targets import Target, real_targets
from pier.runtime.oci_runtime import Runtimes
from pier.runtime.orders import AttachOptions, MonitorOrder
from pier.runtime.reserved_paths import TargetReserved, is_reserved
from pier.runtime.resources import Resources
from pier.runtime.spawners import Spawner
from pier.threads import blocking

HOSTNAME = "buildkitsandbox"
_SCRIPT_TARGET = "/dev/pipes/script"
_READ_BYTES = 64 * 1024
_LONGEST = 4
_START_POLL_S = 0.05
_RUNTIME_MAKES = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount in the container. type: bind, tmpfs or overlay; `options` as mount(8) has them."""

    target: str
    source: str = ""
    type: str = "bind"
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlace:
    """Where a RUN is on the network. netns_path "": the host's, or a new empty one for `none`."""

    netns_path: str = ""
    hosts: bytes = b""
    resolv_conf: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """Everything config.json depends on; whoever wires the builder turns it into one.

    network: "default" (in netns_path), "none" or "host". insecure: as privileged as it gets.
    The root is `rootfs` in the bundle.
    """

    id: str
    bundle: Path
    argv: tuple[str, ...]
    environment: tuple[str, ...]
    working_dir: str
    identity: Identity = field(default_factory=Identity)
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    netns_path: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    hostname: str = HOSTNAME
    insecure: bool = False
    limits: Resources = field(default_factory=Resources)
    shm_size: int = 0
    cgroup: str = ""


MakeConfig = Callable[[RunOrder], Mapping[str, object]]
"""An OCI runtime configuration for one RUN."""


class Output(Protocol):
    """Takes what a process writes, in pieces of whole characters."""

    def __call__(self, data: bytes, *, stderr: bool) -> None: ...


class Sandboxes(Protocol):
    """A place on the network for the time of one RUN."""

    def __call__(
        self, run_id: str, network: str, extra_hosts: tuple[str, ...], hostname: str
    ) -> AbstractAsyncContextManager[NetworkPlace]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One RUN with its mounts prepared. network: "none", "host", or a network's name."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    working_dir: str
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    insecure: bool = False
    script: str = ""
    extra_hosts: tuple[str, ...] = ()
    limits: Resources = field(default_factory=Resources)
    shm_size: int = 0
    hostname: str = HOSTNAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """The step's snapshot: how it is mounted, and its layers for cleaning up."""

    overlay: Overlay

    @property
    def lower(self) -> list[Path]:
        return [Path(path) for path in self.overlay.lower]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a RUN ended."""

    code: int
    oom_killed: bool = False


class Runner:
    """Runs commands. The directories `builds` and below belong to it alone."""

    def __init__(
        self,
        exec_root: Path,
        spawner: Spawner,
        runtimes: Runtimes,
        make_config: MakeConfig,
        sandboxes: Sandboxes,
        *,
        cgroup_parent: str,
    ) -> None:
        self._cgroup_parent = cgroup_parent
        self._root = exec_root / "builds"
        self._spawner = spawner
        self._runtimes = runtimes
        self._make_config = make_config
        self._sandboxes = sandboxes

    @contextlib.asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A directory on the machine's tmpfs, gone with the block: secrets, scripts."""
        path = self._root / f"files-{secrets.token_hex(16)}"
        try:
            path.mkdir(mode=0o700, parents=True)
            yield path
        finally:
            await removed(path)

    async def run(self, command: Command, rootfs: Rootfs, output: Output) -> Ended:
        """Run to the end; cancelling kills the process and waits until nothing is left.

        Raises RuntimeFailed when the runtime could not start it.
        """
        run_id = secrets.token_hex(32)
        async with AsyncExitStack() as stack:
            files = await stack.enter_async_context(self.scratch())
            place = await stack.enter_async_context(
                self._sandboxes(run_id, command.network, command.extra_hosts, command.hostname)
            )
            prepared = await blocking(_prepare, command, rootfs, place, files)
            stack.push_async_callback(_clean_up, rootfs, prepared.missing)
            order = self._order(run_id, command, place, prepared)
            stack.push_async_callback(blocking, remove_bundle, order.bundle)
            stack.push_async_callback(self._forget, order.id, order.cgroup)
            await blocking(write_bundle, order.bundle, self._make_config(order))
            return await self._supervise(order, rootfs.overlay, output)

    def _order(
        self, run_id: str, command: Command, place: NetworkPlace, prepared: "_Prepared"
    ) -> RunOrder:
        network = command.network if command.network in ("none", "host") else "default"
        environment = {"HOME": prepared.identity.home, **command.environment}
        return RunOrder(
            id=run_id,
            bundle=self._root / run_id,
            argv=command.argv or (_SCRIPT_TARGET,),
            environment=tuple(f"{name}={value}" for name, value in environment.items()),
            working_dir=command.working_dir,
            identity=prepared.identity,
            mounts=(*command.mounts, *prepared.mounts),
            network=network,
            netns_path=place.netns_path,
            files=prepared.files,
            insecure=command.insecure,
            limits=command.limits,
            shm_size=command.shm_size,
            hostname=command.hostname,
            cgroup=f"{command.limits.cgroup_parent or self._cgroup_parent}/{run_id}",
        )

    async def _supervise(self, order: RunOrder, overlay: Overlay, output: Output) -> Ended:
        monitor = await self._spawner.launch(
            MonitorOrder(order.id, order.bundle, self._runtimes.get(), overlay, cgroup=order.cgroup)
        )
        try:
            # Started before anything can be cancelled: only what runs can be killed.
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    monitor.begin((theirs, AttachOptions()))
                    await monitor.start()
                await _read_output(ours, output)
            end = await monitor.wait()
        except BaseException:
            await asyncio.shield(_stop(monitor))
            raise
        finally:
            await asyncio.shield(_leave(monitor))
        return Ended(end.code, end.oom_killed)

    async def _forget(self, run_id: str, group: str) -> None:
        """What a monitor or a runtime left that was killed; usually nothing."""
        records = [Path(runtime.root, run_id) for runtime in self._runtimes.list_()]
        if not (cgroup.layout().directories(group) or any(path.exists() for path in records)):
            return
        for runtime in self._runtimes.list_():
            with contextlib.suppress(Failed):
                await self._runtimes.delete(runtime, run_id)
        await blocking(cgroup.remove, group)
        for path in records:
            await removed(path)

    async def sweep(self) -> None:
        """At daemon start: end what a daemon before this one was running, and remove it."""
        if not self._root.is_dir():
            return
        for bundle in sorted(self._root.iterdir()):
            monitor = await adopt(bundle)
            if monitor is not None:
                await _stop(monitor)
                await monitor.disconnect()
            elif not bundle.name.startswith("files-"):
                await self._forget(bundle.name, f"{self._cgroup_parent}/{bundle.name}")
            await removed(bundle)


@dataclass(frozen=True, slots=True)
class _Prepared:
    identity: Identity
    missing: tuple[str, ...]
    mounts: tuple[Mount, ...]
    files: Mapping[str, str]


def _prepare(command: Command, rootfs: Rootfs, place: NetworkPlace, files: Path) -> _Prepared:
    """Look up what has to be looked up in the root; write the files that are mounted over it."""
    mounts = []
    if command.script:
        script = files / "script"
        script.write_text(command.script)
        script.chmod(0o755)
        mounts.append(Mount(target=_SCRIPT_TARGET, source=str(script), options=("bind", "ro")))
    written = {}
    for name, content in (("hosts", place.hosts), ("resolv.conf", place.resolv_conf)):
        if content:
            (files / name).write_bytes(content)
            (files / name).chmod(0o644)
            written[f"/etc/{name}"] = str(files / name)
    root_fd = open_overlay(rootfs.overlay)
    try:
        _check_targets(root_fd, command.mounts)
        targets = (*_RUNTIME_MAKES, *(mount.target for mount in command.mounts))
        missing = missing_paths(root_fd, targets)
        identity = find_identity(command.user, root_fd)
    finally:
        os.close(root_fd)
    return _Prepared(identity, missing, tuple(mounts), written)


def _check_targets(root_fd: int, mounts: Sequence[Mount]) -> None:
    """Dockerfiles come from anywhere: what is the runtime's own is not theirs to mount over."""
    targets = [Target(mount.target, _sources(mount)) for mount in mounts]
    for mount, real in zip(mounts, real_targets(root_fd, targets), strict=True):
        if is_reserved(real):
            raise TargetReserved(mount.target, "the Dockerfile")


def _sources(mount: Mount) -> tuple[str, ...]:
    if mount.type != "overlay":
        return (mount.source,) if mount.type == "bind" else ()
    named = dict(option.partition("=")[::2] for option in mount.options)
    return tuple(named["lowerdir"].split(":"))


async def _clean_up(rootfs: Rootfs, missing: tuple[str, ...]) -> None:
    await blocking(_remove_stubs, rootfs, missing)


def _remove_stubs(rootfs: Rootfs, missing: tuple[str, ...]) -> None:
    root_fd = open_overlay(rootfs.overlay)
    try:
        remove_stubs(root_fd, missing)
    finally:
        os.close(root_fd)
    forget_untouched(Path(rootfs.overlay.upper), rootfs.lower, missing)


async def _read_output(sock: socket.socket, output: Output) -> None:
    """No character is handed on in two parts: who shows one would show two wrong ones."""
    sock.setblocking(False)
    loop, deframer = asyncio.get_running_loop(), Deframer()
    held = {False: b"", True: b""}
    while data := await loop.sock_recv(sock, _READ_BYTES):
        for stream, payload in deframer.feed(data):
            stderr = stream != STDOUT
            whole, held[stderr] = whole_characters(held[stderr] + payload)
            if whole:
                output(whole, stderr=stderr)
        await taken()
    for stderr, rest in held.items():
        if rest:
            output(rest, stderr=stderr)


def whole_characters(data: bytes) -> tuple[bytes, bytes]:
    """`data` up to the last character of UTF-8, and the beginning of one that is not whole."""
    for length in range(1, min(_LONGEST, len(data) + 1)):
        lead = data[-length]
        if lead & 0b1100_0000 == 0b1000_0000:
            continue
        wanted = 2 + (lead >= 0b1110_0000) + (lead >= 0b1111_0000) if lead >= 0b1100_0000 else 1
        return (data[:-length], data[-length:]) if wanted > length else (data, b"")
    return data, b""


async def _stop(monitor: Monitor) -> None:
    """Kill the process, also one that is only being started, and wait until it is forgotten."""
    with contextlib.suppress(Failed):
        while not await monitor.kill():
            try:
                await asyncio.wait_for(monitor.ended(), _START_POLL_S)
            except TimeoutError:
                continue
            return
        await monitor.ended()


async def _leave(monitor: Monitor) -> None:
    """Wait until the runtime has forgotten it: its bundle is removed next."""
    if monitor.pid:
        await monitor.ended()
    await monitor.disconnect()


__all__ = ["Command", "Ended", "Mount", "Rootfs", "Runner", "RuntimeFailed"]
