"""Settings and paths of one daemon. (Loading them from daemon.json and flags comes here too.)"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """Where one daemon keeps things. Everything below is named after its record.

    data_root/              survives reboots
        pier.db             records (SQLite)
        content/            blobs by digest, ingests
        snapshots/<id>/     fs/ work/
        containers/<id>/    hosts hostname resolv.conf <id>-json.log
        volumes/<name>/     _data/
        tmp/
    exec_root/              lives as long as the machine is up (tmpfs)
        containers/<id>/    the bundle, and the monitor's socket and exit file
        runtime/<name>/     the OCI runtime's own state
    """

    data_root: Path
    exec_root: Path

    @property
    def database(self) -> Path:
        return self.data_root / "pier.db"

    @property
    def content(self) -> Path:
        return self.data_root / "content"

    @property
    def snapshots(self) -> Path:
        return self.data_root / "snapshots"

    @property
    def volumes(self) -> Path:
        return self.data_root / "volumes"

    @property
    def tmp(self) -> Path:
        return self.data_root / "tmp"

    def container(self, container_id: str) -> Path:
        return self.data_root / "containers" / container_id

    def bundle(self, container_id: str) -> Path:
        return self.exec_root / "containers" / container_id
