"""A running container as a further process joins it: its namespaces and its cgroups.

setns(2), pidfd_open(2), cgroups(7), proc_pid_cgroup(5). What is not the plain case (a user
namespace, a process that left its container's group) is not understood: `NotUnderstood`, and the
runtime's own exec is to be asked.
"""

import errno
import os
from typing import NamedTuple

from pier.linux import cgroup, syscalls

_JOINED = (
    ("ipc", syscalls.CLONE_NEWIPC),
    ("uts", syscalls.CLONE_NEWUTS),
    ("net", syscalls.CLONE_NEWNET),
    ("pid", syscalls.CLONE_NEWPID),
    ("cgroup", syscalls.CLONE_NEWCGROUP),
    ("mnt", syscalls.CLONE_NEWNS),
)
_SHARED = ("user", "time")
"""Namespaces a container must have in common with us."""


class NotUnderstood(Exception):
    """The text says what is unusual."""


class Group(NamedTuple):
    """A cgroup's file that takes the one who writes; `other` where the first is EBUSY (v2)."""

    file: str
    other: str = ""


class Container(NamedTuple):
    """pidfd: of its first process, the caller's to close. flags: for setns(2)."""

    pidfd: int
    flags: int
    groups: tuple[Group, ...]


def find_container(pid: int, group: str) -> Container:
    """The container whose first process is `pid`. Raises NotUnderstood, OSError if it has ended."""
    pidfd = os.pidfd_open(pid)
    try:
        groups = tuple(_groups(pid, group))
        flags = _namespaces(pid)
        # It was alive after all this was read, so it was all about this process, not a later one.
        syscalls.pidfd_send_signal(pidfd, 0)
    except BaseException:
        os.close(pidfd)
        raise
    return Container(pidfd, flags, groups)


def _namespaces(pid: int) -> int:
    """Those that are not ours already."""
    for name in _SHARED:
        if _namespace(str(pid), name) != _namespace("self", name):
            raise NotUnderstood(f"a {name} namespace of its own")
    flags = 0
    for name, flag in _JOINED:
        if _namespace(str(pid), name) != _namespace("self", name):
            flags |= flag
    if not flags & syscalls.CLONE_NEWNS:
        raise NotUnderstood("no mount namespace of its own")
    return flags


def _namespace(pid: str, name: str) -> str:
    """Like "net:[4026531840]"; "" where the kernel has no such namespaces."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{name}")  # noqa: PTH115 - no pathlib in monitors
    except FileNotFoundError:
        if not os.path.exists(f"/proc/{pid}/ns"):  # noqa: PTH110
            raise
        return ""


def _groups(pid: int, group: str) -> list[Group]:
    """The container's groups, in every hierarchy its first process has one in.

    v1: `tasks`, for one thread that moves itself waits for no grace period.
    """
    group = f"/{group.strip('/')}"
    layout = cgroup.layout()
    found = []
    for line in cgroup.read(f"/proc/{pid}", "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.split(",")[0].removeprefix("name=")
        point = layout.controllers.get(name) if name or layout.version == 2 else None
        if point is None:
            continue
        if path == group or path.startswith(f"{group}/"):
            found.append(_group(point, group, path, unified=not name))
        elif os.path.isdir(point + group):  # noqa: PTH112
            raise NotUnderstood(f"its first process left its group: {line}")
    if not found:
        raise NotUnderstood(f"process {pid} is not in {group}")
    return found


def _group(point: str, group: str, path: str, *, unified: bool) -> Group:
    if not unified:
        return Group(f"{point}{group}/tasks")
    other = f"{point}{path}/cgroup.procs" if path != group else ""
    return Group(f"{point}{group}/cgroup.procs", other)


def join_groups(opened: list[tuple[int, int]]) -> None:
    """Join each group: descriptors as `open_groups` gave them."""
    for fd, other in opened:
        try:
            os.write(fd, b"0")
        except OSError as error:
            # v2: a group with controllers enabled below holds no processes itself.
            if other < 0 or error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
                raise
            os.write(other, b"0")


def close_groups(opened: list[tuple[int, int]]) -> None:
    for pair in opened:
        for fd in pair:
            if fd >= 0:
                os.close(fd)


def open_groups(groups: tuple[Group, ...]) -> list[tuple[int, int]]:
    """Each with its `other`, -1 for none. To be written when the host's mounts are out of sight."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    return [
        (os.open(group.file, flags), os.open(group.other, flags) if group.other else -1)
        for group in groups
    ]
