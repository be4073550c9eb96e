"""After a restart every container is watched again, whatever has become of it meanwhile."""

import contextlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


def state(daemon: Daemon, name: str) -> str:
    done = daemon.run(
        ["docker", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", name]
    )
    return done.stdout.decode().strip() if done.returncode == 0 else "gone"


def becomes(daemon: Daemon, name: str, wanted: str) -> bool:
    return state(daemon, name) == wanted


def monitor_of(daemon: Daemon, name: str) -> int:
    """A runtime may be its process's parent for a moment more."""
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", name))
    wait_until(lambda: "pier-monitor" in comm(parent(pid)), "its monitor is its parent")
    return parent(pid)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def test_a_process_that_ended_before_its_output_did_is_no_ghost(
    daemon: Daemon, tmp_path: Path
) -> None:
    """Its children hold the pipe: for two seconds the monitor is there and the process is not."""
    script = "sleep 300 & while [ ! -e /go/now ]; do usleep 20000; done; exit 3"
    for name, *options in (
        ("plain",),
        ("removed", "--rm"),
        ("again", "--restart", "on-failure:1"),
    ):
        daemon.docker(
            *("run", "-d", "--name", name, "--pid", "host", "-v", f"{tmp_path}:/go"),
            *(*options, "busybox", "sh", "-c", script),
        )
    daemon.kill()
    (tmp_path / "now").touch()
    daemon.start()
    for name, wanted in (("plain", "exited 3 0"), ("removed", "gone"), ("again", "exited 3 1")):
        wait_until(partial(becomes, daemon, name, wanted), f"{name} is {wanted}")
    daemon.docker("rm", "plain", "again")


def test_a_monitor_that_does_not_answer_keeps_no_other_container(daemon: Daemon) -> None:
    for name in ("first", "stuck", "last"):
        daemon.docker("run", "-d", "--name", name, "busybox", "sleep", "300")
    stuck = monitor_of(daemon, "stuck")
    os.kill(stuck, signal.SIGSTOP)
    try:
        daemon.kill()
        daemon.start()
        for name in ("first", "last"):
            daemon.docker("stop", "-t", "0", name)
            assert state(daemon, name) == "exited 137 0"
        assert state(daemon, "stuck") == "running 0 0"
    finally:
        os.kill(stuck, signal.SIGCONT)
    daemon.docker("stop", "-t", "0", "stuck")
    wait_until(lambda: state(daemon, "stuck") == "exited 137 0", "it is watched again")


def test_what_cannot_be_read_keeps_no_other_container_and_is_tried_again(daemon: Daemon) -> None:
    for name in ("damaged", "odd", "whole"):
        daemon.docker("run", "-d", "--name", name, "busybox", "sleep", "300")
    damaged, odd = (bundle(daemon, name) for name in ("damaged", "odd"))
    monitor = monitor_of(daemon, "damaged")
    daemon.kill()
    os.kill(monitor, signal.SIGKILL)
    (damaged / "exit").write_text("")
    (odd / "exit").mkdir()
    daemon.start()
    assert state(daemon, "damaged") == "exited 255 0"
    daemon.docker("stop", "-t", "0", "whole")
    assert state(daemon, "whole") == "exited 137 0"
    (odd / "exit").rmdir()

    adopted = f"container {odd.name}: watch the running process again"
    wait_until(lambda: adopted in daemon.log.read_text(), "it is watched again")
    daemon.docker("stop", "-t", "0", "odd")
    assert state(daemon, "odd") == "exited 137 0"


def bundle(daemon: Daemon, name: str) -> Path:
    container_id = daemon.docker("inspect", "-f", "{{.Id}}", name).strip()
    return daemon.exec_root / "containers" / container_id


def test_names_are_found_while_the_daemon_is_away(daemon: Daemon) -> None:
    """Questions wait in the container's own sockets, however the daemon ended."""
    daemon.docker("network", "create", "names")
    daemon.docker("network", "create", "later")
    for name in ("server", "client"):
        daemon.docker("run", "-d", "--name", name, "--network", "names", "busybox", "sh", "-c", ASK)
    daemon.docker("run", "-d", "--name", "joined", "busybox", "sh", "-c", ASK)
    daemon.docker("network", "connect", "later", "joined")
    daemon.docker("network", "connect", "later", "server")
    for name in ("client", "joined"):
        wait_until(partial(has_asked, daemon, name, 3), f"{name} asks")
    for end in (daemon.kill, daemon.stop):
        before = {name: len(asked(daemon, name)) for name in ("client", "joined")}
        end()
        daemon.start()
        for name, count in before.items():
            wait_until(partial(has_asked, daemon, name, count + 3), f"{name} goes on asking")
    for name in ("client", "joined"):
        assert set(asked(daemon, name)) == {"found"}, name
    daemon.remove_all()
    daemon.docker("network", "rm", "names", "later")


ASK = """
while :; do
    if nslookup -type=a server 127.0.0.11 > /dev/null 2>&1; then echo found; else echo lost; fi
    usleep 50000
done
"""


def asked(daemon: Daemon, name: str) -> list[str]:
    answers = daemon.docker("logs", name).split()
    return answers[answers.index("found") :] if "found" in answers else []


def has_asked(daemon: Daemon, name: str, count: int) -> bool:
    return len(asked(daemon, name)) >= count
