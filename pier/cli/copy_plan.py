"""Where `cp` puts things and what it calls them. Pure: the rules of `cp -a`, as Docker has them.

Docker CLI reference, `docker cp`. A path that ends in `/.` means what is in the directory, one
that ends in `/` must be a directory.
"""

from __future__ import annotations

from pier.cli.faults import Fault


class Place:
    """One end of a copy: a path as given, and what is there."""

    __slots__ = ("directory", "exists", "path", "rebase")

    def __init__(self, path: str, *, exists: bool, directory: bool, rebase: str = "") -> None:
        self.path = path
        self.exists = exists
        self.directory = directory
        self.rebase = rebase
        """The name its archive should have used: that of the link that was followed."""


class Plan:
    """Unpack in `directory`, with entries named `old` (or below it) renamed to `new`."""

    __slots__ = ("directory", "new", "old")

    def __init__(self, directory: str, old: str, new: str) -> None:
        self.directory = directory
        self.old = old
        self.new = new

    def rename(self, name: str) -> str:
        """Return the name that an entry of the archive gets."""
        if self.old == self.new:
            return name
        name = name.removeprefix("./") or "."
        if self.old == ".":
            return self.new if name == "." else f"{self.new}/{name}"
        if name == self.old or name.startswith(self.old + "/"):
            return self.new + name[len(self.old) :]
        return name


def split_entry(path: str) -> tuple[str, str]:
    """Return (directory, name) of a path; the name of `x/.` is `.`, of `/` is `/`."""
    if path.endswith("/."):
        return path[:-2] or "/", "."
    trimmed = path.rstrip("/")
    if not trimmed:
        return "/", "/"
    directory, slash, name = trimmed.rpartition("/")
    return (directory or "/") if slash else ".", name


def names_directory(path: str) -> bool:
    return path.endswith(("/", "/.")) or path == "."


def plan_copy(source: Place, target: Place) -> Plan:
    """Decide where the archive of `source` is unpacked so that it becomes `target`."""
    if target.exists and target.directory:
        return Plan(target.path, "", "")
    if target.exists and source.directory:
        raise Fault("cannot copy directory")
    if not target.exists and not source.directory and names_directory(target.path):
        raise Fault("no such directory")
    directory, new = split_entry(target.path)
    old = source.rebase or split_entry(source.path)[1]
    return Plan(directory, "" if old == "/" else old, new)


def split_argument(text: str) -> tuple[str, str]:
    """Return (container, path) of a `cp` argument; a local path has no container."""
    if text.startswith("/"):
        return "", text
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return "", text
    return container, path
