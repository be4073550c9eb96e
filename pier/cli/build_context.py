"""What `build` sends: a directory without what .dockerignore names, a tar archive, a Dockerfile.

Docker build reference, "Build context".
"""

from __future__ import annotations

import os
import secrets
from itertools import chain

from pier.cli.faults import Fault
from pier.cli.ignore_file import Ignored, parse_ignore_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_MAGIC = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
HEAD = 512
MAIN = "context"
"""Where a parcel of several contexts holds the main one."""
URLS = ("http://", "https://", "git://", "git@", "github.com/")


class Context:
    """A context ready to send: its bytes, and where its Dockerfile is inside.

    parcel: the bytes hold several contexts, the main one in `context/`.
    """

    __slots__ = ("chunks", "dockerfile", "parcel", "remote")

    def __init__(
        self,
        chunks: Iterator[bytes] | None,
        dockerfile: str,
        remote: str = "",
        *,
        parcel: bool = False,
    ) -> None:
        self.chunks = chunks
        self.dockerfile = dockerfile
        self.remote = remote
        self.parcel = parcel


def open_context(
    path: str, dockerfile: str, stdin: BinaryIO, others: Sequence[str] = ()
) -> Context:
    """Return the context that `build PATH|URL|-` and `-f` name, with `others`, directories."""
    if path == "-":
        if dockerfile == "-":
            raise Fault("invalid argument: can't use stdin for both build context and dockerfile")
        if others:
            raise Fault("a context on stdin cannot be sent together with local build contexts")
        return _from_stdin(stdin, dockerfile)
    if path.startswith(URLS) or path.endswith(".git"):
        if others:
            return Context(_parcel(iter(()), others), dockerfile, remote=path, parcel=True)
        return Context(None, dockerfile, remote=path)
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise Fault(f'unable to prepare context: path "{path}" not found')
        raise Fault(
            f"unable to prepare context: context must be a directory: {os.path.abspath(path)}"
        )
    return _from_directory(os.path.realpath(path), dockerfile, stdin, others)


def _from_stdin(stdin: BinaryIO, dockerfile: str) -> Context:
    """Take a tar archive, compressed or not, or a Dockerfile alone."""
    head = stdin.read(HEAD)
    if head.startswith(_MAGIC) or head[257:262] == b"ustar":
        return Context(_with_head(head, stdin), dockerfile)
    if dockerfile:
        raise Fault("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    content = head + stdin.read()
    if not content:
        raise Fault("unable to prepare context: failed to peek context header from STDIN: EOF")
    return Context(_single_file("Dockerfile", content), "Dockerfile")


def _with_head(head: bytes, stdin: BinaryIO) -> Iterator[bytes]:
    yield head
    while chunk := stdin.read(256 * 1024):
        yield chunk


def _single_file(name: str, content: bytes) -> Iterator[bytes]:
    from pier.cli.tar_stream import END, TarStream

    yield from TarStream(owner=0).data(name, content)
    yield END


def _from_directory(root: str, dockerfile: str, stdin: BinaryIO, others: Sequence[str]) -> Context:
    """A directory; its Dockerfile may come from elsewhere, under a name that nothing in it has."""
    inside, extra = "", b""
    if dockerfile == "-":
        extra = stdin.read()
    else:
        real = _find_dockerfile(root, dockerfile)
        if real.startswith(root.rstrip("/") + "/"):
            inside = os.path.relpath(real, root)
        else:
            with open(real, "rb") as file:
                extra = file.read()
    name = inside or f".dockerfile.{secrets.token_hex(10)}"
    place = MAIN if others else ""
    chunks = _directory(root, name, place)
    if not inside:
        chunks = chain(chunks, _data(f"{place}/{name}" if place else name, extra))
    return Context(_parcel(chunks, others), name, parcel=bool(others))


def _find_dockerfile(root: str, dockerfile: str) -> str:
    path = os.path.join(root, "Dockerfile") if not dockerfile else os.path.abspath(dockerfile)
    other = os.path.join(root, "dockerfile")
    if not dockerfile and not os.path.exists(path) and os.path.exists(other):
        path = other
    if dockerfile and not os.path.exists(path):
        # Docker also looks for -f below the context.
        path = os.path.join(root, dockerfile)
    if not os.path.exists(path):
        wrong = f"unable to evaluate symlinks in Dockerfile path: lstat {path}"
        raise Fault(f"unable to prepare context: {wrong}: no such file or directory")
    return os.path.realpath(path)


def _data(name: str, content: bytes) -> Iterator[bytes]:
    from pier.cli.tar_stream import TarStream

    yield from TarStream(owner=0).data(name, content)


def _directory(root: str, dockerfile: str, place: str) -> Iterator[bytes]:
    """Yield the files of a context below `place`, without the end of the archive."""
    from pier.cli.tar_stream import TarStream

    stream, ignored = TarStream(owner=0), read_ignored(root, dockerfile)
    keep = (dockerfile, ".dockerignore", f"{dockerfile}.dockerignore")
    yield from stream.tree(
        root,
        place,
        ignored=lambda path: path not in keep and ignored(path),
        prune=lambda path: ignored.whole_directory(path) and not dockerfile.startswith(path + "/"),
    )


def _parcel(main: Iterator[bytes], others: Sequence[str]) -> Iterator[bytes]:
    """Yield the archive: the main context, then the others, each in its place."""
    from pier.cli.build_extras import place_of
    from pier.cli.tar_stream import END

    yield from main
    for number, directory in enumerate(others):
        yield from _directory(directory, "Dockerfile", place_of(number))
    yield END


def read_ignored(root: str, dockerfile: str) -> Ignored:
    """Read `<Dockerfile>.dockerignore`, or else `.dockerignore`."""
    for path in (f"{root}/{dockerfile}.dockerignore", f"{root}/.dockerignore"):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                return Ignored(parse_ignore_file(file.read()))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return Ignored([])
