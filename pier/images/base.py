"""Base images made from the machine itself, for when no registry can be reached.

`busybox` from the host's static busybox (Debian's package busybox-static), the same digest
wherever that package is the same; `debian` by mmdebstrap from the host's own package sources.
Only for somebody who asks for these very names, and never in place of another image.
"""

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path

from pier.archive.entry import DIRECTORY, REGULAR, SYMLINK, Entry
from pier.archive.writer import TarWriter
from pier.errors import Failed, Unavailable
from pier.images.imports import import_with
from pier.images.library import Library
from pier.images.model import Image
from pier.linux import process
from pier.oci.image import ImageConfig, RunConfig
from pier.oci.reference import Reference, parse_reference

BUSYBOX = Path("/bin/busybox")
DEFAULT_CODENAME = "bookworm"
Report = Callable[[str], None]

_BUSYBOX_NAME = "docker.io/library/busybox"
_DEBIAN_NAME = "docker.io/library/debian"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DIRECTORIES = (
    "bin dev etc home proc root sys tmp usr usr/bin usr/sbin var var/spool var/spool/mail var/www"
)
_STICKY = {"tmp": 0o1777, "root": 0o700}
_FILES = {
    "etc/group": "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\n"
    "mail:x:8:\nkmem:x:15:\nwheel:x:10:root\nutmp:x:43:\nstaff:x:50:\nwww-data:x:33:\n"
    "users:x:100:\nnobody:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "bin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\n"
    "mail:x:8:8:mail:/var/spool/mail:/bin/false\n"
    "www-data:x:33:33:www-data:/var/www:/bin/false\n"
    "nobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/shadow": "root:*:::::::\ndaemon:*:::::::\nnobody:*:::::::\n",
}
_PRIVATE = "etc/shadow"
_LIST_TIMEOUT_S = 10
_CHUNK = 1024 * 1024
_FROM_SOURCES = "Made by Pier with mmdebstrap"


def names_sources(config: ImageConfig) -> bool:
    """Whether the image, or what it was made from, has this machine's package sources in it."""
    return any(entry.comment.startswith(_FROM_SOURCES) for entry in config.history)


class BusyboxMissing(Unavailable):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no registry can be reached, and there is no static {path} to make busybox of; "
            "install the package busybox-static"
        )


class DebianMissing(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "no registry can be reached, and there is no mmdebstrap to make debian with; "
            "install the package mmdebstrap"
        )


class BootstrapFailed(Failed):
    def __init__(self, code: int, last: str) -> None:
        super().__init__(f"mmdebstrap failed with exit code {code}: {last}")


def host_codename(os_release: str) -> str:
    """The Debian release of an os-release file's text; bookworm where that is another system."""
    pairs = (line.partition("=") for line in os_release.splitlines())
    found = {key: value.strip('"') for key, _, value in pairs}
    is_debian = found.get("ID") == "debian"
    return (found.get("VERSION_CODENAME") if is_debian else "") or DEFAULT_CODENAME


def is_base(reference: Reference, codename: str) -> bool:
    """Whether this name, and no other, can be made here. Pure."""
    if reference.digest:
        return False
    tag = reference.tagged().tag
    if reference.name == _BUSYBOX_NAME:
        return tag == "latest"
    return reference.name == _DEBIAN_NAME and tag in ("latest", codename)


async def make_base(images: Library, name: str, report: Report) -> Image | None:
    """Make the base image `name` means and give it that name; None if it is not one of ours.

    report gets lines of progress.
    """
    reference = parse_reference(name).tagged()
    codename = host_codename(await asyncio.to_thread(_os_release))
    if not is_base(reference, codename):
        return None
    if reference.name == _BUSYBOX_NAME:
        return await _make_busybox(images, reference, report)
    return await _make_debian(images, reference, codename, report)


def _os_release() -> str:
    with contextlib.suppress(FileNotFoundError):
        return Path("/etc/os-release").read_text()
    return ""


async def _make_busybox(images: Library, reference: Reference, report: Report) -> Image:
    report(f"No registry: making busybox from {BUSYBOX}")
    try:
        listed = await process.run([str(BUSYBOX), "--list"], timeout_s=_LIST_TIMEOUT_S)
        data = await asyncio.to_thread(BUSYBOX.read_bytes)
        about = await asyncio.to_thread(BUSYBOX.stat)
    except FileNotFoundError as error:
        raise BusyboxMissing(BUSYBOX) from error
    epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH", about.st_mtime))
    archive = busybox_archive(data, listed.stdout.decode().split(), epoch_s * 10**9)
    return await import_with(
        images,
        _one(archive),
        reference,
        RunConfig(cmd=("sh",), env=(_PATH,)),
        message=f"Made by Pier from {BUSYBOX}",
        created_ns=epoch_s * 10**9,
    )


def busybox_archive(busybox: bytes, applets: Sequence[str], time_ns: int) -> bytes:
    """The root file system around a busybox, as a tar: the same for the same arguments."""
    stream = io.BytesIO()
    writer = TarWriter(stream.write)
    for name in _DIRECTORIES.split():
        mode = _STICKY.get(name, 0o755)
        writer.entry(Entry(DIRECTORY, name.encode() + b"/", mode, mtime_ns=time_ns))
    files = {"bin/busybox": busybox} | {name: text.encode() for name, text in _FILES.items()}
    for name, data in files.items():
        mode = 0o755 if name.startswith("bin/") else 0o600 if name == _PRIVATE else 0o644
        entry = Entry(REGULAR, name.encode(), mode, size=len(data), mtime_ns=time_ns)
        writer.small_file(entry, data)
    links = {f"bin/{name}": "busybox" for name in applets if name != "busybox" and "/" not in name}
    links["usr/bin/env"] = "../../bin/busybox"
    for name, target in sorted(links.items()):
        link = Entry(SYMLINK, name.encode(), 0o777, mtime_ns=time_ns, link=target.encode())
        writer.entry(link)
    writer.close()
    return stream.getvalue()


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _make_debian(
    images: Library, reference: Reference, codename: str, report: Report
) -> Image:
    report(f"No registry: making debian {codename} with mmdebstrap from this machine's sources")
    report("The image will name these sources: think of that before you push it")
    argv = ["mmdebstrap", "--mode=root", "--variant=essential", "--format=tar"]
    argv += ["--include=apt,ca-certificates", codename, "-"]
    sources = await asyncio.to_thread(_sources, codename)
    async with contextlib.aclosing(_output([*argv, *sources], report)) as archive:
        return await import_with(
            images,
            archive,
            reference,
            RunConfig(cmd=("bash",), env=(_PATH,)),
            message=f"{_FROM_SOURCES} ({codename})",
            created_ns=images.clock_ns(),
        )


def _sources(codename: str) -> list[str]:
    """The machine's own package sources, if they are of that release."""
    if host_codename(_os_release()) != codename:
        return []
    found = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [
        str(path)
        for path in found
        if path.suffix in (".list", ".sources") and path.is_file() and path.stat().st_size
    ]


async def _output(argv: Sequence[str], report: Report) -> AsyncGenerator[bytes, None]:
    """A program's standard output; its complaints are reported line by line.

    Closing the iteration ends the program.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise DebianMissing from error
    assert child.stdout is not None
    assert child.stderr is not None
    lines = asyncio.ensure_future(_report_lines(child.stderr, report))  # noqa: TID251 - awaited below
    try:
        while chunk := await child.stdout.read(_CHUNK):
            yield chunk
        last, code = await lines, await child.wait()
        if code:
            raise BootstrapFailed(code, last)
    finally:
        lines.cancel()
        if child.returncode is None:
            # SIGTERM: mmdebstrap unmounts and removes what it made.
            child.terminate()
            await child.wait()


async def _report_lines(stream: asyncio.StreamReader, report: Report) -> str:
    """Report each line; return the last one."""
    last = ""
    with contextlib.suppress(ValueError):  # a line longer than anybody reads
        async for line in stream:
            if text := line.decode(errors="replace").strip():
                last = text
                report(text)
    return last
