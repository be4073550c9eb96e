"""What a RUN is given: secrets, agents, limits, networks."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until
from tests.engine.build_support import Directory, leftovers, processes, said

pytestmark = pytest.mark.usefixtures("classic_builder")


def test_secrets_are_seen_and_leave_no_trace(
    daemon: Daemon, context: Directory, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    context.dockerfile(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=file test $(wc -c < /run/secrets/file) = 9\n"
        "RUN --mount=type=secret,id=env,env=TOKEN test ${#TOKEN} = 18\n"
        "RUN test ! -e /run/secrets\n"
    )
    secret = context.path.parent / "secret"
    secret.write_text("of-a-file")
    monkeypatch.setenv("MY_TOKEN", "of-the-environment")
    words = ["--secret", f"id=file,src={secret}", "--secret", "id=env,env=MY_TOKEN"]
    daemon.pier("build", "-t", tag, *words, str(context))
    archive = daemon.run(["docker", "save", tag]).stdout
    assert b"of-a-file" not in archive
    assert b"of-the-environment" not in archive
    context.dockerfile("FROM busybox\nRUN --mount=type=secret,id=no,required cat /run/secrets/no\n")
    assert "secret no: not found" in daemon.pier("build", str(context), status=1)


def test_an_agent_is_forwarded(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && nc local:$SSH_AUTH_SOCK"
        " < /dev/null | grep -q agent || test -S $SSH_AUTH_SOCK\n"
    )
    path = context.path.parent / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        daemon.pier("build", "--ssh", f"default={path}", str(context))
    refused = daemon.pier("build", "--ssh", f"default={context}/Dockerfile", str(context), status=1)
    assert "is not a socket" in refused


def test_limits_hold_in_a_run(daemon: Daemon, context: Directory) -> None:
    mark = f"7{os.getpid()}"
    context.dockerfile(
        f"FROM busybox\nRUN ulimit -n; ulimit -Hn; df -m | grep shm; sleep {mark} & "
        "while [ ! -e /go ]; do sleep 0.1; done\n"
    )
    words = (
        "--no-cache", "--memory", "64m", "--memory-swap", "64m", "--cpus", "1.5",
        "--ulimit", "nofile=100:200", "--shm-size", "8m",
    )  # fmt: skip
    outputs: list[str] = []
    building = threading.Thread(
        target=lambda: outputs.append(daemon.pier("build", *words, str(context)))
    )
    building.start()
    wait_until(lambda: processes(mark), "the RUN runs")
    process = Path(processes(mark)[0]).parent
    try:
        assert limits_of(process) == ["67108864", "150000 100000"]
    finally:
        (process / "root/go").touch()
        building.join()
    assert "\n100\n200\n" in outputs[0]
    assert " 8 " in next(line for line in outputs[0].splitlines() if line.startswith("shm"))
    context.dockerfile("FROM busybox\nRUN head -c 200m /dev/zero | tail\n")
    small = ("--memory", "32m", "--memory-swap", "32m")
    output = daemon.docker("build", *small, str(context), status=137)
    assert "returned a non-zero code: 137" in output


def limits_of(process: Path) -> list[str]:
    """What memory and CPU a process may use, in the words of cgroup v2."""
    places = dict(line.split(":", 2)[1:] for line in (process / "cgroup").read_text().splitlines())
    root = Path("/sys/fs/cgroup")
    if "" in places and (root / "cgroup.controllers").exists():
        group = root / places[""].lstrip("/")
        names = [group / "memory.max", group / "cpu.max"]
        return [name.read_text().strip() for name in names]
    memory = root / "memory" / places["memory"].lstrip("/") / "memory.limit_in_bytes"
    cpu_place = next(value for key, value in places.items() if "cpu" in key.split(","))
    cpu = root / "cpu" / cpu_place.lstrip("/")
    quota = [(cpu / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")]
    return [memory.read_text().strip(), " ".join(quota)]


def test_networks_of_a_run(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox\nRUN echo links $(ls /sys/class/net)\nRUN cat /etc/hosts\n"
        "RUN --network=none echo alone $(ls /sys/class/net)\n"
    )
    output = daemon.docker("build", "--add-host", "there:1.2.3.4", str(context))
    assert "links eth0 lo" in output
    assert "1.2.3.4\tthere" in output
    assert "\nalone lo\n" in output
    output = daemon.docker("build", "--no-cache", "--network", "none", str(context))
    assert "links lo" in output
    host = daemon.docker("build", "--no-cache", "--network", "host", str(context))
    assert daemon.bridge in host
    daemon.docker("network", "create", "net1")
    assert "links eth0 lo" in daemon.docker(
        "build", "--no-cache", "--network", "net1", str(context)
    )
    daemon.docker("network", "rm", "net1")


@contextlib.contextmanager
def agent(directory: Path) -> Iterator[Path]:
    """A real agent that holds one key."""
    path = directory / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        wait_until(path.exists, "the agent listens")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "the-key",
                        "-f", str(directory / "key")], check=True)  # fmt: skip
        subprocess.run(["ssh-add", "-q", str(directory / "key")], check=True,
                       env={**os.environ, "SSH_AUTH_SOCK": str(path)})  # fmt: skip
        yield path
    finally:
        process.terminate()
        process.wait()


def copy_program(name: str, root: Path) -> None:
    """A program of this machine and the libraries it needs, below `root`."""
    program = shutil.which(name)
    assert program
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in [program, *re.findall(r"(/\S+) \(", listed)]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="needs ssh-agent")
def test_an_agent_answers_in_a_run_and_to_its_user_only(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    copy_program("ssh-add", context.path / "root")
    context.dockerfile(
        "FROM busybox\nCOPY root/ /\nENV PATH=/bin:/usr/bin\n"
        "RUN --mount=type=ssh ssh-add -l && echo at $SSH_AUTH_SOCK\n"
        "RUN --mount=type=ssh,id=second,target=/run/a,uid=7,gid=8,mode=0660 "
        "--mount=type=ssh stat -c 'as %a %u %g' /run/a && echo first $SSH_AUTH_SOCK\n"
        "USER 1000\n"
        "RUN --mount=type=ssh,uid=1000 ssh-add -l && echo user $(id -u)\n"
        "RUN --mount=type=ssh ! ssh-add -l && echo shut\n"
        'RUN test -z "$SSH_AUTH_SOCK" && ! test -e /run/buildkit\n'
    )
    with agent(tmp_path) as path:
        words = ("--ssh", f"default={path}", "--ssh", f"second={path}")
        output = daemon.pier("build", "--no-cache", *words, str(context))
    assert said(output, "the-key (ED25519)") == 2
    for line in ("at /run/buildkit/ssh_agent.0", "as 660 7 8", "first /run/a", "user 1000", "shut"):
        assert f"{line}\n" in output
    assert leftovers(daemon) == []
    context.dockerfile("FROM busybox\nRUN --mount=type=ssh,required true\n")
    assert "ssh agent default: not found" in daemon.pier("build", str(context), status=1)


def test_a_run_is_on_the_network_of_a_container(daemon: Daemon, context: Directory) -> None:
    daemon.docker("run", "-d", "--name", "beside", "--hostname", "near", "busybox", "sleep", "1000")
    address = daemon.docker("inspect", "beside", "-f", "{{.NetworkSettings.IPAddress}}").strip()
    context.dockerfile("FROM busybox\nRUN ip -4 addr show eth0 && grep near /etc/hosts\n")
    words = ("build", "--no-cache", "--network", "container:beside", str(context))
    output = daemon.docker(*words)
    assert f"inet {address}/" in output
    assert f"\n{address}\tnear\n" in output
    daemon.docker("kill", "beside")
    refused = daemon.docker(*words, status=1)
    assert "of a non running container" in refused
    daemon.docker("rm", "beside")
    assert "No such container: beside" in daemon.docker(*words, status=1)


def test_the_machines_network_is_for_who_is_allowed(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN --network=host ls /sys/class/net\n")
    refused = daemon.docker("build", str(context), status=1)
    assert "network.host is not allowed" in refused
    for words in (["--allow", "network.host"], ["--network", "host"]):
        output = daemon.pier("build", "--no-cache", *words, str(context))
        assert f"\n{daemon.bridge}\n" in output


def test_the_daemons_own_limits_hold_in_a_run(tmp_path: Path, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN ulimit -n; ulimit -Hn\n")
    with Daemon(tmp_path / "limited", "--default-ulimit", "nofile=70:80") as daemon:
        assert "\n70\n80\n" in daemon.docker("build", str(context))
        words = ("--no-cache", "--ulimit", "nofile=60:61")
        assert "\n60\n61\n" in daemon.docker("build", *words, str(context))
