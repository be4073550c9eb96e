"""A context as an archive: `meta.json` and `tls/docker/*.pem`, in tar or zip."""

from __future__ import annotations

import io
import tarfile

from pier.cli.contexts import PEM, get_context, save_context, tls_directory
from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 10 << 20


def pack(directory: str, name: str) -> bytes:
    """Return the archive of the context `name`."""
    meta = get_context(directory, name)
    files = {"meta.json": format_json(meta).encode()}
    for kind in PEM:
        try:
            with open(f"{tls_directory(directory, name)}/docker/{kind}.pem", "rb") as file:
                files[f"tls/docker/{kind}.pem"] = file.read()
        except FileNotFoundError:
            continue
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(directory: str, name: str, data: bytes) -> None:
    """Store the context in the archive `data` as `name`."""
    files = _zip_files(data) if data.startswith(b"PK") else _tar_files(data)
    if "meta.json" not in files:
        raise Fault("invalid context: no meta.json found")
    meta = parse_json(files["meta.json"])
    if not isinstance(meta, dict):
        raise Fault("invalid context: meta.json is not an object")
    keys = {
        kind: files[f"tls/docker/{kind}.pem"] for kind in PEM if f"tls/docker/{kind}.pem" in files
    }
    save_context(directory, meta | {"Name": name}, keys)


def _tar_files(data: bytes) -> Mapping[str, bytes]:
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
        for member in archive:
            if member.isreg():
                files[member.name] = _bounded(member.size, archive.extractfile(member))
    return files


def _bounded(size: int, file: io.BufferedIOBase | object) -> bytes:
    if size > LIMIT:
        raise Fault("unexpected context file size: the limit is 10MB")
    read = getattr(file, "read", None)
    content = read() if read else b""
    return content if isinstance(content, bytes) else b""


def _zip_files(data: bytes) -> Mapping[str, bytes]:
    from zipfile import ZipFile

    with ZipFile(io.BytesIO(data)) as archive:
        if any(info.file_size > LIMIT for info in archive.infolist()):
            raise Fault("unexpected context file size: the limit is 10MB")
        return {info.filename: archive.read(info) for info in archive.infolist()}
