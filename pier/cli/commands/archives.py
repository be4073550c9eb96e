"""save, load, export, import: images and file systems as tar archives."""

from __future__ import annotations

import os
import sys

from pier.cli.client import json_stream, quote
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.terminal import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from pier.cli.command import Options
    from pier.cli.session import Session
    from pier.cli.transport import Response

CHUNK = 256 * 1024


def _platform(options: Options) -> str | None:
    text = options.text("platform")
    if not text:
        return None
    from pier.cli.platforms import platform_json

    return platform_json(text)


def save(session: Session, options: Options, names: list[str]) -> None:
    _check_output(options.text("output"), "failed to save image")
    query = {"names": names, "platform": _platform(options)}
    write_archive(session.client.request("GET", "/images/get", query), options.text("output"))


def export(session: Session, options: Options, names: list[str]) -> None:
    _check_output(options.text("output"), "failed to export container")
    response = session.client.request("GET", f"/containers/{quote(names[0])}/export")
    write_archive(response, options.text("output"))


def _check_output(path: str, failed: str) -> None:
    """Raise Fault, before anything is asked for, if it could not be written."""
    if not path and is_terminal(1):
        raise Fault("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    directory = os.path.dirname(path)
    if directory and not os.path.isdir(directory):
        raise Fault(f"{failed}: invalid output path: stat {directory}: no such file or directory")


def write_archive(response: Response, path: str) -> None:
    """Write the body to `path`, all or nothing, or to stdout if it is ''."""
    if not path:
        sys.stdout.flush()
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:
            device.writelines(response.chunks())
        return
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        with open(temporary, "xb") as file:
            file.writelines(response.chunks())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def load(session: Session, options: Options, _names: list[str]) -> None:
    from pier.cli.progress import show_progress

    path = options.text("input")
    if not path and is_terminal(0):
        raise Fault("requested load from stdin, but stdin is empty")
    quiet = options.on("quiet") or not is_terminal(1)
    query = {"quiet": quiet, "platform": _platform(options)}
    with open(path, "rb") if path else sys.stdin.buffer as file:
        response = session.client.request(
            "POST", "/images/load", query, read_chunks(file), {"Content-Type": "application/x-tar"}
        )
        show_progress(json_stream(response), sys.stdout)


def import_(session: Session, options: Options, arguments: list[str]) -> None:
    from pier.cli.progress import show_progress

    source, *reference = arguments
    remote = source.startswith(("http://", "https://"))
    query = {
        "fromSrc": source if remote else "-",
        "repo": reference[0] if reference else None,
        "message": options.text("message") or None,
        "changes": options.texts("change") or None,
        "platform": options.text("platform").lower() or None,
    }
    with sys.stdin.buffer if source == "-" or remote else open(source, "rb") as file:
        body = b"" if remote else read_chunks(file)
        response = session.client.request(
            "POST", "/images/create", query, body, {"Content-Type": "application/x-tar"}
        )
        show_progress(json_stream(response), sys.stdout)


_PLATFORM = Flag("platform", "string", "Only this platform, os[/arch[/variant]]")
_OUTPUT = Flag("output,o", "string", "Write to this file instead of stdout")
COMMANDS = {
    "image save": Command(
        save, "[OPTIONS] IMAGE [IMAGE...]", "Save images to a tar archive, on stdout by default",
        (1, -1), (_OUTPUT, _PLATFORM), aliases="pier image save, pier save",
    ),
    "container export": Command(
        export, "[OPTIONS] CONTAINER", "Save a container's file system to a tar archive",
        (1, 1), (_OUTPUT,), aliases="pier container export, pier export",
    ),
    "image load": Command(
        load,
        "[OPTIONS]",
        "Load images from a tar archive, stdin by default",
        (0, 0),
        (
            Flag("input,i", "string", "Read this file instead of stdin"),
            _PLATFORM,
            Flag("quiet,q", "bool", "Say only what was loaded"),
        ),
        aliases="pier image load, pier load",
    ),
    "image import": Command(
        import_,
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Make an image of a tar archive of a file system",
        (1, 2),
        (
            Flag("change,c", "list", "Apply this instruction of a Dockerfile"),
            Flag("message,m", "string", "Comment of the image"),
            Flag("platform", "string", "Platform of the image"),
        ),
        aliases="pier image import, pier import",
    ),
}  # fmt: skip
