"""A container's private mount namespace: the overlay is here, the host never sees it.

mount_namespaces(7). Only what must not leak is made private, so that a bind asked for as rshared
still carries the container's mounts to the host.
"""

import os
import re
from typing import NamedTuple

from pier.linux import mount, syscalls


class Mounted(NamedTuple):
    point: str
    fstype: str
    shared: bool


def enter_namespace(directory: str, overlay: mount.Overlay | None, *, hide_v2: bool) -> None:
    """A mount namespace of our own, with `overlay` on <directory>/rootfs.

    The overlay is made from the mounts as they are now. hide_v2: the cgroup2 mount of a hybrid
    host is out of sight (crun: "cgroups in hybrid mode not supported").
    """
    if overlay is None and not hide_v2:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    os.chdir("/")
    table = parse_mountinfo(_read("/proc/self/mountinfo"))
    if overlay is not None:
        _make_private(find_mount(table, directory))
        _mount_overlay(overlay, f"{directory}/rootfs")
    if hide_v2:
        _hide_v2(table)


def parse_mountinfo(text: str) -> list[Mounted]:
    """proc_pid_mountinfo(5), in the kernel's order: a later mount covers an earlier one."""
    table = []
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields = head.split(" ")
        shared = any(field.startswith("shared:") for field in fields[6:])
        table.append(Mounted(_unescape(fields[4]), tail.split(" ", 1)[0], shared))
    return table


def find_mount(table: list[Mounted], path: str) -> Mounted:
    """The mount `path` (absolute, no symbolic links) lives on."""
    found = Mounted("/", "", shared=False)
    for entry in table:
        if _holds(entry.point, path) and len(entry.point) >= len(found.point):
            found = entry
    return found


def _holds(point: str, path: str) -> bool:
    return point in ("/", path) or path.startswith(f"{point}/")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _make_private(entry: Mounted) -> None:
    if entry.shared:
        syscalls.mount("", entry.point, flags=syscalls.MS_PRIVATE)


def _mount_overlay(overlay: mount.Overlay, target: str) -> None:
    os.makedirs(target, exist_ok=True)  # noqa: PTH103 - no pathlib in monitors
    fd = mount.open_overlay(overlay)
    try:
        mount.attach(fd, target)
    finally:
        os.close(fd)


def _hide_v2(table: list[Mounted]) -> None:
    """Cover it with its parent directory: umount(2) waits milliseconds for an RCU grace period."""
    for entry in table:
        parent = os.path.dirname(entry.point)  # noqa: PTH120
        if entry.fstype != "cgroup2" or parent == "/sys/fs":
            continue
        _make_private(entry)
        syscalls.mount(parent, entry.point, flags=syscalls.MS_BIND)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
