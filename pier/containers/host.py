"""Reads what containers depend on from this machine: HostFacts, device nodes, block devices.

Sources: proc(5), capabilities(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import contextlib
import os
import resource
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pier.containers.capabilities import KERNEL
from pier.containers.devices import DeviceNode
from pier.containers.facts import HostFacts
from pier.containers.resources import DeviceNumber
from pier.containers.rlimits import NAMES, UNLIMITED
from pier.containers.spec import Device, Resources, Ulimit
from pier.errors import Failed
from pier.linux.cgroup import CgroupLayout, layout, read

_DEV = Path("/dev")
_NOT_DEVICES = frozenset(("pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"))
_MOST_BELOW = 10_000
_PROBED_GROUP_DEPTH = 3
_SCHEDULERS = "/sys/block/*/queue/scheduler"


class NoSuchDevice(Failed):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            "error gathering device information while adding custom device "
            f'"{path}": {reason.lower()}'
        )


def cpu_flags() -> frozenset[str]:
    """What the first processor can do, by Linux's names."""
    with Path("/proc/cpuinfo").open() as file:
        found = next((line for line in file if line.startswith("flags")), "")
    return frozenset(found.partition(":")[2].split())


class NoRatedDevice(Failed):
    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(f"stat {path}: {(error.strerror or str(error)).lower()}")


def read_host_facts() -> HostFacts:
    """Everything at once, at the daemon's start. Blocks for a few milliseconds."""
    groups = layout()
    held = held_capabilities(_text("/proc/self/status"))
    resourceful = "CAP_SYS_RESOURCE" in held
    controllers = frozenset(groups.controllers)
    return HostFacts(
        cgroup_version=groups.version,
        cpus=len(os.sched_getaffinity(0)),
        cpuset_cpus=_cpuset(groups, "cpus") or _text("/sys/devices/system/cpu/online"),
        cpuset_mems=_cpuset(groups, "mems") or _text("/sys/devices/system/node/online"),
        capabilities=held,
        hard_limits=_hard_limits(),
        own_limits=(_own_limit("nofile", resource.RLIMIT_NOFILE),),
        raises_limits=resourceful,
        lowers_oom_score=resourceful,
        oom_score_adj=int(_text("/proc/self/oom_score_adj") or 0),
        memory="memory" in controllers,
        memory_reservation="memory" in controllers,
        cpu_shares="cpu" in controllers,
        cpuset="cpuset" in controllers,
        pids="pids" in controllers,
        cgroup_namespaces=Path("/proc/self/ns/cgroup").exists(),
        seccomp=Path("/proc/sys/kernel/seccomp").exists(),
        apparmor=_text("/sys/module/apparmor/parameters/enabled") == "Y",
        apparmor_profiles=_apparmor_profiles(_text("/sys/kernel/security/apparmor/profiles")),
        selinux=Path("/sys/fs/selinux/enforce").exists(),
        thermal_throttle=_thermal_throttle(),
        **_version_facts(groups),
    )


def held_capabilities(status: str) -> tuple[str, ...]:
    """The effective ones of /proc/<pid>/status, in the kernel's order."""
    mask = int(status.partition("CapEff:")[2].split()[0], 16)
    return tuple(name for bit, name in enumerate(KERNEL) if mask >> bit & 1)


def _version_facts(groups: CgroupLayout) -> dict[str, bool]:
    """Features that one of the two versions lacks, or names differently, by their files."""
    if groups.version == 2:
        io, memory = "io" in groups.controllers, "memory" in groups.controllers
        return {
            "swap": memory and _limits_swap(groups),
            "memory_swappiness": False,
            "oom_kill_disable": False,
            "cpu_cfs": "cpu" in groups.controllers,
            "cpu_realtime": False,
            "blkio_weight": io and (_has_bfq() or _has(groups, "io", "io.cost.qos")),
            "blkio_weight_device": io and _has_bfq(),
            "blkio_throttle": io,
        }
    return {
        "swap": _has(groups, "memory", "memory.memsw.limit_in_bytes"),
        "memory_swappiness": _has(groups, "memory", "memory.swappiness"),
        "oom_kill_disable": _has(groups, "memory", "memory.oom_control"),
        "cpu_cfs": _has(groups, "cpu", "cpu.cfs_quota_us"),
        "cpu_realtime": _has(groups, "cpu", "cpu.rt_runtime_us"),
        "blkio_weight": _has(groups, "blkio", "blkio.weight"),
        "blkio_weight_device": _has(groups, "blkio", "blkio.weight_device"),
        "blkio_throttle": _has(groups, "blkio", "blkio.throttle.read_bps_device"),
    }


def _has(groups: CgroupLayout, controller: str, file: str) -> bool:
    return controller in groups.controllers and Path(groups.path(controller, ""), file).exists()


def _limits_swap(groups: CgroupLayout) -> bool:
    """The root group of v2 has no limits, but any other with the memory controller tells."""
    root = Path(groups.path("memory", ""))
    for depth in range(_PROBED_GROUP_DEPTH):
        for limit in root.glob("*/" * depth + "memory.max"):
            return limit.with_name("memory.swap.max").exists()
    return True


def _has_bfq() -> bool:
    """The scheduler that gives v2 io.bfq.weight; runtimes know no other weight of a device.

    The weight of a group may also be iocost's, whose io.cost.qos is in the root group.
    """
    return any("bfq" in path.read_text() for path in Path("/").glob(_SCHEDULERS.strip("/")))


def _cpuset(groups: CgroupLayout, kind: str) -> str:
    if "cpuset" not in groups.controllers:
        return ""
    root = groups.path("cpuset", "")
    effective = f"cpuset.{kind}.effective" if groups.version == 2 else f"cpuset.effective_{kind}"
    return read(root, effective).strip() or read(root, f"cpuset.{kind}").strip()


def _hard_limits() -> dict[str, int]:
    limits = {}
    for name in NAMES:
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is not None:
            limits[name] = _own_limit(name, number).hard
    return limits


def _own_limit(name: str, number: int) -> Ulimit:
    soft, hard = (
        UNLIMITED if value == resource.RLIM_INFINITY else value
        for value in resource.getrlimit(number)
    )
    return Ulimit(name=name, soft=soft, hard=hard)


def _apparmor_profiles(text: str) -> frozenset[str]:
    """Names of lines such as "docker-default (enforce)"."""
    return frozenset(line.rpartition(" (")[0] for line in text.splitlines() if " (" in line)


def _thermal_throttle() -> tuple[str, ...]:
    found = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    return tuple(sorted(str(path) for path in found))


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def device_nodes(devices: Iterable[Device]) -> list[DeviceNode]:
    """The nodes of `--device`: links followed, directories with everything below.

    Raises NoSuchDevice.
    """
    nodes = []
    for device in devices:
        inside = device.path_in_container or device.path_on_host
        nodes += list(_nodes_at(device.path_on_host, inside, device.permissions or "rwm"))
    return nodes


def _nodes_at(path: str, inside: str, permissions: str) -> Iterator[DeviceNode]:
    try:
        real = Path(path).resolve(strict=True)
        found = real.stat() if path else os.stat("")
    except (OSError, RuntimeError) as error:  # RuntimeError: links without end
        raise NoSuchDevice(path, getattr(error, "strerror", "") or "too many links") from error
    if stat.S_ISDIR(found.st_mode):
        for below in sorted(_walk(real)):
            yield from _one_node(below, f"{inside}/{below.relative_to(real)}", permissions)
        return
    nodes = list(_one_node(real, inside, permissions))
    if not nodes:
        raise NoSuchDevice(path, "not a device node")
    yield from nodes


def host_devices() -> list[DeviceNode]:
    """Every device node of the host, for a privileged container."""
    nodes: list[DeviceNode] = []
    for path in sorted(_walk(_DEV)):
        nodes += _one_node(path, str(path), "rwm")
    return nodes


def _walk(top: Path) -> Iterator[Path]:
    """What is below, links left out. Raises NoSuchDevice for more than any /dev holds."""
    pending, seen = [top], 0
    while pending:
        directory = pending.pop()
        for path in directory.iterdir():
            seen += 1
            if seen > _MOST_BELOW:
                raise NoSuchDevice(str(top), "too many files for a directory of devices")
            if path.is_symlink() or (directory == _DEV and path.name in _NOT_DEVICES):
                continue
            if path.is_dir():
                pending.append(path)
            else:
                yield path


def _one_node(path: Path, inside: str, permissions: str) -> Iterator[DeviceNode]:
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            yield DeviceNode(
                path=inside,
                kind="c" if stat.S_ISCHR(found.st_mode) else "b",
                major=os.major(found.st_rdev),
                minor=os.minor(found.st_rdev),
                mode=stat.S_IMODE(found.st_mode),
                uid=found.st_uid,
                gid=found.st_gid,
                permissions=permissions,
            )


def block_devices(resources: Resources) -> dict[str, DeviceNumber]:
    """The numbers of the devices that block I/O limits name, by path. Raises NoRatedDevice."""
    rates = (
        *resources.blkio_weight_device,
        *resources.device_read_bps,
        *resources.device_write_bps,
        *resources.device_read_iops,
        *resources.device_write_iops,
    )
    paths = {rate.path for rate in rates}
    return {path: _number(path) for path in sorted(paths)}


def _number(path: str) -> DeviceNumber:
    try:
        found = os.stat(path)
    except OSError as error:
        raise NoRatedDevice(path, error) from error
    return DeviceNumber(os.major(found.st_rdev), os.minor(found.st_rdev))
