"""No space left: operations fail in words, what runs goes on, and with space all is well again."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.registries import pier_registry
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


LINES = 100_000


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


@pytest.mark.parametrize("end", [Daemon.kill, Daemon.stop])
def test_a_daemon_starts_on_a_full_disk_and_makes_space(
    small: Daemon, end: Callable[[Daemon], None]
) -> None:
    daemon, filler = small, small.root.parent / "fill"
    daemon.docker("tag", "busybox", "other")
    daemon.docker("create", "--name", "one", "-v", "vol:/v", "busybox")
    daemon.docker("build", "-q", "-t", "built", "-", stdin=b"FROM busybox\nRUN echo > /x\n")
    end(daemon)
    fill(filler)
    daemon.start()
    for words in ("images", "ps -a", "system df -v", "builder prune -f", "volume ls", "info"):
        daemon.docker(*words.split())
    daemon.docker("rmi", "other")
    daemon.docker("rm", "one")
    daemon.docker("volume", "rm", "vol")
    daemon.docker("image", "prune", "-f")
    assert "Total reclaimed space" in daemon.docker("system", "prune", "-af")
    assert daemon.docker("images", "-q") == ""
    end(daemon)
    fill(filler)
    daemon.start()
    filler.unlink()
    daemon.docker("pull", "-q", "busybox")
    assert daemon.docker("run", "--rm", "busybox", "echo", "ok") == "ok\n"


def test_a_pull_says_that_there_is_no_space(
    small: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    filler = small.root.parent / "fill"
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as host:
        name = f"{host}/busybox:1"
        small.docker("tag", "busybox", name)
        small.docker("push", "-q", name)
        archive = small.run(["docker", "save", name]).stdout
        small.docker("rmi", "busybox", name)
        fill(filler)
        for words, stdin in (
            (["pull", name], b""),
            (["load"], archive),
            (["import", "-"], archive),
        ):
            done = small.run(["docker", *words], stdin=stdin)
            assert done.returncode == 1
            assert b"no space left on device" in done.stderr, (words, done.stderr)
        filler.unlink()
        small.docker("pull", "-q", name)


def test_a_log_says_what_a_full_disk_kept_out_of_it(
    small: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> None:
    filler, signs = small.root.parent / "fill", tmp_path_factory.mktemp("signs")
    script = f"""
        waiting() {{ echo $1; while [ ! -e /signs/$1 ]; do sleep 0.05; done; }}
        waiting full; yes "a line" | head -n {LINES}; touch /signs/told; waiting empty; echo after
    """
    options = ["-d", "--name", "teller", "-v", f"{signs}:/signs"]
    small.docker("run", *options, "busybox", "sh", "-c", script)
    log = Path(small.docker("inspect", "-f", "{{.LogPath}}", "teller").strip())
    wait_until(lambda: b"full" in log.read_bytes(), "the log has the first line")
    fill(filler)
    (signs / "full").touch()
    wait_until((signs / "told").exists, "all lines are told")
    filler.unlink()
    (signs / "empty").touch()
    wait_until(lambda: b"after" in log.read_bytes(), "the log goes on")
    told = [json.loads(line)["log"] for line in log.read_text().splitlines()]
    notices = [line for line in told if line.endswith("lost here: No space left on device\n")]
    lost = sum(int(line.split()[1]) for line in notices)
    assert lost
    assert told.count("a line\n") + told.count("empty\n") + lost == LINES + 1
    small.docker("rm", "-f", "teller")
