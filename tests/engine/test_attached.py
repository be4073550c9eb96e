"""Who is attached stays so, and gets the exit code, over a restart of the daemon; or leaves."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.daemon import PATIENCE_S, Daemon, wait_until


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


def pier(daemon: Daemon, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pier", "-H", daemon.host, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(client: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = client.communicate(timeout=PATIENCE_S)
    return client.returncode, output, errors


def exists(path: Path) -> bool:
    return path.exists()


WAIT = "touch /shared/$0; while [ ! -e /shared/go ]; do usleep 20000; done; echo bye; exit 5"


def waiting(daemon: Daemon, shared: Path, *commands: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Clients, each of a script that writes a file of its name, its last word."""
    clients = [pier(daemon, *command) for command in commands]
    for command in commands:
        wait_until(lambda name=command[-1]: exists(shared / name), f"{command[-1]} runs")  # type: ignore[misc]
    return clients


def test_the_exit_code_is_known_after_a_restart(daemon: Daemon, tmp_path: Path) -> None:
    volume = ("-v", f"{tmp_path}:/shared", "busybox")
    daemon.docker("run", "-d", "--name", "box", *volume, "sleep", "300")
    clients = waiting(
        daemon, tmp_path,
        ("run", *volume, "sh", "-c", WAIT, "kept"),
        ("run", "--rm", *volume, "sh", "-c", WAIT, "removed"),
        ("run", "-i", "--rm", *volume, "sh", "-c", WAIT, "input"),
        ("exec", "box", "sh", "-c", WAIT, "exec"),
    )  # fmt: skip
    daemon.kill()
    daemon.start()
    (tmp_path / "go").touch()
    for client in clients:
        assert ended(client) == (5, "bye\n", ""), client.args


def test_the_exit_code_of_an_end_without_a_daemon_is_known(daemon: Daemon, tmp_path: Path) -> None:
    volume = ("-v", f"{tmp_path}:/shared", "busybox")
    daemon.docker("run", "-d", "--name", "box", *volume, "sleep", "300")
    clients = waiting(
        daemon, tmp_path,
        ("run", *volume, "sh", "-c", WAIT, "kept"),
        ("run", "--rm", *volume, "sh", "-c", WAIT, "removed"),
        ("exec", "box", "sh", "-c", WAIT, "exec"),
    )  # fmt: skip
    daemon.stop()
    (tmp_path / "go").touch()
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "bye\n"
    daemon.start()
    for client in clients:
        assert ended(client) == (5, "", ""), client.args


@pytest.mark.parametrize("options", [(), ("--sig-proxy=false",), ("-t",)])
def test_three_signals_leave(daemon: Daemon, tmp_path: Path, options: Sequence[str]) -> None:
    script = "trap '' INT TERM; touch /shared/ready; while :; do usleep 20000; done"
    terminal, input_ = pty.openpty()
    command = ("run", *options, "-v", f"{tmp_path}:/shared", "busybox", "sh", "-c", script)
    client = pier(daemon, *command, stdin=input_)
    os.close(input_)
    wait_until((tmp_path / "ready").exists, "it runs")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        assert client.poll() is None
        client.send_signal(number)
        wait_until(lambda n=number: not pending(client.pid, n), "it was noticed")  # type: ignore[misc]
    assert ended(client) == (1, "", "\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n")
    os.close(terminal)
    assert daemon.docker("ps", "-q")  # it goes on


def pending(pid: int, number: int) -> bool:
    """Two of a signal that wait for the process are one."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)
