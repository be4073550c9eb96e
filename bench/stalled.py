"""`python -m bench.stalled`: a run beside clients that stall, and what they cost.

`--clients` of each kind send the beginning of something, or ask for much and read nothing, all
at once and of one daemon. Prints what a `run` took before and beside them, and the daemon's
memory before, with and after them. Needs root and the offline busybox.
"""

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.engines import Pier

WRITER = "stalled-writer"
"""A container with a large file and a log that keeps growing."""
SCRIPT = (
    "dd if=/dev/zero of=/large bs=1M count=64 2>/dev/null; "
    "while sleep 0.01; do yes | head -c 10000; done"
)
_ROUNDS = 5
_MEMBER = tarfile.TarInfo("large")
_MEMBER.size = 1 << 30
_TAR_HEAD = _MEMBER.tobuf()


def ask(method: str, path: str, body: object = None, *, upgrade: bool = False) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
    head += "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def upload(method: str, path: str) -> bytes:
    """The beginning of an archive, in chunks, and no more."""
    head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(_TAR_HEAD), _TAR_HEAD)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk


def exec_start(path: Path) -> bytes:
    """Of a program that writes for ever."""
    order = {"AttachStdout": True, "Cmd": ["yes"]}
    with connected(path) as client:
        client.sendall(ask("POST", f"/containers/{WRITER}/exec", order))
        answer = client.recv(65536)
    name = json.loads(answer.partition(b"\r\n\r\n")[2])["Id"]
    return ask("POST", f"/exec/{name}/start", {"Detach": False}, upgrade=True)


KINDS: Mapping[str, Callable[[Path], bytes]] = {
    "cp in": lambda _: upload("PUT", f"/containers/{WRITER}/archive?path=/tmp"),
    "cp out": lambda _: ask("GET", f"/containers/{WRITER}/archive?path=/large"),
    "export": lambda _: ask("GET", f"/containers/{WRITER}/export"),
    "load": lambda _: upload("POST", "/images/load"),
    "import": lambda _: upload("POST", "/images/create?fromSrc=-"),
    "save": lambda _: ask("GET", "/images/busybox/get"),
    "build": lambda _: upload("POST", "/build"),
    "logs": lambda _: ask("GET", f"/containers/{WRITER}/logs?follow=1&stdout=1"),
    "events": lambda _: ask("GET", "/events"),
    "attach": lambda _: ask("POST", f"/containers/{WRITER}/attach?stream=1&stdout=1", upgrade=True),
    "exec": exec_start,
    "half a request": lambda _: b"GET /containers/json HTTP/1.1\r\nHost:",
    "half a body": lambda _: ask("POST", "/containers/create", {"Image": "busybox"})[:-1],
}
"""What each kind of client sends, given the daemon's socket."""


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(str(path))
        yield client


@contextlib.contextmanager
def stalled(path: Path, number: int) -> Iterator[Mapping[str, list[socket.socket]]]:
    """So many clients of each kind, which have sent what they send, by kind."""
    with contextlib.ExitStack() as stack:
        clients: dict[str, list[socket.socket]] = {kind: [] for kind in KINDS}
        for _ in range(number):
            for kind, request in KINDS.items():
                client = stack.enter_context(connected(path))
                client.sendall(request(path))
                clients[kind].append(client)
        yield clients


def refused(client: socket.socket) -> bool:
    """Whether the daemon has answered that there are too many."""
    client.settimeout(0.001)
    try:
        return client.recv(64, socket.MSG_PEEK).startswith(b"HTTP/1.1 503")
    except TimeoutError:
        return False


def status(pid: int, *names: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return ", ".join(" ".join(line.split()) for line in lines if line.startswith(names))


def run_s(engine: Pier) -> float:
    begin = time.perf_counter()
    engine.call("run", "--rm", "busybox", "true")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200, help="of each kind")
    number = parser.parse_args().clients
    with tempfile.TemporaryDirectory() as directory:
        engine = Pier(Path(directory))
        try:
            engine.start()
            engine.call("pull", "-q", "busybox")
            engine.call("run", "-d", "--name", WRITER, "busybox", "sh", "-c", SCRIPT)
            _measure(engine, Path(engine.host.removeprefix("unix://")), number)
        finally:
            engine.stop()


def _measure(engine: Pier, path: Path, number: int) -> None:
    assert engine.process is not None
    pid = engine.process.pid

    def report(when: str) -> None:
        took = statistics.median(run_s(engine) for _ in range(_ROUNDS))
        memory = status(pid, "VmRSS", "Threads")
        sys.stdout.write(f"{when}: run {took * 1000:.0f} ms, {memory}\n")
        sys.stdout.flush()

    run_s(engine)
    report("before")
    with stalled(path, number) as clients:
        report(f"beside {number} of each of {len(KINDS)} kinds")
        for kind, each in clients.items():
            sys.stdout.write(f"  {kind}: {sum(map(refused, each))} of {number} refused\n")
    report("after")
    subprocess.run(["sleep", "10"], check=True)
    report("ten seconds later")


if __name__ == "__main__":
    main()
