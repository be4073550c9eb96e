"""Descriptors: the daemon takes all it may have, containers get what they would without it."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until

SOFT = 700


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that was started with a soft limit lower than its hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, hard))
    try:
        daemon = Daemon(tmp_path / "root")
        with daemon:
            daemon.pier("pull", "-q", "busybox")
            yield daemon
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_daemon_raises_its_limit_and_no_containers(
    limited: Daemon, tmp_path: Path, classic_builder: None
) -> None:
    assert limited.process is not None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    own = resource.prlimit(limited.process.pid, resource.RLIMIT_NOFILE)
    assert own == (hard, hard)
    show = ["sh", "-c", "ulimit -n; ulimit -Hn"]
    assert limited.docker("run", "--name", "shown", "busybox", *show) == f"{SOFT}\n{hard}\n"
    limited.docker("run", "-d", "--name", "sleeper", "busybox", "sleep", "1000")
    assert limited.docker("exec", "sleeper", *show) == f"{SOFT}\n{hard}\n"
    asked = ["run", "--ulimit", "nofile=300:400", "busybox", *show]
    assert limited.docker(*asked) == "300\n400\n"
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo soft=$(ulimit -n)\n")
    assert f"soft={SOFT}" in limited.docker("build", str(context))
    limited.docker("rm", "-f", "shown", "sleeper")


def test_without_descriptors_clients_wait_and_the_log_stays_short(own_daemon: Daemon) -> None:
    daemon = own_daemon
    assert daemon.process is not None
    pid, before = daemon.process.pid, resource.getrlimit(resource.RLIMIT_NOFILE)
    held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 4, before[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.socket))
            client.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
        wait_until(lambda: "no connection can be accepted" in daemon.log.read_text(), "a complaint")
        last = stack.enter_context(socket.socket(socket.AF_UNIX))
        last.connect(str(daemon.socket))
        last.settimeout(2.5)  # the time of some more attempts
        last.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
        with pytest.raises(TimeoutError):
            last.recv(1)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        last.settimeout(30)
        assert last.recv(12) == b"HTTP/1.1 200"
    assert daemon.log.read_text().count("no connection can be accepted") == 1
    assert "Too many open files" in daemon.log.read_text()
    assert len(daemon.log.read_text()) < 20_000


def test_the_daemon_starts_over_more_containers_than_it_has_descriptors_for(
    own_daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, number = own_daemon, 12
    daemon.pier("pull", "-q", "busybox")
    for _ in range(number):
        daemon.docker("run", "-d", "busybox", "sleep", "1000")
    daemon.stop()
    with monkeypatch.context() as patched:
        patched.setattr(Daemon, "argv", ["prlimit", "--nofile=72:72", *daemon.argv])
        daemon.start()
    assert len(daemon.docker("ps", "-q").split()) == number
    assert "nearly as many open files as it may have" in daemon.log.read_text()
    refused = daemon.docker("run", "--rm", "busybox", "true", status=125)
    assert "raise its limit" in refused
    daemon.restart()
    ids = daemon.docker("ps", "-q").split()
    assert len(daemon.docker("stop", "-t", "0", *ids).split()) == number
    assert daemon.docker("ps", "-q") == ""
