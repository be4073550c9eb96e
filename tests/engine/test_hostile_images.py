"""An image that does its worst: what it says of volumes, links and devices stays in the container.

The shape of CVE-2025-31133 and -52565: what the runtime makes and uses in /dev is the image's.
"""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.runtime.known_flaws import warning
from tests.daemon import Daemon

LINKS = "RUN ln -s /dev /out\n"


def build(daemon: Daemon, tag: str, lines: str) -> None:
    daemon.pier("build", "-t", tag, "-", stdin=f"FROM busybox\n{lines}".encode())


@pytest.mark.parametrize("path", ["/dev", "dev", "/dev/null", "/dev//pts/", "/dev/shm/../console"])
def test_an_image_has_no_volumes_in_dev(daemon: Daemon, path: str) -> None:
    build(daemon, "devious", f"VOLUME {path}\n")
    before = daemon.docker("volume", "ls", "-q")
    status, told = daemon.api("POST", "/containers/create", {"Image": "devious", "Cmd": ["true"]})
    assert status == 400
    assert "the image asks for a mount at /dev" in told["message"]
    assert daemon.docker("volume", "ls", "-q") == before
    asked = ("--mount", f"type=tmpfs,target={path}") if path == "/dev//pts/" else ()
    if asked:  # who runs it may say what is there instead
        daemon.docker("create", "--name", "asked", *asked, "devious", "true")
        daemon.docker("rm", "asked")


def test_shared_memory_and_control_groups_may_be_volumes(daemon: Daemon) -> None:
    build(daemon, "harmless", "VOLUME /dev/shm /sys/fs/cgroup\n")
    assert daemon.docker("run", "--rm", "harmless", "echo", "on") == "on\n"


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_log_that_is_a_link_to_the_output_may_be_mounted_over(
    daemon: Daemon, tmp_path: Path, runtime: str
) -> None:
    build(daemon, "logging", "RUN mkdir /log && ln -s /dev/stdout /log/access\n")
    (tmp_path / "access").write_text("before\n")
    mount = ("--runtime", runtime, "-v", f"{tmp_path}/access:/log/access")
    assert daemon.docker("run", "--rm", *mount, "logging", "cat", "/log/access") == "before\n"


def test_links_to_dev_are_no_way_around(daemon: Daemon) -> None:
    build(daemon, "linked", LINKS + "VOLUME /out\n")
    status, made = daemon.api("POST", "/containers/create", {"Image": "linked", "Cmd": ["true"]})
    assert status == 201
    status, told = daemon.api("POST", f"/containers/{made['Id']}/start")
    assert (status, told["message"]) == (
        400, "cannot mount at /out: links lead from there to /dev",
    )  # fmt: skip
    daemon.docker("rm", "-v", made["Id"])


def test_a_container_cannot_lead_its_own_volume_there(daemon: Daemon) -> None:
    """Not at once: at its next start, by a link above the place of the volume."""
    script = "mv /a /b && ln -s /dev /a && ln -sf /proc/1/root /b/pts/0"
    daemon.docker("run", "--name", "moving", "-v", "/a/pts", "busybox", "sh", "-c", script)
    status, told = daemon.api("POST", "/containers/moving/start")
    assert (status, told["message"]) == (
        400, "cannot mount at /a/pts: links lead from there to /dev/pts",
    )  # fmt: skip
    daemon.docker("rm", "-v", "moving")


@pytest.mark.parametrize("target", ["/dev", "/out", "//dev/null", "/proc", "../dev"])
def test_a_dockerfile_mounts_nothing_there(daemon: Daemon, target: str) -> None:
    build(daemon, "linked", LINKS)
    run = f"FROM linked\nRUN --mount=type=bind,from=busybox,target={target} true\n"
    told = daemon.pier("build", "-", stdin=run.encode(), status=1)
    assert "the Dockerfile asks for a mount at" in told


def test_old_runtimes_are_named(daemon: Daemon) -> None:
    told = subprocess.run(["runc", "--version"], capture_output=True, text=True, check=True).stdout
    expected = warning("runc", "runc", told.split("\n", 1)[0].rpartition(" ")[2])
    assert daemon.api("GET", "/info")[1]["Warnings"] == ([expected] if expected else [])
    assert expected.removeprefix("WARNING: ") in daemon.log.read_text()


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon started by somebody whose files everybody may write."""
    before = os.umask(0)
    daemon = Daemon(tmp_path / "careless")
    try:
        daemon.__enter__()
    finally:
        os.umask(before)
    with daemon.adopted():
        daemon.docker("pull", "-q", "busybox")
        yield daemon


def test_other_users_of_the_machine_get_nowhere(careless: Daemon) -> None:
    daemon = careless
    daemon.docker("volume", "create", "kept")
    daemon.docker(
        "run", "-d", "--name", "first", "--ipc", "shareable", "-v", "kept:/kept", "-v", "/other",
        "--mount", "type=image,source=busybox,target=/image", "--tmpfs", "/scratch", "-p", "80",
        "--mount", "type=volume,source=kept,target=/part,volume-subpath=.", "busybox", "top",
    )  # fmt: skip
    daemon.docker(
        "run", "-d", "--name", "second", "--ipc", "container:first", "-t", "busybox", "top"
    )
    daemon.docker("exec", "-d", "first", "sleep", "600")
    build(
        daemon, "made", "RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t true\n"
    )
    for name in ("first", "second"):
        mounted = daemon.docker("exec", name, "grep", " /dev/shm ", "/proc/mounts")
        assert {"nosuid", "nodev", "noexec"} <= set(mounted.split()[3].split(",")), mounted
    reached = sorted(str(path.relative_to(daemon.root)) for path in reachable(daemon.exec_root))
    assert reached == []
    assert list(reachable(daemon.data_root)) == []
    assert not [path for path in writable(daemon.exec_root) if path.parent.name != "shm"]
    assert list(writable(daemon.data_root)) == []


def reachable(root: Path) -> Iterator[Path]:
    """What a user who is nobody here could read, list or enter."""
    if not root.stat().st_mode & stat.S_IXOTH:
        return
    for path in root.iterdir():
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & 0o007:
            yield path
            yield from reachable(path)
        elif stat.S_ISREG(mode) and mode & 0o006:
            yield path


def writable(root: Path) -> Iterator[Path]:
    """Directories others than root may make files in, whether they get there or not."""
    for path in root.iterdir():
        foreign = path.name in ("fs", "_data", "rootfs") or path.parent.parent.name == "mounts"
        if path.is_symlink() or not path.is_dir() or foreign:
            continue
        if path.stat().st_mode & 0o022:
            yield path
        yield from writable(path)
