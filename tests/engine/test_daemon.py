"""The daemon as a process: side by side, activated, reloaded, told to stop."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until


def test_two_daemons_live_side_by_side(daemon: Daemon, tmp_path: Path) -> None:
    with Daemon(tmp_path / "second") as second:
        second.docker("pull", "-q", "busybox")
        for one in (daemon, second):
            one.docker("run", "-d", "--name", "same", "busybox", "sleep", "300")
        addresses = {
            one.docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "same")
            for one in (daemon, second)
        }
        assert len(addresses) == 2
        second.docker("rm", "-f", "same")
        assert "same" in daemon.docker("ps", "--format", "{{.Names}}")
        daemon.docker("rm", "-f", "same")


def test_the_roots_are_one_daemons(daemon: Daemon) -> None:
    done = subprocess.run(daemon.argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "another daemon uses" in done.stderr
    assert daemon.docker("ps", "-q") == ""


def test_a_clean_stop_leaves_nothing_and_a_start_finds_everything(own_daemon: Daemon) -> None:
    own_daemon.docker("create", "--name", "kept", "busybox", "echo", "still here")
    own_daemon.stop()
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    assert own_daemon.bridge not in links.stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert own_daemon.bridge not in tables.stdout
    own_daemon.start()
    assert own_daemon.docker("start", "-a", "kept") == "still here\n"


def test_containers_go_on_while_the_daemon_is_stopped(own_daemon: Daemon) -> None:
    own_daemon.docker("run", "-d", "--name", "web", "-p", "127.0.0.1:18097:80", "busybox", "sh",
                      "-c", "mkdir /w; echo up > /w/x; httpd -f -h /w")  # fmt: skip
    own_daemon.stop()
    wait_until(lambda: fetched(18097) == b"up\n", "the port answers without a daemon")
    own_daemon.start()
    assert fetched(18097) == b"up\n"
    assert own_daemon.docker("exec", "web", "cat", "/w/x") == "up\n"


def test_containers_are_stopped_when_the_machine_goes_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd says it; a restart of the service alone says "running"."""
    word = tmp_path / "word"
    word.write_text("stopping")
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\n[ "$1" = is-system-running ] && cat {word}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(systemctl.parent), prepend=os.pathsep)
    with Daemon(tmp_path / "daemon", "--shutdown-timeout", "1") as daemon:
        daemon.docker("pull", "-q", "busybox")
        deaf = ("busybox", "sleep", "300")
        hears = ("busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
        daemon.docker("run", "-d", "--name", "deaf", "--restart", "unless-stopped", *deaf)
        daemon.docker("run", "-d", "--name", "hears", *hears)
        daemon.docker("run", "-d", "--name", "brief", "--rm", *hears)
        daemon.docker("run", "-d", "--name", "stopped", "--restart", "unless-stopped", *deaf)
        daemon.docker("stop", "-t", "0", "stopped")
        daemon.docker("run", "-d", "--name", "paused", *hears)
        daemon.docker("pause", "paused")
        processes = [pid_of(daemon, name) for name in ("deaf", "hears", "brief", "paused")]
        daemon.stop()
        assert not any(Path("/proc", pid).exists() for pid in processes)
        word.write_text("running")
        daemon.start()
        wait_until(lambda: names(daemon) == {"deaf": "running"}, "what has a policy is back")
        listed = daemon.docker("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines()
        codes = dict(line.split()[:3:2] for line in listed)
        assert codes["hears"] == codes["paused"] == "(7)"
        assert codes["stopped"] == "(137)"
        assert "brief" not in codes
        process = pid_of(daemon, "deaf")
        daemon.restart()
        assert pid_of(daemon, "deaf") == process


def names(daemon: Daemon) -> dict[str, str]:
    lines = daemon.docker("ps", "--format", "{{.Names}} {{.State}}").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def pid_of(daemon: Daemon, name: str) -> str:
    return daemon.docker("inspect", "-f", "{{.State.Pid}}", name).strip()


def fetched(port: int) -> bytes:
    with socket.socket() as sock:
        sock.settimeout(5)
        try:
            sock.connect(("127.0.0.1", port))
            sock.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(4096), b"")).partition(b"\r\n\r\n")[2]
        except OSError:
            return b""


def test_settings_are_reloaded(tmp_path: Path) -> None:
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({"insecure-registries": ["a.test"]}))
    with Daemon(tmp_path / "d", "--config-file", str(config)) as daemon:
        assert "a.test" in daemon.docker("info")
        config.write_text(json.dumps({"insecure-registries": ["b.test"]}))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "b.test" in daemon.docker("info"), "the new settings")
        config.write_text("{")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings not reloaded" in daemon.log.read_text(), "the refusal")
        assert "b.test" in daemon.docker("info")


def test_a_socket_that_was_passed_and_readiness(tmp_path: Path) -> None:
    """As systemd does it: descriptor 3 listens already; READY=1 comes back."""
    daemon = Daemon(tmp_path / "d")
    daemon.root.mkdir()
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(tmp_path / "notify"))
    notices.settimeout(30)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(daemon.socket))
    listening.listen()
    argv = [word if word != daemon.host else "fd://" for word in daemon.argv]
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
        "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[2], sys.argv[2:])"
    )
    environment = {**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with notices, listening:
        with daemon.log.open("wb") as log:
            daemon.process = subprocess.Popen(
                [sys.executable, "-c", script, str(listening.fileno()), *argv],
                env=environment, pass_fds=[listening.fileno()], stdout=log, stderr=log,
            )  # fmt: skip
        with daemon.adopted():
            assert notices.recv(100) == b"READY=1"
            assert daemon.api("GET", "/_ping") == (200, "OK")
    assert daemon.process.returncode == 0


def test_loopback_tcp(tmp_path: Path) -> None:
    with Daemon(tmp_path / "d", "--host", "tcp://127.0.0.1:18098") as daemon:
        done = subprocess.run(
            ["docker", "-H", "tcp://127.0.0.1:18098", "version", "-f", "{{.Server.Os}}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "linux\n"
        assert daemon.docker("ps", "-q") == ""
        for host, status in (
            ("localhost:18098", 200), ("[::1]", 200), ("api.moby.localhost", 200),
            ("docker", 200), ("rebound.example.com", 403), ("[x", 403),
        ):  # fmt: skip
            assert asked(host, 18098) == status, host


def asked(host: str, port: int) -> int:
    """What a browser gets on a page whose name was made to mean 127.0.0.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/_ping", headers={"Host": host})
        return connection.getresponse().status


def test_the_daemons_confinement_is_for_containers_and_builds(tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    flags = ("--seccomp-profile", str(tmp_path / "profile.json"), "--no-new-privileges")
    look = "grep NoNewPrivs /proc/self/status; chmod 700 /tmp 2>&1 || echo refused"
    with Daemon(tmp_path / "d", *flags) as daemon:
        daemon.docker("pull", "-q", "busybox")
        ran = daemon.docker("run", "--rm", "busybox", "sh", "-c", look)
        dockerfile = f"FROM busybox\nRUN {look}\n".encode()
        built = daemon.docker("build", "--no-cache", "-", stdin=dockerfile)
        for said in (ran, built):
            assert "NoNewPrivs:\t1" in said
            assert "refused" in said
