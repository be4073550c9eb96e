"""Which OCI runtimes work on this host, and their commands for a container that exists.

A version string says little about whether a runtime can run anything here (hybrid cgroups, old
kernels, missing privileges), so each is *probed* once: it runs one process, `true` in the host's
own read-only root. The answer is kept in exec_root until the program changes or the host reboots.
"""

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pier.errors import Failed, InvalidArgument
from pier.linux import cgroup
from pier.linux.mount import Overlay
from pier.runtime.bundle import remove_bundle, write_bundle
from pier.runtime.failures import in_dockers_words
from pier.runtime.known_flaws import warning
from pier.runtime.orders import MonitorOrder, RuntimeInfo
from pier.runtime.spawners import Spawner

PREFERENCE = ("crun", "runc")
_PROBES = "/pier-probe-"
_ALIASES = ("io.containerd.runc.v2", "io.containerd.runtime.v1.linux")
_PROBE_S = 20.0
_COMMAND_S = 30.0
_BIND = ["bind", "ro"]

log = logging.getLogger(__name__)


class UnknownRuntime(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"unknown or invalid runtime name: {name}")


class NoRuntime(Failed):
    def __init__(self, reasons: Mapping[str, str]) -> None:
        tried = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"no OCI runtime works here ({tried}); install crun or runc")


class Candidate(NamedTuple):
    """path: absolute, or a name to look for in $PATH. arguments: before the command."""

    path: str
    arguments: tuple[str, ...] = ()


class Runtimes:
    """extra: of `--add-runtime` and daemon.json. default "": the first of PREFERENCE that works."""

    def __init__(
        self,
        spawner: Spawner,
        exec_root: Path,
        *,
        extra: Mapping[str, Candidate] | None = None,
        default: str = "",
    ) -> None:
        self._group = f"{_PROBES}{os.getpid()}"  # daemons may start side by side
        self._spawner = spawner
        self._exec_root = exec_root
        self._candidates = {**{name: Candidate(name) for name in PREFERENCE}, **(extra or {})}
        self._default = default
        self._working: dict[str, RuntimeInfo] = {}
        self.reasons: dict[str, str] = {}
        """Why the others do not work, for the log and for errors."""

    async def probe(self) -> None:
        """Find out which candidates work. Raises NoRuntime if none does."""
        await asyncio.to_thread(_forget_dead_probes)
        known = _read_cache(self._cache)
        async with asyncio.TaskGroup() as group:
            for name, candidate in self._candidates.items():
                group.create_task(self._probe_one(name, candidate, known))
        _write_cache(self._cache, self._working)
        await asyncio.to_thread(cgroup.remove, self._group)
        if not self._working:
            raise NoRuntime(self.reasons)
        for text in self.warnings():
            log.warning("%s", text.removeprefix("WARNING: "))

    def warnings(self) -> list[str]:
        """Known flaws of those that work, in Docker's form."""
        told = (warning(info.name, Path(info.path).name, info.version) for info in self.list_())
        return [text for text in told if text]

    @property
    def default(self) -> str:
        if self._default:
            return self._default
        return next((name for name in self._candidates if name in self._working), "")

    def get(self, name: str = "") -> RuntimeInfo:
        """By name; "" is the default. Raises UnknownRuntime, NoRuntime."""
        if not self._working:
            raise NoRuntime(self.reasons)
        wanted = self.default if not name or name in _ALIASES else name
        if wanted not in self._working:
            raise UnknownRuntime(wanted)
        return self._working[wanted]

    def list_(self) -> list[RuntimeInfo]:
        """Those that work, in order of preference."""
        return [self._working[name] for name in self._candidates if name in self._working]

    async def delete(self, info: RuntimeInfo, container_id: str) -> None:
        """Kill what is left of a container without a monitor and forget it. Twice is fine."""
        if await asyncio.to_thread(os.path.isdir, f"{info.root}/{container_id}"):
            await self._command(info, "delete", "--force", container_id)

    async def pause(self, info: RuntimeInfo, container_id: str) -> None:
        await self._command(info, "pause", container_id)

    async def resume(self, info: RuntimeInfo, container_id: str) -> None:
        await self._command(info, "resume", container_id)

    async def update(
        self, info: RuntimeInfo, container_id: str, resources: Mapping[str, Any]
    ) -> None:
        """Change limits of a running container. resources: OCI linux.resources; the rest stays."""
        # A file that ends with us: a crash leaves none behind.
        fd = os.memfd_create("resources", os.MFD_CLOEXEC)
        try:
            os.write(fd, json.dumps(resources).encode())
            path = f"/proc/{os.getpid()}/fd/{fd}"
            await self._command(info, "update", "--resources", path, container_id)
        finally:
            os.close(fd)

    async def _command(self, info: RuntimeInfo, *arguments: str) -> None:
        argv = [info.path, *info.arguments, "--root", info.root, *arguments]
        done = await self._spawner.run(argv, hide_v2=info.hide_v2, timeout_s=_COMMAND_S)
        if done.code:
            text = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            words = in_dockers_words(text, "")
            raise Failed(f"OCI runtime {arguments[0]} failed: {info.name}: {words}")

    @property
    def _cache(self) -> Path:
        return self._exec_root / "runtimes.json"

    async def _probe_one(
        self, name: str, candidate: Candidate, known: Mapping[str, Mapping[str, Any]]
    ) -> None:
        path = await asyncio.to_thread(shutil.which, candidate.path)
        if path is None:
            self.reasons[name] = f"{candidate.path} is not installed"
            return
        info = RuntimeInfo(name, path, str(self._exec_root / "runtime" / name), candidate.arguments)
        stamp = await asyncio.to_thread(_stamp, path)
        if known.get(name, {}).get("stamp") == [path, *candidate.arguments, *stamp]:
            hide_v2, version = known[name]["hide_v2"], known[name]["version"]
            self._working[name] = info._replace(hide_v2=hide_v2, version=version)
            return
        await self._try(info)

    async def _try(self, info: RuntimeInfo) -> None:
        for hide_v2 in (False, True):
            attempt = info._replace(hide_v2=hide_v2)
            try:
                await asyncio.wait_for(self._run_true(attempt), _PROBE_S)
                self._working[info.name] = attempt._replace(version=await self._version(info))
            except (Failed, OSError) as error:
                self.reasons[info.name] = str(error)
                continue
            self.reasons.pop(info.name, None)
            return
        log.warning("runtime %s does not work here: %s", info.name, self.reasons[info.name])

    async def _run_true(self, info: RuntimeInfo) -> None:
        bundle = self._exec_root / "probe" / f"{info.name}-{int(info.hide_v2)}"
        container_id = f"pier-probe-{info.name}"
        group = f"{self._group}/{info.name}"
        await asyncio.to_thread(write_bundle, bundle, _probe_config(group))
        # A clone of the host's root: pivot_root(2) refuses the root itself.
        order = MonitorOrder(container_id, bundle, info, Overlay(("/",)), cgroup=group)
        monitor = await self._spawner.launch(order)
        try:
            await monitor.start()
            end = await monitor.wait()
            await monitor.ended()
        finally:
            await monitor.disconnect()
            await asyncio.to_thread(remove_bundle, bundle)
        if end.code:
            raise Failed(f"`true` ended with {end.code}")

    async def _version(self, info: RuntimeInfo) -> str:
        """As `--version` says: "crun version 1.8.1" -> "1.8.1"."""
        argv = [info.path, "--version"]
        done = await self._spawner.run(argv, hide_v2=False, timeout_s=_COMMAND_S)
        first = done.stdout.decode(errors="replace").partition("\n")[0]
        return first.rpartition(" ")[2]


def _forget_dead_probes() -> None:
    """Remove the groups of daemons that were killed while they probed."""
    for group in cgroup.list_groups(_PROBES):
        if not Path("/proc", group.removeprefix(_PROBES)).exists():
            cgroup.remove(group)


def _stamp(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _read_cache(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _write_cache(path: Path, working: Mapping[str, RuntimeInfo]) -> None:
    records = {
        name: {
            "stamp": [info.path, *info.arguments, *_stamp(info.path)],
            "hide_v2": info.hide_v2,
            "version": info.version,
        }
        for name, info in working.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(json.dumps(records))


def _probe_config(group: str) -> dict[str, Any]:
    """The least that shows what matters: namespaces, a cgroup with limits, mounts, exec."""
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
    ]
    if Path("/usr").is_mount():
        mounts.append({"destination": "/usr", "type": "bind", "source": "/usr", "options": _BIND})
    namespaces = ("pid", "ipc", "uts", "mount", "network", "cgroup")
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": []},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "linux": {
            "cgroupsPath": group,
            "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 16}},
            "namespaces": [{"type": kind} for kind in namespaces],
        },
    }
