"""Where a mount really goes: links in an image, a container's root or a volume lead elsewhere.

Runtimes follow a target's links inside the root. One that leads into /dev puts foreign files in the
place of devices the runtime uses afterwards as root, to hide files of /proc or to open a console
(CVE-2025-31133, CVE-2025-52565, CVE-2026-88264 and -88265 have this shape); one that leads into
/proc changes what it takes for procfs (CVE-2019-19921). Newer runtimes see through that, those of
distributions often do not.
"""

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from pier.errors import InvalidArgument
from pier.linux.paths import open_in_root
from pier.runtime.reserved_paths import MADE_BY_RUNTIME, holds, is_reserved

_MAX_LINKS = 40


class TargetLedAway(InvalidArgument):
    def __init__(self, target: str, real: str) -> None:
        super().__init__(f"cannot mount at {target}: links lead from there to {real}")


class Target(NamedTuple):
    """A mount to be. sources: host paths it shows, the upper ones first; none: it is empty."""

    destination: str
    sources: tuple[str, ...] = ()


def check_targets(root_fd: int, targets: Sequence[Target]) -> None:
    """Raise TargetLedAway for one whose links lead to what is the runtime's own. Blocks."""
    for target, real in zip(targets, real_targets(root_fd, targets), strict=True):
        if real != target.destination and is_reserved(real):
            raise TargetLedAway(target.destination, real)


def real_targets(root_fd: int, targets: Sequence[Target]) -> list[str]:
    """Where each of `targets` would be mounted, one after the other, in the root `root_fd`.

    Links in what is mounted before count too. Raises TargetLedAway for links without end. Blocks.
    """
    mounted = [Target(own) for own in MADE_BY_RUNTIME]
    for target in targets:
        real = leads_to(root_fd, target.destination, mounted)
        mounted.append(Target(real, target.sources))
    return [target.destination for target in mounted[len(MADE_BY_RUNTIME) :]]


def leads_to(root_fd: int, path: str, mounted: Sequence[Target] = ()) -> str:
    """`path` with its links followed inside the root; what is missing is taken by its letters."""
    todo, done = path.split("/")[::-1], list[str]()
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            del done[-1:]
        if name in ("", ".", ".."):
            continue
        link = _link("/" + "/".join([*done, name]), root_fd, mounted)
        if link is None:
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise TargetLedAway(path, "one another")
        if link.startswith("/"):
            done.clear()
        todo += link.split("/")[::-1]
    return "/" + "/".join(done)


def _link(path: str, root_fd: int, mounted: Sequence[Target]) -> str | None:
    """The target of the link at `path`, None if there is something else or nothing."""
    holders = [target for target in mounted if holds(target.destination, path)]
    if not holders:
        return _read_link(root_fd, path)
    holder = max(holders, key=lambda target: len(target.destination))
    below = path.removeprefix(holder.destination)
    links = (_link_below(source, below) for source in holder.sources if below)
    return next((link for link in links if link is not None), None)


def _link_below(source: str, path: str) -> str | None:
    try:
        fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _read_link(fd, path)
    finally:
        os.close(fd)


def _read_link(root_fd: int, path: str) -> str | None:
    try:
        fd = open_in_root(root_fd, path, os.O_PATH, follow=False)
    except OSError:
        return None
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            return None
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)
