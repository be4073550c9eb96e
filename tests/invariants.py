"""What holds of a daemon whenever it has restored itself, however the one before it ended.

`broken` looks from outside: rows against files, records against kernel, nothing left over.
"""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.daemon import Daemon

_ACTIVE = ("running", "paused")
_TRASH = frozenset(("trash",))


class _Records:
    def __init__(self, daemon: Daemon) -> None:
        # The daemon lets nobody else open it: a copy, with the log.
        self._directory = tempfile.TemporaryDirectory()
        for path in daemon.data_root.glob("pier.db*"):
            shutil.copy(path, self._directory.name)
        self._connection = sqlite3.connect(f"{self._directory.name}/pier.db")

    def column(self, query: str) -> set[str]:
        return {str(row[0]) for row in self._connection.execute(query)}

    def close(self) -> None:
        self._connection.close()
        self._directory.cleanup()


def broken(daemon: Daemon) -> list[str]:
    """Every invariant that does not hold, as a line to read."""
    records = _Records(daemon)
    try:
        found = [
            *_content(daemon, records),
            *_containers(daemon, records),
            *_volumes(daemon, records),
            *_networks(daemon, records),
            *_facts(daemon, records),
        ]
    finally:
        records.close()
    log = daemon.log.read_text()
    return found + [f"log: {line}" for line in log.splitlines() if "Traceback" in line]


def _compared(what: str, rows: set[str], files: set[str]) -> Iterator[str]:
    yield from (f"{what}: row without file {name}" for name in sorted(rows - files))
    yield from (f"{what}: file without row {name}" for name in sorted(files - rows))


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _content(daemon: Daemon, records: _Records) -> Iterator[str]:
    blobs = daemon.data_root / "content" / "blobs" / "sha256"
    known = {
        digest.removeprefix("sha256:") for digest in records.column("SELECT digest FROM blobs")
    }
    yield from _compared("blobs", known, _names(blobs))
    for path in blobs.iterdir():
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"blobs: {path.name} has other bytes"
    snapshots = daemon.data_root / "snapshots"
    yield from _compared(
        "snapshots",
        records.column("SELECT id FROM snapshots WHERE key NOT LIKE 'lost/%'"),
        _names(snapshots) - _TRASH,
    )
    for chain in records.column("SELECT chain_id FROM images WHERE chain_id != ''"):
        if not records.column(f"SELECT 1 FROM snapshots WHERE key = '{chain}'"):
            yield f"images: no snapshot {chain}"
    yield from (f"build: {name}" for name in _names(daemon.data_root / "tmp"))
    yield from (f"build: {name}" for name in _names(daemon.exec_root / "builds"))


def _containers(daemon: Daemon, records: _Records) -> Iterator[str]:
    rows = records.column("SELECT id FROM containers")
    yield from _compared("containers", rows, _names(daemon.data_root / "containers"))
    keys = {f"container/{row}" for row in rows}
    active = records.column("SELECT key FROM snapshots WHERE key LIKE 'container/%'")
    yield from _compared("active snapshots", keys, active)
    for state in records.column("SELECT state FROM containers"):
        if state in ("removing", "dead"):
            yield f"containers: one is {state}"
    running = records.column(f"SELECT id FROM containers WHERE state IN {_ACTIVE}")
    yield from _compared("bundles", running, _names(daemon.exec_root / "containers"))
    for runtime in (daemon.exec_root / "runtime").iterdir():
        yield from (f"runtime: {name}" for name in _names(runtime) - running)
    for kind in ("mounts", "shm"):
        yield from (f"{kind}: {name}" for name in _names(daemon.exec_root / kind) - running)


def _volumes(daemon: Daemon, records: _Records) -> Iterator[str]:
    yield from _compared(
        "volumes", records.column("SELECT name FROM volumes"), _names(daemon.data_root / "volumes")
    )


def _networks(daemon: Daemon, records: _Records) -> Iterator[str]:
    running = records.column(f"SELECT id FROM containers WHERE state IN {_ACTIVE}")
    endpoints = records.column("SELECT container FROM endpoints")
    yield from (f"endpoint of {one}" for one in endpoints - running)
    ports = records.column("SELECT host_port FROM published_ports")
    yield from _compared("ports", ports, _published(daemon))
    listed = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
    alias = f"pier:{daemon.bridge}"
    ids = records.column("SELECT substr(id, 1, 12) FROM networks WHERE driver = 'bridge'")
    bridges = {daemon.bridge, *(f"br-{one}" for one in ids)}
    veths = {f"{alias}:{one}" for one in records.column("SELECT id FROM endpoints")}
    for link in json.loads(listed):
        mark = link.get("ifalias", "")
        stray = mark == alias and link["ifname"] not in bridges
        if not mark and _made_by_pier(link["ifname"], link["address"]):
            yield f"link {link['ifname']} has no mark"
        if stray or (mark.startswith(f"{alias}:") and mark not in veths):
            yield f"link {link['ifname']} {mark}"


def _made_by_pier(name: str, address: str) -> bool:
    """A bridge's name and address are both of its network's ID; of the address two bits are not."""
    return name.startswith("br-") and name[5:] == address.replace(":", "")[2:]


def _published(daemon: Daemon) -> set[str]:
    """Host ports: the last of a key's parts, in the maps of ports."""
    table = ["nft", "-j", "list", "table", "inet", f"pier-{daemon.bridge}"]
    listed = json.loads(subprocess.run(table, capture_output=True, check=True).stdout)
    maps = [entry["map"] for entry in listed["nftables"] if "map" in entry]
    maps = [found for found in maps if found["name"].startswith("published")]
    return {str(key["concat"][-1]) for found in maps for key, _ in found.get("elem", ())}


def _facts(daemon: Daemon, records: _Records) -> Iterator[str]:
    """Mounts, control groups and processes that belong to nobody."""
    running = records.column(f"SELECT id FROM containers WHERE state IN {_ACTIVE}")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if f"{daemon.root}/" in line:
            yield f"mount: {line}"
    groups = Path("/sys/fs/cgroup")
    for pattern in (f"pier-test/{daemon.bridge}/*", f"*/pier-test/{daemon.bridge}/*/"):
        for path in groups.glob(pattern):
            if path.is_dir() and path.name not in running:
                yield f"cgroup: {path}"
    yield from _processes(daemon, running)


def _processes(daemon: Daemon, running: set[str]) -> Iterator[str]:
    """Monitors and runtimes have something of a bundle open, or its path among their words."""
    root = str(daemon.exec_root)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            names = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
            names.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, UnicodeDecodeError):
            continue
        for name in names:
            place = name.find(f"{root}/containers/")
            if place < 0:
                continue
            container = name[place + len(f"{root}/containers/") :][:64]
            if container not in running:
                yield f"process {process.name} of {container}: {name}"
                break
