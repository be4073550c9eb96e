"""Clients and file systems that stall do not hold up anybody else, and cost little."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.stalled import KINDS, SCRIPT, WRITER, ask, connected, refused, stalled
from tests.daemon import SLOWNESS, Daemon, wait_until
from tests.dead_mount import dead_mount

CLIENTS = 24
"""Of each kind: 96 uploads, where there are 64 shared threads."""
MEMORY_KIB = 300_000


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("stalled")) as daemon:
        daemon.pier("pull", "-q", "busybox")
        yield daemon


def resident_kib(daemon: Daemon) -> int:
    assert daemon.process is not None
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def run_s(daemon: Daemon) -> float:
    begin = time.monotonic()
    daemon.docker("run", "--rm", "busybox", "true")
    return time.monotonic() - begin


def test_a_run_beside_stalled_clients_of_every_kind(own: Daemon) -> None:
    own.docker("run", "-d", "--name", WRITER, "busybox", "sh", "-c", SCRIPT)
    own.docker("exec", WRITER, "sh", "-c", "while [ ! -s /large ]; do sleep 0.1; done")
    alone_s = min(run_s(own) for _ in range(3))
    before = resident_kib(own)
    with stalled(own.socket, CLIENTS) as clients:
        wait_until(lambda: run_s(own) < 2 * alone_s + 0.2 * SLOWNESS, "a run is quick")
        assert resident_kib(own) < before + MEMORY_KIB
        # 64 of one container at a time; no other kind has so many here.
        of_one = [*clients["cp in"], *clients["cp out"], *clients["export"]]
        wait_until(lambda: any(map(refused, of_one)), "somebody is refused")
        assert not any(refused(client) for kind in ("load", "build") for client in clients[kind])
    wait_until(lambda: copies(own), "copies are possible again")
    wait_until(lambda: resident_kib(own) < before + MEMORY_KIB // 4, "memory is given back")
    own.docker("rm", "-f", WRITER)
    assert len(KINDS) * CLIENTS > 64


def copies(daemon: Daemon) -> bool:
    return daemon.run(["docker", "cp", f"{WRITER}:/etc/hostname", "-"]).returncode == 0


def test_the_error_of_one_too_many_says_what_to_do(own: Daemon) -> None:
    own.docker("run", "-d", "--name", "many", "busybox", "sleep", "1000")
    request = KINDS["cp in"](own.socket).replace(WRITER.encode(), b"many")
    with contextlib.ExitStack() as stack:

        def stall() -> None:
            stack.enter_context(connected(own.socket)).sendall(request)

        def error() -> str:
            stall()  # some end at once: they all write the same file
            return own.run(["docker", "cp", "/etc/hostname", "many:/"]).stderr.decode()

        for _ in range(64):
            stall()
        wait_until(lambda: "wait until one ends" in error(), "the next one is refused")
        assert "64 copies and exports of " in error()
    own.docker("rm", "-f", "many")


def test_a_path_on_a_file_system_that_hangs_holds_up_only_who_asked(
    own: Daemon, tmp_path: Path
) -> None:
    """More than there are shared threads; and none may look on the event loop."""
    mount = {"Type": "bind", "Source": str(tmp_path / "dead" / "x"), "Target": "/x"}
    body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}}
    with contextlib.ExitStack() as stack:
        with dead_mount(tmp_path / "dead"):
            clients = [stack.enter_context(connected(own.socket)) for _ in range(70)]
            for client in clients:
                client.sendall(ask("POST", "/containers/create", body))
            run_s(own)
        assert all(b" 400 " in client.recv(20) for client in clients)


def test_the_daemon_stops_though_threads_wait_for_ever(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "dead"), Daemon(tmp_path / "root") as daemon:
        mount = {"Type": "bind", "Source": str(tmp_path / "dead" / "x"), "Target": "/x"}
        body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}}
        daemon.pier("pull", "-q", "busybox")
        with connected(daemon.socket) as client:
            client.sendall(ask("POST", "/containers/create", body))
            wait_until(lambda: waits(daemon), "a thread waits for the file system")
            daemon.stop()


def waits(daemon: Daemon) -> bool:
    """Whether a thread is in a call to FUSE."""
    assert daemon.process is not None
    tasks = Path(f"/proc/{daemon.process.pid}/task")
    return any("fuse" in (task / "wchan").read_text() for task in tasks.iterdir())
