"""Health checks go on, and in time, whatever happens to a probe."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon, wait_until


@pytest.fixture(autouse=True)
def _clean(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.remove_all()


def checked(daemon: Daemon, command: str, *options: str) -> str:
    """Start a container that is probed; its ID."""
    interval = ("--health-interval", "100ms", "--health-retries", "2")
    return daemon.docker(
        *("run", "-d", *interval, "--health-cmd", command, *options, "busybox", "sleep", "300")
    ).strip()


def health(daemon: Daemon, container_id: str) -> Any:  # Any: foreign JSON
    return json.loads(daemon.docker("inspect", "-f", "{{json .State.Health}}", container_id))


def waited(daemon: Daemon, container_id: str, status: str) -> Any:  # Any: foreign JSON
    wait_until(lambda: health(daemon, container_id)["Status"] == status, f"it is {status}")
    return health(daemon, container_id)


def test_an_error_nobody_expected_makes_a_container_unhealthy_until_it_is_over(
    daemon: Daemon,
) -> None:
    container_id = checked(daemon, "true")
    waited(daemon, container_id, "healthy")
    execs = daemon.exec_root / "containers" / container_id / "exec"
    aside = execs.rename(execs.with_name("aside"))
    execs.touch()  # where a directory is to be made
    result = waited(daemon, container_id, "unhealthy")["Log"][-1]
    assert result["ExitCode"] == -1
    assert "File exists" in result["Output"] or "Not a directory" in result["Output"]
    execs.unlink()
    aside.rename(execs)
    waited(daemon, container_id, "healthy")


def test_the_time_limit_holds_where_a_probe_does_not_even_start(daemon: Daemon) -> None:
    """What starts it is stopped; and one that cannot be killed keeps the next from being run."""
    container_id = checked(daemon, "true", "--health-timeout", "1s")
    waited(daemon, container_id, "healthy")
    hosts = processes("pier-execs", daemon)
    assert hosts
    for pid in hosts:
        os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        result = waited(daemon, container_id, "unhealthy")["Log"][-1]
        assert result["ExitCode"] == -1
        assert "exceeded timeout (1s)" in result["Output"]
        assert time.monotonic() - begun < 25
    finally:
        for pid in hosts:
            os.kill(pid, signal.SIGCONT)
    waited(daemon, container_id, "healthy")


def test_a_probe_does_not_keep_the_daemon_from_ending(daemon: Daemon) -> None:
    container_id = checked(daemon, "sleep 250", "--health-timeout", "300s")
    wait_until(lambda: "sleep 250" in daemon.docker("top", container_id), "it is probed")
    begun = time.monotonic()
    daemon.restart()
    assert time.monotonic() - begun < 25
    # The one the daemon left is not there beside the next.
    wait_until(
        lambda: daemon.docker("top", container_id, "-o", "pid,args").count(" sleep 250") == 1,
        "one probe runs",
    )


def processes(name: str, daemon: Daemon) -> list[int]:
    """Those of a name that serve `daemon`: its spawner's session began them."""
    assert daemon.process is not None
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "comm").read_text().strip() == name and served(int(path.name), daemon):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def served(pid: int, daemon: Daemon) -> bool:
    assert daemon.process is not None
    while pid > 1 and pid != daemon.process.pid:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid > 1


def test_what_a_probe_wrote_until_it_was_killed_is_kept(daemon: Daemon) -> None:
    command = "echo nearly; sleep 250"
    container_id = checked(daemon, command, "--health-timeout", "150ms")
    result = waited(daemon, container_id, "unhealthy")["Log"][-1]
    assert result["ExitCode"] == -1
    assert result["Output"] == "Health check exceeded timeout (150ms): nearly\n"
