"""Nonsense gets Docker's error and status, and leaves nothing behind."""

import pytest

from tests.daemon import Daemon


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("run", "--pull", "never", "nosuchimage"), 125, "No such image: nosuchimage:latest"),
        (("run", "Bad:::name"), 125, "invalid reference format"),
        (("run", "--memory", "1m", "busybox"), 125, "Minimum memory limit allowed is 6MB"),
        (("run", "--memory", "wat", "busybox"), 125, "invalid"),
        (("run", "-v", "a:b:c:d", "busybox"), 125, "invalid volume specification"),
        (("run", "-v", "/tmp:/", "busybox"), 125, "destination can't be '/'"),
        (
            ("run", "--mount", "type=bind,src=/no/such/path,dst=/x", "busybox"),
            125,
            "bind source path does not exist: /no/such/path",
        ),
        (("run", "--cap-add", "NOSUCH", "busybox"), 125, "unknown capability"),
        (("run", "--network", "nosuchnet", "busybox"), 125, "network nosuchnet not found"),
        (("run", "--runtime", "nosuch", "busybox"), 125, "unknown or invalid runtime name: nosuch"),
        (("run", "--cpus", "900", "busybox"), 125, "range of CPUs is from 0.01 to"),
        (("run", "--user", "nosuchuser", "busybox", "true"), 125, "unable to find user nosuchuser"),
        (("run", "-w", "relative", "busybox"), 125, "it needs to be an absolute path"),
        (("run", "--name", "a b", "busybox"), 125, "Invalid container name"),
        (("run", "--log-driver", "nosuch", "busybox"), 125, "no log driver named 'nosuch'"),
        (("start", "nosuch"), 1, "No such container: nosuch"),
        (("logs", "nosuch"), 1, "No such container: nosuch"),
        (("rmi", "nosuch"), 1, "No such image: nosuch:latest"),
        (("volume", "rm", "nosuch"), 1, "no such volume"),
        (("network", "rm", "bridge"), 1, "pre-defined network and cannot be removed"),
    ],
)
def test_refused(daemon: Daemon, arguments: tuple[str, ...], status: int, message: str) -> None:
    try:
        assert message in daemon.docker(*arguments, status=status)
        assert daemon.docker("ps", "-aq", "--filter", "status=running") == ""
    finally:
        daemon.remove_all()


def test_a_name_that_is_taken(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "one", "busybox")
    said = daemon.docker("create", "--name", "one", "busybox", status=1)
    assert 'The container name "/one" is already in use by container' in said
    daemon.docker("rm", "one")


def test_a_port_that_is_taken(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "first", "-p", "127.0.0.1:18080:80", "busybox",
                  "sleep", "300")  # fmt: skip
    said = daemon.docker("run", "--name", "second", "-p", "127.0.0.1:18080:80", "busybox",
                         "sleep", "300", status=125)  # fmt: skip
    assert "port is already allocated" in said
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "second") == "created\n"
    daemon.docker("rm", "-f", "first", "second")


def test_a_running_container_is_not_removed(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "up", "busybox", "sleep", "300")
    said = daemon.docker("rm", "up", status=1)
    assert "stop the container before removing or force remove" in said
    daemon.docker("rm", "-f", "up")
