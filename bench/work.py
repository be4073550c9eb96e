"""What is measured: one function per kind of work, each returning seconds (or KiB, or MB/s)."""

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.engines import Engine, Pier, pss_kib

Measure = Callable[[Engine], float]


@dataclass(frozen=True, slots=True)
class Work:
    """larger_is_better: for throughput. rounds: how often it is repeated, interleaved."""

    name: str
    unit: str
    measure: Measure
    bar: str
    rounds: int = 10
    larger_is_better: bool = False


STANDING = "standing"
"""A container that runs all the time, for exec and ps."""


def start_standing(engine: Engine) -> None:
    engine.call("run", "-d", "--name", STANDING, "busybox", "sleep", "3600")


def _timed(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


def run_bridge(engine: Engine) -> float:
    return _timed(engine.command("run", "--rm", "busybox", "true"))


def run_none(engine: Engine) -> float:
    return _timed(engine.command("run", "--rm", "--network", "none", "busybox", "true"))


def many_starts(engine: Engine) -> float:
    """50 containers started by 8 clients, then removed (not counted)."""

    def one(number: int) -> None:
        engine.call("run", "-d", "--name", f"many{number}", "busybox", "sleep", "600")

    begin = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(50)))
    took = (time.perf_counter() - begin) * 1000
    engine.call("rm", "-f", *(f"many{number}" for number in range(50)))
    return took


def exec_true(engine: Engine) -> float:
    return _timed(engine.command("exec", STANDING, "true"))


def list_containers(engine: Engine) -> float:
    client = engine.own_client if isinstance(engine, Pier) else engine.client
    return _timed([*client, "ps"])


def log_throughput(engine: Engine) -> float:
    """MB/s of lines of 100 bytes that reach the log of a container writing as fast as it can."""
    line = "x" * 99
    megabytes = 64
    script = f"yes {line} | head -c {megabytes}000000"
    begin = time.perf_counter()
    engine.call("run", "--name", "writer", "--network", "none", "-d", "busybox", "sh", "-c", script)
    engine.call("wait", "writer")
    took = time.perf_counter() - begin
    engine.call("rm", "-f", "writer")
    return megabytes / took


def idle_memory(engine: Engine) -> float:
    """With no container running: Pier's monitors are its descendants, dockerd's shims are not."""
    engine.call("rm", "-f", STANDING)
    time.sleep(1)
    memory = float(pss_kib(engine.pids()))
    start_standing(engine)
    return memory


def load_image(archive: Path) -> Measure:
    def measure(engine: Engine) -> float:
        begin = time.perf_counter()
        engine.call("load", "-q", stdin=archive)
        took = (time.perf_counter() - begin) * 1000
        engine.call("rmi", "-f", "bench-large:latest")
        return took

    return measure


WORK = (
    Work("`run --rm busybox true`, bridge", "ms", run_bridge, "≤ 0.4 × dockerd"),
    Work("the same, `--network none`", "ms", run_none, "≤ 0.45 × dockerd"),
    Work("50 containers started by 8 clients", "ms", many_starts, "≤ 0.4 × dockerd", rounds=3),
    Work("`exec true`", "ms", exec_true, "≤ 0.5 × dockerd"),
    Work("`ps` (pier: its own client)", "ms", list_containers, "≤ 2 × docker ps", rounds=20),
    Work(
        "log throughput", "MB/s", log_throughput, "≥ 2 × json-file", rounds=3, larger_is_better=True
    ),
    Work("memory of the idle daemon (PSS)", "KiB", idle_memory, "≤ 0.5 × dockerd", rounds=1),
)
