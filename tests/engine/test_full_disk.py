"""No space left: operations fail in words, what runs goes on, and with space all is well again."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until
from tests.invariants import broken


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose files are on a file system of their own."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(tmp_path)]
    subprocess.run(mount, check=True)
    try:
        with Daemon(tmp_path / "d") as daemon:
            daemon.docker("pull", "-q", "busybox")
            yield daemon
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(path: Path) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        os.close(fd)


def test_a_full_disk_is_survived(small: Daemon) -> None:
    daemon, filler = small, small.root.parent / "fill"
    script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"
    daemon.docker("run", "-d", "--name", "loop", "busybox", "sh", "-c", script)
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", "loop")
    daemon.docker("run", "-d", "--name", "other", "busybox", "sleep", "600")
    fill(filler)
    for command in ("commit loop image", "exec loop true", "build -"):
        done = daemon.run(["docker", *command.split()], stdin=b"FROM busybox\nRUN echo > /x\n")
        said = (done.stdout + done.stderr).decode()
        assert done.returncode != 0, command
        assert "no space left" in said.lower(), (command, said)
    for path, body in (
        ("/volumes/create", {"Name": "full"}),
        ("/networks/create", {"Name": "full"}),
        ("/containers/create", {"Image": "busybox"}),
        ("/images/busybox/tag?repo=full", None),
        ("/containers/loop/rename?name=full", None),
    ):
        status, told = daemon.api("POST", path, body)
        # What needs no room may well succeed, and be taken back.
        assert status < 300 or "no space left on device" in told["message"], (path, told)
        assert status < 300 or "Error" not in told["message"], (path, told)
    daemon.run(["docker", "rename", "full", "loop"])
    daemon.run(["docker", "volume", "rm", "full"])
    daemon.run(["docker", "network", "rm", "full"])
    assert daemon.docker("ps", "--format", "{{.Names}}") == "other\nloop\n"
    # What makes space must work without any.
    daemon.docker("pause", "loop")
    daemon.docker("unpause", "loop")
    daemon.docker("stop", "-t", "0", "other")
    daemon.docker("rm", "other")
    filler.unlink()
    assert daemon.docker("exec", "loop", "echo", "on") == "on\n"
    daemon.docker("tag", "busybox", "other")
    daemon.kill()
    daemon.log.write_text("")
    daemon.start()
    wait_until(lambda: not broken(daemon), "all holds again")
    assert daemon.docker("inspect", "-f", "{{.State.Pid}}", "loop") == pid
    assert daemon.docker("run", "--rm", "other", "echo", "ok") == "ok\n"
    daemon.docker("rm", "-f", "loop")
