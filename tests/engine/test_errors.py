"""Nonsense gets Docker's error and status, and leaves nothing behind."""

import sys

import pytest

from tests.daemon import Daemon
from tests.docker_client import needs_docker_28


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
        (("run", "--log-driver", "nosuch", "busybox"), 125, 'plugin "nosuch" not found\n'),
        (
            ("run", "-v", "/etc/hostname:/etc", "busybox"),
            125,
            "Are you trying to mount a directory",
        ),
        (("run", "-v", "/proc:/etc/passwd", "busybox"), 125, "Are you trying to mount a directory"),
        (("run", "--network", "container:nosuch", "busybox"), 125, "No such container: nosuch"),
        (("run", "--ipc", "container:nosuch", "busybox"), 125, "No such container: nosuch"),
        (("run", "--volumes-from", "nosuch", "busybox"), 125, "No such container: nosuch"),
        (("run", "--tmpfs", "rel", "busybox"), 125, "invalid mount path: 'rel' mount path must"),
        (("run", "--tmpfs", "/t:foo", "busybox"), 125, 'invalid tmpfs option "foo"'),
        (("network", "create", "--ipam-driver", "nosuch", "n"), 1, 'plugin "nosuch" not found'),
        (("volume", "create", "-o", "foo=bar", "vol"), 1, 'create vol: invalid option: "foo"'),
        (("start", "nosuch"), 1, "No such container: nosuch"),
        (("logs", "nosuch"), 1, "No such container: nosuch"),
        (("rmi", "nosuch"), 1, "No such image: nosuch"),
        (("volume", "rm", "nosuch"), 1, "no such volume"),
        (("network", "rm", "bridge"), 1, "pre-defined network and cannot be removed"),
    ],
)
def test_refused(daemon: Daemon, arguments: tuple[str, ...], status: int, message: str) -> None:
    try:
        said = daemon.docker(*arguments, status=status)
        # Debian 12's client, 20.10, says some of it in its own words.
        assert message.lower() in said.lower()
        assert "Unable to find image 'busybox" not in said
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


def test_a_name_for_a_renamed_container(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "one", "busybox")
    daemon.docker("create", "--name", "two", "busybox")
    for new, words in (
        ("one", "Renaming a container with the same name as its current name"),
        ("two", 'Error when allocating new name: Conflict. The container name "/two"'),
        ("a b", "Error when allocating new name: Invalid container name (/a b)"),
    ):
        assert words in daemon.docker("rename", "one", new, status=1)
    assert "No such container: nosuch" in daemon.docker("rename", "nosuch", "x", status=1)
    daemon.docker("rm", "one", "two")


def test_another_platforms_image_is_not_here(daemon: Daemon) -> None:
    """404: the client pulls it then."""
    body = {"Image": "busybox"}
    status, answer = daemon.api("POST", "/v1.48/containers/create?platform=linux/riscv64", body)
    assert status == 404
    assert "does not match the specified platform" in answer["message"]


def test_a_volume_that_cannot_be_mounted(daemon: Daemon) -> None:
    options = ("-o", "type=none", "-o", "o=bind", "-o", "device=/no/such/place")
    daemon.docker("volume", "create", *options, "bad")
    said = daemon.docker("run", "-v", "bad:/x", "busybox", "true", status=127)
    assert "failed to mount local volume: mount /no/such/place:" in said
    assert "data: bind: no such file or directory" in said
    daemon.remove_all()
    daemon.docker("volume", "rm", "bad")


@needs_docker_28
def test_keys_that_no_terminal_sends(daemon: Daemon) -> None:
    """Refused even where there is no terminal to detach from."""
    daemon.docker("run", "-d", "--name", "plain", "busybox", "sleep", "300")
    said = daemon.docker("attach", "--detach-keys", "ctrl-%", "plain", status=1)
    assert "received 400" in said  # the client shows no more
    daemon.docker("rm", "-f", "plain")


def test_pulls_another_platforms_image(daemon: Daemon) -> None:
    """`pier run` as docker does; here there is no registry to pull from."""
    done = daemon.run(["docker", "run", "--platform", "linux/riscv64", "busybox"])
    pier = [sys.executable, "-m", "pier"]
    own = daemon.run([*pier, "run", "--platform", "linux/riscv64", "busybox"])
    for each in (done, own):
        assert b"Unable to find image 'busybox:latest' locally" in each.stderr
