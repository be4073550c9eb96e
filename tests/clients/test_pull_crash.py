"""The daemon is killed in the middle of a large pull: the next one fetches what is missing."""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from tests.daemon import Daemon, wait_until

MEGABYTES = 24
CHUNK = 256 * 1024


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer() -> tuple[bytes, str]:
    """Compressed bytes that hardly compress, and the diff ID."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("data")
        info.size = MEGABYTES * 1_000_000
        tar.addfile(info, io.BytesIO(os.urandom(info.size)))
    return gzip.compress(stream.getvalue(), 1, mtime=0), sha256(stream.getvalue())


class SlowRegistry(ThreadingHTTPServer):
    """One image, `big:1`, its layer a piece at a time. `sent` counts the layer's bytes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        data, diff_id = layer()
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
             "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": []}
        ).encode()  # fmt: skip
        kind = "application/vnd.oci.image."
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
             "config": {"mediaType": kind + "config.v1+json", "digest": sha256(config),
                        "size": len(config)},
             "layers": [{"mediaType": kind + "layer.v1.tar+gzip", "digest": sha256(data),
                         "size": len(data)}]}
        ).encode()  # fmt: skip
        self.layer = sha256(data)
        self.blobs = {sha256(config): config, self.layer: data}
        self.manifest = manifest
        self.sent = 0
        self.pause_s = 0.02

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: SlowRegistry

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/manifests/" in self.path:
            self._answer(self.server.manifest, "application/vnd.oci.image.manifest.v1+json")
        elif name in self.server.blobs:
            self._blob(name)
        else:
            self._answer(b"{}", "application/json")

    do_HEAD = do_GET  # noqa: N815 -- http.server looks for this name

    def _answer(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", sha256(data))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _blob(self, name: str) -> None:
        data = self.server.blobs[name]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        for offset in range(start, len(data), CHUNK):
            try:
                self.wfile.write(data[offset : offset + CHUNK])
            except OSError:
                return  # the daemon was killed
            if name == self.server.layer:
                self.server.sent += len(data[offset : offset + CHUNK])
                time.sleep(self.server.pause_s)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def registry() -> Iterator[SlowRegistry]:
    with SlowRegistry() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_next_pull_fetches_only_what_is_missing(
    own_daemon: Daemon, registry: SlowRegistry
) -> None:
    size = len(registry.blobs[registry.layer])
    reference = f"{registry.address}/big:1"
    before = own_daemon.docker("images", "-q")

    def pull() -> None:
        own_daemon.run(["docker", "pull", reference])

    client = threading.Thread(target=pull)
    client.start()
    wait_until(lambda: registry.sent > size // 2, "half of the layer is on its way")
    own_daemon.kill()
    client.join()
    first = registry.sent
    own_daemon.start()
    assert own_daemon.docker("images", "-q") == before  # nothing half-made can be seen
    registry.sent, registry.pause_s = 0, 0.0
    own_daemon.docker("pull", reference)
    assert registry.sent <= size - first + 4 * 1024 * 1024  # what was in the sockets is lost
    status, usage = own_daemon.api("GET", "/v1.50/system/df")
    assert status == 200
    on_disk = sum(
        path.stat().st_size
        for part in ("snapshots", "content")
        for path in (own_daemon.data_root / part).rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    assert abs(usage["LayersSize"] - on_disk) < 100_000 + on_disk // 100
    own_daemon.docker("rmi", reference)
    wait_until(lambda: not leftover(own_daemon, registry), "the layer's bytes are gone")


def leftover(daemon: Daemon, registry: SlowRegistry) -> list[Path]:
    wanted = (registry.layer[7:], "data")
    walked = os.walk(daemon.data_root)  # takes no notice of what goes meanwhile
    return [Path(top, name) for top, _, files in walked for name in files if name in wanted]
