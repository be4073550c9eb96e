"""Named endpoints in ~/.docker/contexts, shared with Docker's client.

Docker CLI reference, `docker context`. `meta/<sha256 of name>/meta.json` says where the daemon
is, `tls/<sha256 of name>/docker/` holds its PEM files.
"""

from __future__ import annotations

import os

from pier.cli.address import Endpoint, TlsFiles, parse_host
from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Meta = dict[str, Any]  # meta.json

PEM = ("ca", "cert", "key")


def context_hash(name: str) -> str:
    from hashlib import sha256

    return sha256(name.encode()).hexdigest()


def meta_directory(directory: str, name: str) -> str:
    return f"{directory}/contexts/meta/{context_hash(name)}"


def tls_directory(directory: str, name: str) -> str:
    return f"{directory}/contexts/tls/{context_hash(name)}"


def check_name(name: str) -> None:
    import re

    if not name:
        raise Fault("context name cannot be empty")
    if name == "default":
        raise Fault('"default" is a reserved context name')
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+", name):
        raise Fault(
            f'context name "{name}" is invalid, names are validated against regexp'
            ' "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
        )


def find_context(directory: str, name: str) -> Meta | None:
    path = f"{meta_directory(directory, name)}/meta.json"
    try:
        with open(path, encoding="utf-8") as file:
            meta = parse_json(file.read())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Fault(f"parsing {path}: {error}") from error
    return meta if isinstance(meta, dict) else None


def get_context(directory: str, name: str) -> Meta:
    meta = find_context(directory, name)
    if meta is None:
        path = f"{meta_directory(directory, name)}/meta.json"
        raise Fault(f'context "{name}": context not found: open {path}: no such file or directory')
    return meta


def list_contexts(directory: str) -> list[Meta]:
    """Return every stored context, by name."""
    metas = []
    top = f"{directory}/contexts/meta"
    for entry in os.listdir(top) if os.path.isdir(top) else []:
        try:
            with open(f"{top}/{entry}/meta.json", encoding="utf-8") as file:
                metas.append(parse_json(file.read()))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return sorted(metas, key=lambda meta: str(meta.get("Name", "")))


def docker_endpoint(meta: Meta) -> Meta:
    endpoint = (meta.get("Endpoints") or {}).get("docker")
    return endpoint if isinstance(endpoint, dict) else {}


def context_endpoint(directory: str, name: str) -> Endpoint:
    """Return where the context `name` leads; raise Fault if there is none of that name."""
    endpoint = docker_endpoint(get_context(directory, name))
    address = parse_host(endpoint.get("Host", ""))
    keys = f"{tls_directory(directory, name)}/docker"
    paths = {kind: f"{keys}/{kind}.pem" for kind in PEM}
    found = {kind: path if os.path.exists(path) else "" for kind, path in paths.items()}
    if not any(found.values()) or not address.startswith("tcp"):
        return Endpoint(address)
    verify = not endpoint.get("SkipTLSVerify")
    return Endpoint(address, TlsFiles(found["ca"], found["cert"], found["key"], verify=verify))


def save_context(directory: str, meta: Meta, keys: dict[str, bytes]) -> None:
    """Write a context; `keys` has the PEM files by kind."""
    place = meta_directory(directory, meta["Name"])
    os.makedirs(place, mode=0o755, exist_ok=True)
    with open(f"{place}/meta.json", "w", encoding="utf-8") as file:
        file.write(format_json(meta))
    for kind, data in keys.items():
        where = f"{tls_directory(directory, meta['Name'])}/docker"
        os.makedirs(where, mode=0o700, exist_ok=True)
        fd = os.open(f"{where}/{kind}.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as pem:
            pem.write(data)


def remove_context(directory: str, name: str) -> None:
    from shutil import rmtree

    for place in (meta_directory(directory, name), tls_directory(directory, name)):
        if os.path.isdir(place):
            rmtree(place)
