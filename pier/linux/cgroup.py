"""Control groups, v1, v2 or both at once (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst).

On a hybrid host controllers are v1 and the v2 mount owns next to nothing: that counts as 1.
A *group* is a path inside a hierarchy, as config.json's cgroupsPath: "/pier/<id>".
Also loaded by the monitors: imports next to nothing.
"""

import contextlib
import errno
import functools
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

UNIFIED = ""
"""The key of a v2 hierarchy in CgroupLayout.controllers, whatever its controllers."""

_REMOVE_S = 5.0
_STRAYS = "/sys/fs/cgroup"
_EVACUATED = "/init"
"""As Docker's dind script calls it."""
_PASSES = 10


class CgroupLayout(NamedTuple):
    """version 2: every controller has the one mount point. v1: each has its own, "systemd" too."""

    version: int
    controllers: Mapping[str, str]

    def path(self, controller: str, group: str) -> str:
        """The directory of `group`; KeyError if this host has no such controller."""
        return f"{self.controllers[controller]}/{group.strip('/')}"

    def directories(self, group: str) -> list[str]:
        """Where `group` exists now, one for each hierarchy."""
        paths = {f"{point}/{group.strip('/')}" for point in self.controllers.values()}
        return sorted(path for path in paths if os.path.isdir(path))  # noqa: PTH112


@functools.cache
def layout() -> CgroupLayout:
    """As mounted when first asked: hosts mount their hierarchies once, at boot."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mountinfo = file.read()
    unified = _v2_mount(mountinfo)
    # "" where the mount is covered, as a monitor does for crun.
    return parse_layout(mountinfo, read(unified, "cgroup.controllers") if unified else "")


def parse_layout(mountinfo: str, v2_controllers: str) -> CgroupLayout:
    """mountinfo: proc_pid_mountinfo(5). v2_controllers: the root's cgroup.controllers."""
    v1 = dict(_v1_mounts(mountinfo))
    unified = _v2_mount(mountinfo)
    names = v2_controllers.split()
    if unified and "memory" not in v1 and "cpu" not in v1:
        return CgroupLayout(2, {UNIFIED: unified, **dict.fromkeys(names, unified)})
    # A controller v1 does not have may still live in the v2 tree (hugetlb, misc).
    return CgroupLayout(1, {**dict.fromkeys(names, unified), **v1})


def _entries(mountinfo: str) -> Iterator[tuple[str, list[str]]]:
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        yield head.split(" ")[4], tail.split(" ")


def _v2_mount(mountinfo: str) -> str:
    return next((point for point, tail in _entries(mountinfo) if tail[0] == "cgroup2"), "")


def _v1_mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    flags = {"rw", "ro", "xattr", "clone_children", "none"}
    for point, tail in _entries(mountinfo):
        if tail[0] != "cgroup":
            continue
        for option in tail[2].split(","):
            if option not in flags and not option.startswith("release_agent="):
                yield option.removeprefix("name="), point


def parse_flat(text: str) -> dict[str, int]:
    """Lines of "key value": memory.stat, cpu.stat, memory.events, memory.oom_control."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def parse_nested(text: str) -> dict[str, dict[str, int]]:
    """Lines of "major:minor key=value ...": io.stat."""
    table = {}
    for line in text.splitlines():
        device, *pairs = line.split()
        values = (pair.partition("=") for pair in pairs)
        table[device] = {key: int(value) for key, _, value in values if value.isdigit()}
    return table


def parse_number(text: str) -> int | None:
    """One number; None for "max"."""
    text = text.strip()
    return None if text == "max" else int(text)


def read(group_path: str, name: str) -> str:
    """A control file's text; "" if the kernel or the group does not have it."""
    try:
        with open(f"{group_path}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENOTDIR):
            return ""
        raise


def write(group_path: str, name: str, value: str) -> None:
    fd = os.open(f"{group_path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def pids(group: str, *, recursive: bool = True) -> list[int]:
    """The processes of a group, those of its subgroups too; empty if it does not exist."""
    found: set[int] = set()
    for directory in layout().directories(group):
        for path, _, _ in os.walk(directory):
            found.update(map(int, read(path, "cgroup.procs").split()))
            if not recursive:
                break
    return sorted(found)


def list_groups(prefix: str) -> list[str]:
    """The groups whose path begins with `prefix`, as crun's strays do too; "/a-" finds "/a-1"."""
    parent, _, start = prefix.rpartition("/")
    found: set[str] = set()
    for point in {_STRAYS, *layout().controllers.values()}:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found.update(name for name in os.listdir(f"{point}{parent}") if name.startswith(start))  # noqa: PTH208
    return sorted(f"{parent}/{name}" for name in found)


def frozen(group: str) -> bool:
    """Whether all of the group is frozen."""
    where = layout()
    if where.version == 2:
        return parse_flat(read(where.path(UNIFIED, group), "cgroup.events")).get("frozen") == 1
    return read(where.path("freezer", group), "freezer.state").strip() == "FROZEN"


def thaw(group: str) -> None:
    """So that signals arrive; no group, no effect."""
    where = layout()
    with contextlib.suppress(FileNotFoundError, KeyError):
        if where.version == 2:
            write(where.path(UNIFIED, group), "cgroup.freeze", "0")
        else:
            write(where.path("freezer", group), "freezer.state", "THAWED")


def kill(group: str) -> None:
    """SIGKILL to every process of the group and its subgroups, frozen ones included."""
    where = layout()
    thaw(group)
    if where.version == 2:
        with contextlib.suppress(FileNotFoundError):
            write(where.path(UNIFIED, group), "cgroup.kill", "1")
            return
    for pid in pids(group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def make_room() -> None:
    """In a container: have the root that is seen there free of processes, ours included.

    v2 gives no controllers to the subgroups of a group with processes in it. The root of a cgroup
    namespace is such a group, unlike the machine's own, which has no cgroup.type.
    """
    where = layout()
    if where.version != 2 or not read(root := where.controllers[UNIFIED], "cgroup.type"):
        return
    if "0::/\n" not in read("/proc/self", "cgroup"):
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{root}{_EVACUATED}")  # noqa: PTH102
    for _ in range(_PASSES):  # they fork meanwhile
        found = read(root, "cgroup.procs").split()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                write(f"{root}{_EVACUATED}", "cgroup.procs", pid)


def remove(group: str, *, timeout_s: float = _REMOVE_S) -> None:
    """Remove a group from every hierarchy, its subgroups first; what still runs there is killed.

    Twice is fine. Raises OSError (EBUSY) if processes do not go away in time. Blocks: use a
    thread where processes may be left.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        left = [error for path in layout().directories(group) if (error := _remove_tree(path))]
        if not left:
            remove_stray(group)
            return
        if time.monotonic() > deadline:
            raise left[0]
        kill(group)
        time.sleep(0.005)


def remove_stray(group: str, root: str = _STRAYS) -> None:
    """Remove what crun leaves on a hybrid host: plain directories beside the hierarchies.

    With the v2 mount out of its sight it takes the tmpfs that holds the v1 mounts for one, and
    its cgroup.procs and limits are plain files. A real group's cannot be unlinked.
    """
    if layout().version == 2 or not group.strip("/"):
        return
    for directory, _, files in os.walk(f"{root}/{group.strip('/')}", topdown=False):
        for name in files:
            with contextlib.suppress(OSError):
                os.unlink(f"{directory}/{name}")  # noqa: PTH108 - no pathlib in monitors
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106


def remove_empty(group: str) -> None:
    """Remove a group that nothing is in any more: the parent of containers' groups."""
    for directory in {f"{_STRAYS}{group}", *layout().directories(group)}:
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106


def _remove_tree(path: str) -> OSError | None:
    """Depth first; control files go with their directory."""
    failed = None
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)  # noqa: PTH106 - no pathlib in monitors
        except FileNotFoundError:
            continue
        except OSError as error:
            failed = error
    return failed
