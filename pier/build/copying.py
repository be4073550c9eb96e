"""A COPY or ADD step from beginning to end: find the sources, name them for the cache, copy.

First everything that is copied is gathered (downloads, repositories, files of trees); its digests
are the step's inputs. Only on a miss a snapshot is mounted and the same entries are put into it.
"""

import contextlib
import os
import posixpath
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from pier.build import fetch, trees
from pier.build.cache import file_inputs
from pier.build.chmod import parse_mode
from pier.build.content import digests
from pier.build.copy import (
    Placing,
    copy_directory,
    copy_file,
    is_archive,
    make_directories,
    open_destination,
    unpack,
    write_file,
)
from pier.build.git import GitAccess
from pier.build.ignore import IgnoreRules
from pier.build.owners import Owner, find_identity, find_owner
from pier.build.sources import Sources, opened_git
from pier.build.steps import CopyStep, InlineFile, is_git_url, is_http_url
from pier.build.trees import Entry, Tree
from pier.errors import InvalidArgument
from pier.linux.mount import Overlay, open_overlay
from pier.linux.paths import STRICTLY_BELOW, open_plain
from pier.oci.digest import digest_of
from pier.threads import blocking

_CHUNK = 1 << 20
_PIVOT = "/./"


@dataclass(frozen=True, slots=True)
class Piece:
    """One source that was found. `name`: of a single file in the destination; `subpath`: where
    below the destination it goes (--parents). `archive`: to be unpacked."""

    tree: Tree
    entries: tuple[Entry, ...]
    name: str
    subpath: str = ""
    archive: bool = False

    @property
    def is_directory(self) -> bool:
        return bool(self.entries) and self.entries[0].is_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All that a step copies. `inputs` name it for the cache."""

    step: CopyStep
    pieces: tuple[Piece, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)


async def gather(
    keyword: str, step: CopyStep, sources: Sources, directory: Path, on_open: Callable[[int], None]
) -> Gathered:
    """Find everything the step copies. on_open is told each descriptor to close in the end."""
    fetched: dict[str, Piece] = {}
    for source in step.sources if step.remotes else ():
        if is_http_url(source):
            fetched[source] = await _downloaded(source, step, directory, on_open)
        elif is_git_url(source):
            access = sources.git_access
            fetched[source] = await _checked_out(source, step, directory, access, on_open)
    tree = await sources.tree(step.origin)
    return await blocking(_gathered, keyword, step, fetched, tree)


def _gathered(keyword: str, step: CopyStep, fetched: Mapping[str, Piece], tree: Tree) -> Gathered:
    pieces: list[Piece] = []
    for source in step.sources:
        if source in fetched:
            pieces.append(fetched[source])
        else:
            pieces += _local(keyword, source, step, tree)
    return Gathered(step=step, pieces=tuple(pieces), inputs=_inputs(step, pieces))


def perform(gathered: Gathered, overlay: Overlay, now_ns: int) -> None:
    """Copy into a mounted snapshot. Blocking."""
    root_fd = open_overlay(overlay)
    try:
        _copy_all(gathered, root_fd, _placing(gathered.step, root_fd, now_ns))
    finally:
        os.close(root_fd)


def with_owner_of(step: CopyStep, overlay: Overlay) -> CopyStep:
    """A --link has nothing below it to look names up in: they are looked up here. Blocking."""
    if not step.chown:
        return step
    root_fd = open_overlay(overlay)
    try:
        owner = find_owner(step.chown, root_fd)
    finally:
        os.close(root_fd)
    return replace(step, chown=f"{owner.uid}:{owner.gid}")


def make_working_directory(overlay: Overlay, path: str, user: str, now_ns: int) -> None:
    """A WORKDIR belongs to the USER in force, if the image knows one of that name."""
    root_fd = open_overlay(overlay)
    try:
        owner = None
        if user:
            with contextlib.suppress(InvalidArgument):
                identity = find_identity(user, root_fd)
                owner = Owner(identity.uid, identity.gid)
        make_directories(root_fd, path, Placing(owner, now_ns=now_ns))
    finally:
        os.close(root_fd)


def _placing(step: CopyStep, root_fd: int, now_ns: int) -> Placing:
    owner = find_owner(step.chown, root_fd) if step.chown else None
    mode = parse_mode(step.chmod) if step.chmod else None
    return Placing(owner, mode, now_ns)


def _copy_all(gathered: Gathered, root_fd: int, placing: Placing) -> None:
    for piece in gathered.pieces:
        if piece.entries:
            _copy_piece(piece, gathered.step, root_fd, placing)
    for file in gathered.step.inline:
        into = gathered.step.into_directory
        to = open_destination(root_fd, gathered.step.destination, directory=into, placing=placing)
        write_file(file.content, file.name, root_fd, to, placing)


def _copy_piece(piece: Piece, step: CopyStep, root_fd: int, placing: Placing) -> None:
    directory = step.into_directory or piece.is_directory or piece.archive or step.parents
    path = posixpath.join(step.destination, piece.subpath) if step.parents else step.destination
    to = open_destination(root_fd, path, directory=directory, placing=placing)
    if piece.archive:
        with _reading(piece) as file:
            unpack(iter(lambda: file.read(_CHUNK), b""), root_fd, to.directory, placing)
    elif piece.is_directory:
        copy_directory(piece.tree, piece.entries, root_fd, to, placing)
    else:
        copy_file(piece.tree, piece.entries[0], piece.name, root_fd, to, placing)


def _local(keyword: str, source: str, step: CopyStep, tree: Tree) -> list[Piece]:
    pieces = []
    for found in trees.find_sources(tree, source.replace(_PIVOT, "/"), keyword):
        entries = tuple(trees.entries_below(tree, found, step.excludes))
        name = posixpath.basename(found.name)
        piece = Piece(tree, entries, name, _subpath(source, found.name, entries))
        if step.remotes and step.unpack is not False and _is_file(entries):
            piece = Piece(tree, entries, name, archive=_is_archive(piece))
        pieces.append(piece)
    return pieces


def _is_file(entries: tuple[Entry, ...]) -> bool:
    return len(entries) == 1 and entries[0].mode & 0o170000 == 0o100000


def _subpath(source: str, name: str, entries: tuple[Entry, ...]) -> str:
    """What --parents keeps of the source's path: all, or what follows a `/./`.

    For a directory its own name as well, for a file only the directories above it.
    """
    prefix = ""
    if _PIVOT in source:
        prefix = trees.inside(source.partition(_PIVOT)[0])
    kept = posixpath.relpath("/" + name, "/" + prefix) if prefix else name
    is_directory = bool(entries) and entries[0].is_directory
    return kept if is_directory else posixpath.dirname(kept)


def _reading(piece: Piece) -> BinaryIO:
    """The single file of a piece, to be closed by the caller."""
    path = piece.entries[0].path
    fd = open_plain(piece.tree.root_fd, path, follow=False, resolve=STRICTLY_BELOW)
    return os.fdopen(fd, "rb")


async def _downloaded(
    url: str, step: CopyStep, directory: Path, on_open: Callable[[int], None]
) -> Piece:
    name = fetch.file_name_of(url)
    if not name and step.into_directory:
        raise InvalidArgument(f"cannot determine filename for source {url}")
    place = directory / f"download-{secrets.token_hex(8)}"
    place.mkdir()
    await fetch.download(url, place / "file", checksum=step.checksum)
    tree = _private_tree(place, on_open)
    found = trees.find_sources(tree, "file", "ADD")[0]
    piece = Piece(tree, tuple(trees.entries_below(tree, found, ())), name or "file")
    if step.unpack:
        return Piece(tree, piece.entries, piece.name, archive=_is_archive(piece))
    return piece


async def _checked_out(
    url: str,
    step: CopyStep,
    directory: Path,
    access: GitAccess,
    on_open: Callable[[int], None],
) -> Piece:
    place = directory / f"git-{secrets.token_hex(8)}"
    place.mkdir()
    suffix = ("&" if "?" in url else "?") + f"checksum={step.checksum}" if step.checksum else ""
    location, hash_mark, fragment = url.partition("#")
    wanted = f"{location}{suffix}{hash_mark}{fragment}"
    tree = await opened_git(wanted, place, access, keep_git_dir=step.keep_git_dir)
    on_open(tree.root_fd)
    found = trees.find_sources(tree, ".", "ADD")[0]
    return Piece(tree, tuple(trees.entries_below(tree, found, step.excludes)), "")


def _private_tree(place: Path, on_open: Callable[[int], None]) -> Tree:
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    on_open(fd)
    return Tree(fd, IgnoreRules([]))


def _is_archive(piece: Piece) -> bool:
    def read() -> Iterator[bytes]:
        with _reading(piece) as file:
            yield from iter(lambda: file.read(_CHUNK), b"")

    return is_archive(read)


def _inputs(step: CopyStep, pieces: list[Piece]) -> dict[str, str]:
    named = [pair for piece in pieces for pair in digests(piece.tree, piece.entries)]
    inputs = file_inputs(named)
    inputs.update(_inline_inputs(step.inline))
    for name, value in _flags(step).items():
        inputs[f"flag {name}"] = value
    return inputs


def _inline_inputs(files: tuple[InlineFile, ...]) -> dict[str, str]:
    return {f"file <<{file.name}": digest_of(file.content) for file in files}


def _flags(step: CopyStep) -> dict[str, str]:
    flags = {
        "--link": str(step.link) if step.link else "",
        "--parents": str(step.parents) if step.parents else "",
        "--exclude": "\0".join(step.excludes),
        "--unpack": "" if step.unpack is None else str(step.unpack),
        "--keep-git-dir": str(step.keep_git_dir) if step.keep_git_dir else "",
    }
    return {name: value for name, value in flags.items() if value}
