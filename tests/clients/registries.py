"""Registries for tests, on loopback, each in a process or a thread of its own.

`pier_registry`, `debian_registry`: real servers, as context managers that give "host:port".
`Site`: a small HTTP server whose answers the test writes, for hostile registries and token servers.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from pier.registry.client import RegistryClient
from pier.registry.hosts import Hosts
from pier.registry.transport import Patience

QUICK = Patience(attempts=3, first_delay_s=0.01, longest_delay_s=0.02, longest_wait_s=2, read_s=5)
REPOSITORY = Path(__file__).resolve().parents[2]
_MAIN = "import sys; from pier.registry.server.command import main; sys.exit(main(sys.argv[1:]))"
_DEADLINE_S = 15


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client(mirrors: Mapping[str, list[str]] | None = None) -> RegistryClient:
    return RegistryClient(Hosts(mirrors=mirrors, directories=()), patience=QUICK, environ={})


@contextlib.contextmanager
def running(
    argv: list[str], host: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, from when it answers until the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, cwd=REPOSITORY, env={**os.environ, **(env or {})}
        )
        try:
            _wait_for(host, process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    name, _, port = host.rpartition(":")
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((name, int(port)), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"no registry at {host}: {log.read_text()}")


def pier_argv(root: Path, host: str, *flags: str) -> list[str]:
    return [sys.executable, "-c", _MAIN, "serve", "--addr", host, "--root", str(root), *flags]


@contextlib.contextmanager
def pier_registry(
    root: Path, *flags: str, port: int = 0, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    host = f"127.0.0.1:{port or free_port()}"
    root.mkdir(parents=True, exist_ok=True)
    with running(pier_argv(root, host, *flags), host, root.with_suffix(".log"), env):
        yield host


@contextlib.contextmanager
def debian_registry(root: Path, auth: str = "") -> Iterator[str]:
    """Debian's docker-registry; skips the test where it is not installed."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    root.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    config = root / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: warn}}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{host}'}}\n{auth}"
    )
    with running(["docker-registry", "serve", str(config)], host, root / "log"):
        yield host


def http(method: str, url: str, body: bytes | None = None, **headers: str) -> "Answer":
    """One plain request; error statuses are answers too."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, names, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class SmallImage:
    config: bytes
    layer: bytes
    manifest: bytes
    media_type: str = "application/vnd.docker.distribution.manifest.v2+json"


def small_image(layer: bytes = b"layer", mark: str = "a") -> SmallImage:
    """Blobs and a manifest that a registry takes; the layer is no tar."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "mark": mark}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": SmallImage.media_type,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": digest(config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": digest(layer),
                "size": len(layer),
            }
        ],
    }
    return SmallImage(config, layer, json.dumps(manifest).encode())


def put_blob(host: str, name: str, data: bytes) -> None:
    begun = http("POST", f"http://{host}/v2/{name}/blobs/uploads/", b"")
    location = urllib.parse.urljoin(f"http://{host}/", begun.headers["Location"])
    joint = "&" if "?" in location else "?"
    url = f"{location}{joint}digest={digest(data)}"
    answer = http("PUT", url, data, Content_Type="application/octet-stream")
    assert answer.status == 201, answer.body


def put_image(host: str, name: str, tag: str, image: SmallImage) -> None:
    put_blob(host, name, image.config)
    put_blob(host, name, image.layer)
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    assert http("PUT", url, image.manifest, Content_Type=image.media_type).status == 201


Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Site:
    """A server in a thread; `respond` writes the answers, `seen` is what it was asked."""

    respond: Respond
    host: str = ""

    def __post_init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Site":
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            self.seen.append((request.method, request.path_qs, dict(request.headers)))
            assert isinstance(request, web.BaseRequest)
            return await self.respond(request)  # type: ignore[arg-type]  # no router here

        server = web.Server(answer)
        runner = web.ServerRunner(server, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()


def stop_hard(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def blob_bytes(host: str) -> float:
    """Bytes of blobs the registry has taken in so far, by its own count."""
    text = http("GET", f"http://{host}/metrics").body.decode()
    for line in text.splitlines():
        if line.startswith("pier_registry_blob_received_bytes_total"):
            return float(line.split()[1])
    raise AssertionError(text)


def skopeo(command: str, *arguments: str) -> str:
    flags = ["--tls-verify=false"]
    if command == "copy":
        flags = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    done = subprocess.run(
        ["skopeo", "--insecure-policy", command, *flags, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
