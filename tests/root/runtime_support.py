"""A container's ingredients for the runtime's tests: a busybox root, a config.json, a log."""

import asyncio
import contextlib
import functools
import os
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pier.containers.native_exec import plan
from pier.linux import cgroup
from pier.linux.mount import Overlay
from pier.runtime.bundle import write_bundle
from pier.runtime.monitors import Monitor
from pier.runtime.orders import AttachOptions, ExecOrder, LogOrder, MonitorOrder, RuntimeInfo
from pier.runtime.spawners import Spawner

NAMES = (
    "sh true false cat echo sleep stty head dd yes seq mount ls env id grep kill pwd readlink stat"
    " mkdir ln chmod chown"
).split()
PARENT = f"/pier-test-runtime-{os.getpid()}"


def forget_groups() -> None:
    """Remove the tests' groups, and what killed runtimes left of them."""
    cgroup.remove(PARENT)


def make_layer(directory: Path) -> Path:
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (directory / name).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", directory / "bin/busybox")
    for name in NAMES:
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/secret").write_text("x")
    return directory


def runtime(name: str, state: Path) -> RuntimeInfo:
    path = shutil.which(name)
    assert path
    hybrid = cgroup.layout().version == 1
    return RuntimeInfo(name, path, str(state / name), hide_v2=hybrid)


def config(
    args: Sequence[str], group: str, *, terminal: bool = False, memory: int = 0
) -> dict[str, Any]:
    capabilities = ["CAP_KILL", "CAP_SYS_ADMIN"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin", "TERM=xterm", "HOME=/"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        },
        "root": {"path": "rootfs"},
        "hostname": "test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
            },
        ],
        "linux": {
            "cgroupsPath": group,
            "resources": {"memory": {"limit": memory, "swap": memory}} if memory else {},
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
        },
    }


class Bench:
    """Containers, all in one directory, under a spawner of their own."""

    def __init__(self, root: Path, name: str = "crun") -> None:
        self.root = root
        self.native = False
        """Whether execs are made without the runtime."""
        self.layer = make_layer(root / "layer")
        self.info = runtime(name, root / "state")
        self.spawner = Spawner()
        self._count = 0

    def order(
        self,
        *args: str,
        memory: int = 0,
        log: LogOrder | None = None,
        terminal: bool = False,
        **fields: Any,
    ) -> MonitorOrder:
        self._count += 1
        container_id = f"{self._count:02d}" + self.root.name.encode().hex()[-40:]
        bundle = self.root / "bundles" / container_id
        group = f"{PARENT}/{container_id}"
        configuration = config(args, group, terminal=terminal, memory=memory)
        if size := fields.get("console_size"):
            configuration["process"]["consoleSize"] = size._asdict()
        write_bundle(bundle, configuration)
        for name in ("upper", "work"):
            (self.root / name / container_id).mkdir(parents=True)
        return MonitorOrder(
            container_id,
            bundle,
            self.info,
            Overlay(
                (str(self.layer),),
                str(self.root / "upper" / container_id),
                str(self.root / "work" / container_id),
            ),
            log=log,
            cgroup=group,
            terminal=terminal,
            **fields,
        )

    async def launch(self, *args: str, **fields: Any) -> Monitor:
        return await self.spawner.launch(self.order(*args, **fields))

    async def started(self, *args: str, **fields: Any) -> Monitor:
        monitor = await self.launch(*args, **fields)
        await monitor.start()
        return monitor

    async def exec(self, order: MonitorOrder, *args: str, **fields: Any) -> Monitor:
        self._count += 1
        name = f"exec{self._count}"
        terminal = bool(fields.get("terminal"))
        process = config(args, "", terminal=terminal)["process"] | fields.pop("process", {})
        directory = self.root / "execs" / name
        if self.native:
            pid = int((Path(order.bundle) / "pid").read_text())
            bundle = Path(order.bundle)
            native = await plan(bundle, self.info, order.container_id, pid, process)
            fields["native"] = native
            assert native is not None
            # What is not done without the runtime fails.
            self.info = self.info._replace(path="/nonexistent")
        try:
            return await self.spawner.launch_exec(
                ExecOrder(
                    name,
                    order.container_id,
                    directory,
                    self.info,
                    process,
                    cgroup=order.cgroup,
                    **fields,
                )
            )
        finally:
            self.info = order.runtime

    def log(self, driver: str = "json-file", **fields: Any) -> LogOrder:
        return LogOrder(driver, str(self.root / f"{self._count}.log"), **fields)


class Client:
    """An attached client, from the client's side."""

    def __init__(self) -> None:
        self.socket, self._theirs = socket.socketpair()
        self.socket.setblocking(False)

    async def attach(self, monitor: Monitor, **options: Any) -> "Client":
        await monitor.attach(self._theirs, AttachOptions(**options))
        self._theirs.close()
        return self

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def end_input(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)

    async def read_until(self, wanted: bytes) -> bytes:
        text = b""
        while wanted not in text:
            data = await self.read()
            assert data, f"{text[-200:]!r} came, {wanted!r} did not"
            text += data
        return text

    async def read_all(self) -> bytes:
        parts = []
        while data := await self.read():
            parts.append(data)
        self.socket.close()
        return b"".join(parts)

    async def read_streams(self) -> Mapping[int, bytes]:
        return split_frames(await self.read_all())


def split_frames(data: bytes) -> Mapping[int, bytes]:
    streams: dict[int, bytes] = {}
    while data:
        number, length = struct.unpack_from(">BxxxI", data)
        streams[number] = streams.get(number, b"") + data[8 : 8 + length]
        assert len(data) >= 8 + length
        data = data[8 + length :]
    return streams


def scenario(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test with a deadline; the spawner is closed whatever happens."""

    @functools.wraps(test)
    def run(bench: Bench, **fixtures: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                try:
                    await test(bench, **fixtures)
                finally:
                    await bench.spawner.close()

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - the condition is the kernel's
            await asyncio.sleep(0.01)


def monitors_of(root: Path) -> list[int]:
    """Processes, monitors above all, that still have something below `root` open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(str(root) in str(fd.readlink()) for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found
