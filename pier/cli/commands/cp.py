"""`pier cp`: files between this machine and a container."""

from __future__ import annotations

import base64
import os
import stat
import sys

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.copy_plan import Place, plan_copy, split_argument, split_entry
from pier.cli.faults import ApiFault, Fault
from pier.cli.jsonlite import parse_json
from pier.cli.session import err
from pier.cli.terminal import is_terminal
from pier.cli.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from pier.cli.client import Client
    from pier.cli.command import Options
    from pier.cli.session import Session

    Stat = dict[str, Any]  # the API's container path stat

GO_DIRECTORY, GO_SYMLINK = 1 << 31, 1 << 27
STAT_HEADER = "x-docker-container-path-stat"
_NOT_FOUND = 404


def copy(session: Session, options: Options, arguments: list[str]) -> None:
    source, target = arguments
    from_container, from_path = split_argument(source)
    to_container, to_path = split_argument(target)
    if from_container and to_container:
        raise Fault("copying between containers is not supported")
    if not from_container and not to_container:
        raise Fault("must specify at least one container source")
    quiet = options.on("quiet") if "quiet" in options.given else not is_terminal(2)
    counter = Counter()
    if from_container:
        done = _copy_out(session.client, options, from_container, from_path, to_path, counter)
    else:
        done = _copy_in(session.client, options, from_path, to_container, to_path, counter)
    if done and not quiet:
        err(f"Successfully copied {format_size(counter.size_bytes, 3)} to {done}")


class Counter:
    """Counts the bytes that pass, and is a file to read them from."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._chunks: Iterator[bytes] = iter(())
        self._left = b""

    def count(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.size_bytes += len(chunk)
            yield chunk

    def reading(self, chunks: Iterable[bytes]) -> Counter:
        self._chunks = self.count(chunks)
        return self

    def read(self, size: int) -> bytes:
        while len(self._left) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._left += chunk
        data, self._left = self._left[:size], self._left[size:]
        return data


def _archive_path(container: str) -> str:
    return f"/containers/{quote(container)}/archive"


def _stat(client: Client, container: str, path: str) -> Stat | None:
    """Return what is at `path` in the container, None if nothing is."""
    try:
        response = client.request("HEAD", _archive_path(container), {"path": path})
    except ApiFault as fault:
        if fault.status != _NOT_FOUND:
            raise
        return None
    response.read()
    return _decode(response.headers.get(STAT_HEADER, ""))


def _decode(header: str) -> Stat:
    value = parse_json(base64.b64decode(header)) if header else {}
    return value if isinstance(value, dict) else {}


def _is_directory(found: Stat) -> bool:
    return bool(int(found.get("mode", 0)) & GO_DIRECTORY)


def _is_link(found: Stat) -> bool:
    return bool(int(found.get("mode", 0)) & GO_SYMLINK)


def _resolved(path: str, link: str) -> str:
    return link if link.startswith("/") else f"{split_entry(path)[0]}/{link}"


def _copy_out(
    client: Client, options: Options, container: str, path: str, target: str, counter: Counter
) -> str:
    rebase = ""
    if options.on("follow-link"):
        found = _stat(client, container, path)
        if found and _is_link(found):
            rebase = split_entry(path)[1]
            path = _resolved(path, found.get("linkTarget", ""))
    response = client.request("GET", _archive_path(container), {"path": path})
    if target == "-":
        if is_terminal(1):
            raise Fault("refusing to write an archive to a terminal")
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
        return ""
    found = _decode(response.headers.get(STAT_HEADER, ""))
    source = Place(path, exists=True, directory=_is_directory(found))
    real = split_entry(path)[1]
    place = _local_target(target)
    plan = plan_copy(source, place)
    _check_parent(plan.directory)

    def rename(name: str) -> str:
        name = _rebased(name, real, rebase) if rebase and place.directory else name
        return plan.rename(name)

    from pier.cli.extraction import extract

    extract(counter.reading(response.chunks()), plan.directory, rename)  # type: ignore[arg-type] # tarfile only reads
    return os.path.abspath(target) + ("/" if target.endswith("/") else "")


def _rebased(name: str, old: str, new: str) -> str:
    return new + name[len(old) :] if name == old or name.startswith(old + "/") else name


def _check_parent(directory: str) -> None:
    if not os.path.isdir(directory):
        raise Fault(f'invalid output path: directory "{os.path.abspath(directory)}" does not exist')


def _local_target(path: str) -> Place:
    exists = os.path.lexists(path)
    if exists and os.path.islink(path):
        path = os.path.realpath(path) + ("/" if path.endswith("/") else "")
        exists = os.path.exists(path)
    return Place(path, exists=exists, directory=os.path.isdir(path))


def _copy_in(
    client: Client, options: Options, path: str, container: str, target: str, counter: Counter
) -> str:
    place = _container_target(client, container, target)
    if path == "-":
        if not place.directory:
            raise Fault(f'destination "{container}:{target}" must be a directory')
        from pier.cli.commands.archives import read_chunks

        directory, chunks = place.path, read_chunks(sys.stdin.buffer)
    else:
        directory, chunks = _local_archive(options, path, place)
    query = {
        "path": directory,
        "noOverwriteDirNonDir": "true",
        "copyUIDGID": "true" if options.on("archive") else None,
    }
    headers = {"Content-Type": "application/x-tar"}
    client.request("PUT", _archive_path(container), query, counter.count(chunks), headers).read()
    return f"{container}:{target}"


def _container_target(client: Client, container: str, path: str) -> Place:
    found = _stat(client, container, path)
    if found and _is_link(found):
        path = _resolved(path, found.get("linkTarget", ""))
        found = _stat(client, container, path)
    return Place(
        path, exists=found is not None, directory=bool(found) and _is_directory(found or {})
    )


def _local_archive(options: Options, path: str, place: Place) -> tuple[str, Iterator[bytes]]:
    """Return the directory to unpack in, and the archive with its names already right."""
    follow = options.on("follow-link") or path.endswith(("/", "/."))
    real = os.path.realpath(path) if follow and os.path.islink(path.rstrip("/.") or path) else path
    if not os.path.lexists(real):
        raise Fault(f"lstat {os.path.abspath(path)}: no such file or directory")
    directory = stat.S_ISDIR(os.lstat(real.rstrip("/") or "/").st_mode)
    if path.endswith("/") and not directory:
        raise Fault("not a directory")
    own = split_entry(path)[1]
    if own in (".", "..") and not path.endswith("/."):
        own = "." if own == "." else os.path.basename(os.path.realpath(path))
    plan = plan_copy(Place(path, exists=True, directory=directory), place)
    name = plan.rename(own)
    return plan.directory, _tar(real, "" if name == "/" else name)


def _tar(path: str, name: str) -> Iterator[bytes]:
    from pier.cli.tar_stream import END, TarStream

    root = path[:-2] if path.endswith("/.") else path
    yield from TarStream().tree(root.rstrip("/") or "/", name)
    yield END


COMMANDS = {
    "container cp": Command(
        copy,
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
        "\tpier cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files between a container and this machine\n\n"
        "'-' as the source is a tar archive on stdin, to be unpacked in a directory of the\n"
        "container; '-' as the destination writes a tar archive of the source to stdout.",
        (2, 2),
        (
            Flag("archive,a", "bool", "Give the files the owner of the container's process"),
            Flag("follow-link,L", "bool", "Follow a symbolic link that is the source"),
            Flag("quiet,q", "bool", "Say nothing; so without a terminal"),
        ),
        aliases="pier container cp, pier cp",
    )
}
