"""The files a build may take from: a directory of its own, filled from what the client sent.

An archive (in any compression) is unpacked below a directory that only the daemon can enter; it
cannot lead a write elsewhere (pier.archive.extract) and is bounded in size and number. Then the
Dockerfile and its ignore file are found in it.
"""

import contextlib
import errno
import itertools
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pier.archive.compression import decompressed
from pier.archive.entry import DIRECTORY, Entry
from pier.archive.header import BLOCK_SIZE
from pier.archive.reader import TarReader
from pier.archive.walk import join, walk
from pier.build.copy import ArchiveBomb, Placer, Placing, is_archive
from pier.build.directories import remove_directory
from pier.build.ignore import IgnoreRules, read_ignore_file
from pier.build.parser import MAX_DOCKERFILE_BYTES
from pier.build.trees import Tree
from pier.errors import InvalidArgument
from pier.linux.paths import STRICTLY_BELOW, NotAPlainFile, open_in_root, open_plain
from pier.linux.trees import remove_tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK = 1 << 20
SMALL_BYTES = 16 << 20
MAX_CONTEXT_BYTES = 1 << 36
MAX_CONTEXT_FILES = 2_000_000
DEFAULT_DOCKERFILE = "Dockerfile"
_SENT_ALONG = re.compile(r"\.dockerfile\.[0-9a-f]+")


class DockerfileNotFound(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"Cannot locate specified Dockerfile: {name}")


class EmptyDockerfile(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"the Dockerfile ({name}) cannot be empty")


class OutsideContext(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"the Dockerfile ({name}) must be within the build context")


@dataclass(frozen=True, slots=True)
class Context:
    """An open context directory; `close` it. What is `ignored` is not in it any more."""

    directory: Path
    tree: Tree
    dockerfile: bytes
    ignored: IgnoreRules

    def close(self) -> None:
        os.close(self.tree.root_fd)


class _ContextPlacer(Placer):
    """The context's own root takes no owner or mode from the archive: it stays ours."""

    def place_root(self, entry: Entry) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        if entry.kind != DIRECTORY:
            raise InvalidArgument("the build context is not a directory")

    def replace(self, parent: int, path: bytes, name: bytes, entry: Entry) -> bool:  # type: ignore[explicit-override]
        return super(Placer, self).replace(parent, path, name, entry)


def unpack_where_it_fits(chunks: Iterator[bytes], quick: Path, roomy: Path) -> Path:
    """Unpack into `quick` (memory) if the context is small, else into `roomy` (disk); say where.

    The one that is used is made.

    Making thousands of small files is a multiple quicker in memory, and most contexts are small.
    """
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > SMALL_BYTES:
            break
    else:
        quick.mkdir(mode=0o755)
        with contextlib.suppress(ArchiveBomb):
            unpack_context(iter(held), quick, max_bytes=4 * SMALL_BYTES)
            return quick
        remove_directory(quick)
        chunks = iter(())
    roomy.mkdir(mode=0o755)
    unpack_context(itertools.chain(held, chunks), roomy)
    return roomy


def unpack_context(
    chunks: Iterator[bytes], directory: Path, *, max_bytes: int | None = None
) -> None:
    limit = MAX_CONTEXT_BYTES if max_bytes is None else min(max_bytes, MAX_CONTEXT_BYTES)
    placing = Placing(max_bytes=limit, max_entries=MAX_CONTEXT_FILES)
    root_fd = os.open(directory, _DIRECTORY)
    try:
        with _ContextPlacer(root_fd, "", placing) as placer:
            reader = TarReader(_padded(decompressed(chunks)))
            for entry in reader:
                placer.add(entry, reader.pieces())
            placer.finish()
    finally:
        os.close(root_fd)
    for _ in chunks:
        pass


def _padded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Fill up the last block: `docker build -f -` sends an archive that ends without it."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        yield chunk
    yield bytes(-size % BLOCK_SIZE)


def remote_dockerfile(file: Path, place: Path) -> None:
    """A download as a context: an archive is unpacked, anything else is the Dockerfile."""

    def read() -> Iterator[bytes]:
        with file.open("rb") as opened:
            yield from iter(lambda: opened.read(_CHUNK), b"")

    if is_archive(read):
        unpack_context(read(), place)
    else:
        file.rename(place / DEFAULT_DOCKERFILE)


def open_context(directory: Path, dockerfile: str) -> Context:
    """Find the Dockerfile, and the ignore file that belongs to it, in an unpacked context."""
    root_fd = os.open(directory, _DIRECTORY)
    try:
        name, text = _find_dockerfile(root_fd, dockerfile)
        ignored = _ignore_rules(root_fd, name)
        _remove_ignored(root_fd, ignored)
        if _SENT_ALONG.fullmatch(name):
            _remove_sent_along(root_fd, name)
    except BaseException:
        os.close(root_fd)
        raise
    return Context(directory, Tree(root_fd, IgnoreRules([])), text, ignored)


def _remove_sent_along(root_fd: int, dockerfile: str) -> None:
    """A Dockerfile that came from elsewhere, under a name of the client's making, is no file of
    the context, and neither is the line that Docker's client adds to .dockerignore for it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(dockerfile, dir_fd=root_fd)
    added = f"\n{dockerfile}\n".encode()
    with contextlib.suppress(OSError):
        fd = open_plain(root_fd, ".dockerignore", os.O_RDWR, resolve=STRICTLY_BELOW)
        with os.fdopen(fd, "r+b") as file:
            content = file.read(MAX_DOCKERFILE_BYTES)
            if content.endswith(added):
                file.truncate(len(content) - len(added))


def open_tree(directory: Path, *, own_ids: bool = False) -> Tree:
    """A further context: only its own ignore file counts."""
    root_fd = os.open(directory, _DIRECTORY)
    try:
        _remove_ignored(root_fd, _ignore_rules(root_fd, DEFAULT_DOCKERFILE))
    except BaseException:
        os.close(root_fd)
        raise
    return Tree(root_fd, IgnoreRules([]), own_ids)


def _remove_ignored(root_fd: int, rules: IgnoreRules) -> None:
    """Take out what the ignore file leaves out: then nobody has to remember it.

    Clients usually have not sent it in the first place.
    """
    if not rules:
        return
    emptied: list[bytes] = []
    for directory in walk(root_fd):
        for found in directory.files:
            if rules.excludes(os.fsdecode(found.path)):
                os.unlink(found.name, dir_fd=directory.fd)
        gone = [name for name in directory.below if _goes(rules, join(directory.path, name))]
        for name in gone:
            remove_tree(name, dir_fd=directory.fd)
        directory.below = [name for name in directory.below if name not in gone]
        below = (join(directory.path, name) for name in directory.below)
        emptied += [path for path in below if rules.excludes(os.fsdecode(path))]
    for path in reversed(emptied):
        _remove_if_empty(root_fd, path)


def _remove_if_empty(root_fd: int, path: bytes) -> None:
    """An excluded directory stays for what is taken back in below it, and for nothing else."""
    parent, name = posixpath.split(path)
    fd = open_in_root(root_fd, parent, _DIRECTORY, resolve=STRICTLY_BELOW)
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    finally:
        os.close(fd)


def _goes(rules: IgnoreRules, path: bytes) -> bool:
    name = os.fsdecode(path)
    return rules.excludes(name) and rules.prunes(name)


def _find_dockerfile(root_fd: int, wanted: str) -> tuple[str, bytes]:
    name = wanted or DEFAULT_DOCKERFILE
    relative = posixpath.normpath(name.lstrip("/") if name.startswith("/") else name)
    if relative.startswith("../") or relative == "..":
        raise OutsideContext(name)
    names = [relative, "dockerfile"] if relative == DEFAULT_DOCKERFILE else [relative]
    for candidate in names:
        data = _read(root_fd, candidate, MAX_DOCKERFILE_BYTES + 1)
        if data == b"":
            raise EmptyDockerfile(name)
        if data is not None:
            return candidate, data
    raise DockerfileNotFound(name)


def _ignore_rules(root_fd: int, dockerfile: str) -> IgnoreRules:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        data = _read(root_fd, name, MAX_DOCKERFILE_BYTES)
        if data is not None:
            return IgnoreRules(read_ignore_file(data))
    return IgnoreRules([])


def _read(root_fd: int, path: str, limit: int) -> bytes | None:
    """A regular file of the context, up to `limit` bytes; None if there is none."""
    try:
        fd = open_plain(root_fd, path)
    except NotAPlainFile:
        return None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    with os.fdopen(fd, "rb") as file:
        return file.read(limit)
