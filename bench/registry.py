"""A real registry (Debian's docker-registry) on an address all engines reach.

dockerd lives in a network namespace of its own, so loopback will not do: a veth pair leads into
that namespace, and the registry listens on the host's end.
"""

import contextlib
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.engines import PATIENCE_S, REGISTRY, Engine

_CONFIG = """version: 0.1
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
log: {{level: error}}
"""


def connect(pid: int) -> None:
    """Lead a veth pair into the network namespace of `pid`. Gone with the namespace."""
    inside = f"nsenter --net=/proc/{pid}/ns/net ip"
    commands = (
        f"ip link add pbench-r type veth peer name eth9 netns {pid}; "
        "ip addr add 10.217.0.1/30 dev pbench-r; ip link set pbench-r up; "
        f"{inside} addr add 10.217.0.2/30 dev eth9; {inside} link set eth9 up"
    )
    subprocess.run(["sh", "-ec", commands], check=True)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[int]:
    """The registry, while the block runs; its process ID."""
    root.mkdir(parents=True)
    config = root / "config.yml"
    config.write_text(_CONFIG.format(root=root / "data", address=REGISTRY))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log, env=environment
        )
    try:
        _wait(f"http://{REGISTRY}/v2/")
        yield process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def pull(engine: Engine) -> float:
    """Milliseconds for the large image, which the engine does not have."""
    name = f"{REGISTRY}/bench-large:latest"
    begin = time.perf_counter()
    engine.call("pull", "-q", *engine.insecure, name)
    took = (time.perf_counter() - begin) * 1000
    engine.call("rmi", "-f", name)
    return took


def push(engine: Engine, archive: Path) -> None:
    """Bring the large image into the registry, with the engine that is given."""
    engine.call("load", "-q", stdin=archive)
    engine.call("tag", "bench-large:latest", f"{REGISTRY}/bench-large:latest")
    engine.call("push", "-q", *engine.insecure, f"{REGISTRY}/bench-large:latest")
    engine.call("rmi", "-f", "bench-large:latest", f"{REGISTRY}/bench-large:latest")


def second_push(pid: int) -> Callable[[Engine], float]:
    """Kilobytes the registry reads, from anywhere, when it is sent what it has. proc(5), io."""

    def read_bytes() -> int:
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])

    def measure(engine: Engine) -> float:
        name = f"{REGISTRY}/bench-large:latest"
        engine.call("pull", "-q", *engine.insecure, name)
        engine.call("push", "-q", *engine.insecure, name)
        before = read_bytes()
        engine.call("push", "-q", *engine.insecure, name)
        moved = (read_bytes() - before) / 1000
        engine.call("rmi", "-f", name)
        return moved

    return measure
