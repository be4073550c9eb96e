"""A container's process as its user sees it: output, input, exit codes, terminal, exec."""

import os
import subprocess
import sys
import time

import pytest

from tests.daemon import Daemon, wait_until
from tests.docker_client import docker_major
from tests.terminal import Terminal


@pytest.mark.parametrize("client", ["docker", "pier"])
def test_hello(daemon: Daemon, client: str) -> None:
    call = getattr(daemon, client)
    assert call("run", "--rm", "busybox", "echo", "hello") == "hello\n"


@pytest.mark.parametrize("client", ["docker", "pier"])
def test_input_goes_in_and_its_end_is_seen(daemon: Daemon, client: str) -> None:
    call = getattr(daemon, client)
    assert call("run", "-i", "--rm", "busybox", "cat", stdin=b"x\n") == "x\n"
    large = b"0123456789abcdef" * 65536
    assert (
        call("run", "-i", "--rm", "busybox", "md5sum", stdin=large).split()[0]
        == (
            subprocess.run(["md5sum"], input=large, capture_output=True, check=True)
            .stdout.decode()
            .split()[0]
        )
    )


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "sh -c 'kill -TERM $$'; exit $?"), 143),
        (("sh", "-c", "sh -c 'kill -9 $$'; exit $?"), 137),
        (("nosuchprogram",), 127),
        (("/etc/passwd",), 126),
        (("/etc",), 126),
    ],
)
@pytest.mark.parametrize("client", ["docker", "pier"])
def test_exit_status(daemon: Daemon, client: str, command: tuple[str, ...], status: int) -> None:
    getattr(daemon, client)("run", "--rm", "busybox", *command, status=status)
    assert daemon.docker("ps", "-aq") == ""


def test_output_and_errors_stay_apart(daemon: Daemon) -> None:
    done = daemon.run(["docker", "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"])
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_what_the_spec_says_holds_inside(daemon: Daemon) -> None:
    shown = daemon.docker(
        "run",
        "--rm",
        "-e",
        "A=1",
        "-w",
        "/some/where",
        "-u",
        "1000:1000",
        "-h",
        "web",
        "--add-host",
        "db:10.0.0.9",
        "busybox",
        "sh",
        "-c",
        "echo $A; pwd; id -u; id -g; hostname; grep db /etc/hosts",
    )
    assert shown.split() == ["1", "/some/where", "1000", "1000", "web", "10.0.0.9", "db"]


def test_a_detached_container_is_waited_for_and_its_log_read(daemon: Daemon) -> None:
    made = daemon.docker("run", "-d", "--name", "job", "busybox", "sh", "-c", "echo a; exit 3")
    assert daemon.docker("wait", "job") == "3\n"
    assert daemon.docker("logs", "job") == "a\n"
    assert daemon.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "job") == (
        "exited 3\n"
    )
    assert len(made.strip()) == 64
    daemon.docker("rm", "job")


def test_logs_have_a_frame_for_every_line(daemon: Daemon) -> None:
    """docker-py's users iterate over lines that way."""
    script = "printf 'a\\nb'; printf 'c\\n\\n'; printf 'x\\ny\\n' >&2; printf end"
    daemon.docker("run", "--name", "lines", "busybox", "sh", "-c", script)

    def logs(stream: str) -> bytes:
        _, answer = daemon.api("GET", f"/v1.47/containers/lines/logs?{stream}=1")
        return bytes(answer.encode())

    frames = (b"\2a\n", b"\3bc\n", b"\1\n", b"\3end")
    assert logs("stdout") == b"".join(b"\1\0\0\0\0\0\0" + each for each in frames)
    assert logs("stderr") == b"".join(b"\2\0\0\0\0\0\0" + each for each in (b"\2x\n", b"\2y\n"))
    daemon.docker("rm", "lines")


def test_logs_follow_until_the_end(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "--name",
        "talk",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done",
    )
    assert daemon.docker("logs", "-f", "talk").split() == ["1", "2", "3", "4", "5"]
    assert daemon.docker("logs", "--tail", "2", "talk").split() == ["4", "5"]
    assert "T" in daemon.docker("logs", "-t", "--tail", "1", "talk").split()[0]
    daemon.docker("rm", "talk")


def test_exec(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "300")
    assert daemon.docker("exec", "box", "echo", "hi") == "hi\n"
    assert daemon.pier("exec", "box", "echo", "hi") == "hi\n"
    assert daemon.docker("exec", "-i", "box", "cat", stdin=b"in") == "in"
    assert daemon.docker(
        "exec", "-e", "A=2", "-w", "/tmp", "-u", "65534", "box", "sh", "-c", "echo $A; pwd; id -u"
    ).split() == ["2", "/tmp", "65534"]
    for _ in range(10):  # the code is known as soon as the stream has ended
        daemon.docker("exec", "box", "sh", "-c", "exit 9", status=9)
    daemon.docker("exec", "box", "nosuchprogram", status=127)
    daemon.docker("exec", "-d", "box", "touch", "/made")
    wait_until(
        lambda: daemon.run(["docker", "exec", "box", "ls", "/made"]).returncode == 0, "/made"
    )
    daemon.docker("rm", "-f", "box")


def environment(daemon: Daemon) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": daemon.host, "PIER_HOST": daemon.host, "TERM": "xterm"}


@pytest.mark.parametrize("client", [["docker"], [sys.executable, "-m", "pier"]])
def test_a_terminal_with_resize_and_detach(daemon: Daemon, client: list[str]) -> None:
    argv = [*client, "run", "-it", "--name", "tty", "busybox", "sh"]
    with Terminal(argv, environment(daemon)) as terminal:

        def sized() -> bool:
            terminal.enter("stty size; echo ready\n")
            return "24 80" in terminal.expect("ready\r\n/ # ")

        if client == ["docker"] and docker_major() < 28:
            wait_until(sized, "the client has given the size: after the start")
        else:
            assert sized()

        def resized() -> bool:
            """The client may not watch its terminal yet: change the size until it does."""
            terminal.resize(50, 119)
            terminal.resize(50, 120)
            terminal.enter("stty size; echo again\n")
            return "50 120" in terminal.expect("again\r\n/ # ")

        wait_until(resized, "the new size is seen")
        terminal.enter("\x10\x11")
        wait_until(lambda: terminal.process.poll() is not None, "the client detached")
    assert daemon.docker("inspect", "-f", "{{.State.Running}}", "tty") == "true\n"
    with Terminal([*client, "attach", "tty"], environment(daemon)) as terminal:
        terminal.enter("exit 5\n")
        assert terminal.process.wait(15) == 5
    daemon.docker("rm", "-f", "tty")


def test_lifecycle(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "life", "busybox", "sleep", "300")
    daemon.docker("start", "life")
    daemon.docker("pause", "life")
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "life") == "paused\n"
    daemon.docker("unpause", "life")
    daemon.docker("rename", "life", "lives")
    daemon.docker("restart", "-t", "0", "lives")
    assert "sleep 300" in daemon.docker("top", "lives")
    daemon.docker("kill", "lives")
    assert daemon.docker("inspect", "-f", "{{.State.ExitCode}}", "lives") == "137\n"
    daemon.docker("start", "lives")
    daemon.docker("stop", "-t", "1", "lives")
    daemon.docker("rm", "lives")


def test_a_restart_policy_brings_it_back(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "false")
    wait_until(
        lambda: (
            daemon.docker("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again")
            == "2 exited\n"
        ),
        "two restarts",
    )
    daemon.docker("rm", "again")


def test_health(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "--name",
        "ill",
        "--health-cmd",
        "test -e /ok",
        "--health-interval",
        "200ms",
        "--health-retries",
        "2",
        "busybox",
        "sleep",
        "300",
    )

    def health() -> str:
        return daemon.docker("inspect", "-f", "{{.State.Health.Status}}", "ill").strip()

    wait_until(lambda: health() == "unhealthy", "it is found unhealthy")
    daemon.docker("exec", "ill", "touch", "/ok")
    wait_until(lambda: health() == "healthy", "it is found healthy")
    daemon.docker("rm", "-f", "ill")


def test_init_reaps(daemon: Daemon) -> None:
    done = daemon.run(["docker", "run", "--rm", "--init", "busybox", "cat", "/proc/1/cmdline"])
    if b"--init needs an init program" not in done.stderr:
        assert done.stdout.startswith(b"/sbin/docker-init\0--\0cat")
        assert "docker-init" in daemon.docker("version")
        assert daemon.docker("info", "-f", "{{.InitBinary}} {{.InitCommit.ID}}").split()[1:]


def test_what_happened_is_told_in_dockers_order(daemon: Daemon) -> None:
    since = repr(time.time())
    daemon.docker("run", "-d", "--name", "told", "-v", "toldvol:/v", "busybox", "sleep", "300")
    daemon.docker("top", "told")
    daemon.docker("restart", "-t", "0", "told")
    daemon.docker("rm", "-f", "told")
    daemon.docker("volume", "rm", "toldvol")
    daemon.docker("network", "prune", "-f")
    said = daemon.docker("events", "--since", since, "--until", repr(time.time()),
                         "--format", "{{.Type}} {{.Action}}")  # fmt: skip
    start = ["volume mount", "network connect", "container start"]
    end = ["network disconnect", "volume unmount", "container die"]
    assert said.splitlines() == [
        "volume create", "container create", *start, "container top",
        "container kill", "container kill", *end, "container stop",
        *start, "container restart",
        "container kill", *end, "container destroy", "volume destroy", "network prune",
    ]  # fmt: skip


def test_an_end_is_not_before_its_beginning(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.docker("run", "--name", "brief", "busybox", "true")
        times = daemon.docker("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}",
                              "brief").split()  # fmt: skip
        assert times == sorted(times)
        daemon.docker("rm", "brief")
