"""Where COPY takes files from: choosing them in a tree, without ever leaving it.

A tree is a context, a stage or an image. Sources may be patterns; links in a source's own path
are followed inside the tree, links met below it are copied as links. What is chosen is a list of
entries, sorted, which then is hashed and copied: both see the same.
"""

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pier.build.globs import file_match, has_wildcards
from pier.build.ignore import IgnoreRules
from pier.errors import InvalidArgument
from pier.linux.paths import STRICTLY_BELOW, open_in_root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
MAX_ENTRIES = 2_000_000


class SourceNotFound(InvalidArgument):
    """A COPY source that is not there, in the words of Docker's builder."""

    def __init__(self, keyword: str, path: str, *, context: bool) -> None:
        where = "file not found in build context or excluded by .dockerignore: " * context
        super().__init__(f"{keyword} failed: {where}stat {path}: file does not exist")


class NoSources(InvalidArgument):
    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} failed: no source files were specified")


class TooManyFiles(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(f"more than {MAX_ENTRIES} files to copy")


@dataclass(frozen=True, slots=True)
class Tree:
    """An open directory as a source of files. `own_ids`: owners mean something and are kept."""

    root_fd: int
    ignore: IgnoreRules
    own_ids: bool = False
    context: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to be copied: `path` in the tree, `target` below the destination ("" is itself).

    Only `path`s without links in them, so they can be opened strictly.
    """

    path: str
    target: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    device: int
    inode: int
    links: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class Found:
    """One matched source: `name` as written, `path` where it really is in the tree."""

    name: str
    path: str
    status: os.stat_result


def inside(path: str) -> str:
    """`path` as a clean name in a tree: `..` cannot climb out, no slash at either end."""
    return posixpath.normpath("/" + path).lstrip("/")


def find_sources(tree: Tree, pattern: str, keyword: str) -> list[Found]:
    """What one source word means; raise SourceNotFound or NoSources."""
    names = sorted(_matches(tree, pattern)) if has_wildcards(pattern) else [inside(pattern)]
    found = [source for name in names if (source := _look(tree, name)) is not None]
    if found:
        return found
    if has_wildcards(pattern):
        raise NoSources(keyword)
    raise SourceNotFound(keyword, pattern, context=tree.context)


def entries_below(tree: Tree, source: Found, excludes: Sequence[str]) -> Iterator[Entry]:
    """The source itself, then all below it if it is a directory, sorted by path."""
    rules = IgnoreRules(excludes)
    if not stat.S_ISDIR(source.status.st_mode):
        if not rules.excludes(posixpath.basename(source.name)):
            yield _entry(source.path, "", source.status)
        return
    yield _entry(source.path, "", source.status)
    pending = [""]
    count = 0
    while pending:
        directory = pending.pop()
        below = sorted(_listed(tree, source.path, directory), key=lambda item: item[0])
        subdirectories = []
        for relative, status in below:
            path = posixpath.join(source.path, relative)
            is_directory = stat.S_ISDIR(status.st_mode)
            skipped = _skipped(tree.ignore, path) or _skipped(rules, relative)
            if skipped and not (is_directory and _may_hold(tree.ignore, rules, path, relative)):
                continue
            count += 1
            if count > MAX_ENTRIES:
                raise TooManyFiles
            yield _entry(path, relative, status)
            if is_directory:
                subdirectories.append(relative)
        pending.extend(reversed(subdirectories))


def _skipped(rules: IgnoreRules, path: str) -> bool:
    return bool(rules) and bool(path) and rules.excludes(path)


def _may_hold(ignore: IgnoreRules, excludes: IgnoreRules, path: str, relative: str) -> bool:
    """Whether an exception could bring back something below an excluded directory."""
    if _skipped(ignore, path) and ignore.prunes(path):
        return False
    return not (_skipped(excludes, relative) and excludes.prunes(relative))


def _listed(tree: Tree, base: str, directory: str) -> list[tuple[str, os.stat_result]]:
    fd = open_in_root(
        tree.root_fd, posixpath.join(base, directory), _DIRECTORY, resolve=STRICTLY_BELOW
    )
    try:
        found = []
        with os.scandir(fd) as listing:
            for item in listing:
                # An overlay lists what a layer deletes in a directory of its own, and has it not.
                with contextlib.suppress(FileNotFoundError):
                    status = item.stat(follow_symlinks=False)
                    found.append((posixpath.join(directory, item.name), status))
        return found
    finally:
        os.close(fd)


def _entry(path: str, target: str, status: os.stat_result) -> Entry:
    return Entry(
        path=path,
        target=target,
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        device=status.st_rdev,
        inode=status.st_ino,
        links=status.st_nlink,
    )


def _look(tree: Tree, name: str) -> Found | None:
    """Follow `name` inside the tree; None if it is not there or left out."""
    try:
        fd = open_in_root(tree.root_fd, name, os.O_PATH)
    except OSError:
        return None
    try:
        path = _real_path(tree, fd)
        status = os.fstat(fd)
    finally:
        os.close(fd)
    for candidate in {name, path}:
        if not _visible(tree, candidate, directory=stat.S_ISDIR(status.st_mode)):
            return None
    return Found(name, path, status)


def _visible(tree: Tree, path: str, *, directory: bool) -> bool:
    if not _skipped(tree.ignore, path):
        return True
    return directory and not tree.ignore.prunes(path)


def _real_path(tree: Tree, fd: int) -> str:
    root = str(Path(f"/proc/self/fd/{tree.root_fd}").readlink())
    path = str(Path(f"/proc/self/fd/{fd}").readlink())
    return path.removeprefix(root).strip("/")


def _matches(tree: Tree, pattern: str) -> Iterator[str]:
    """Names that match, one component at a time: no wildcard but `**` crosses a slash."""
    names = [""]
    parts = inside(pattern).split("/")
    for position, part in enumerate(parts):
        if part == "**":
            names = [deep for name in names for deep in _directories(tree, name)]
            if position == len(parts) - 1:
                names = [below for name in names for below in _children(tree, name)]
        elif has_wildcards(part):
            names = [
                child
                for name in names
                for child in _children(tree, name)
                if file_match(part, posixpath.basename(child))
            ]
        else:
            names = [posixpath.join(name, part) for name in names]
        if len(names) > MAX_ENTRIES:
            raise TooManyFiles
    yield from dict.fromkeys(names)


def _children(tree: Tree, name: str) -> list[str]:
    try:
        fd = open_in_root(tree.root_fd, name, _DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(fd) as listing:
            return sorted(posixpath.join(name, item.name) for item in listing)
    finally:
        os.close(fd)


def _directories(tree: Tree, name: str) -> Iterator[str]:
    """`name` and every directory below it; links to directories are not entered."""
    yield name
    pending = [name]
    while pending:
        directory = pending.pop()
        for child, status in _listed(tree, directory, ""):
            if stat.S_ISDIR(status.st_mode):
                path = posixpath.join(directory, child)
                yield path
                pending.append(path)
