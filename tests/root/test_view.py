"""A container's file system from outside, stopped and running."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pier.containers.model import MountPoint
from pier.containers.view import JustEnded, View, in_view, open_root_alone
from pier.linux import syscalls
from pier.linux.mount import Overlay
from pier.linux.paths import open_in_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def no_image(_: str) -> Overlay:
    raise AssertionError


def write(root: int, path: str, text: str) -> None:
    fd = open_in_root(root, path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    os.write(fd, text.encode())
    os.close(fd)


def read(root: int, path: str) -> str:
    fd = open_in_root(root, path, os.O_RDONLY)
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


@pytest.fixture
def view(tmp_path: Path) -> View:
    for name in ("lower/etc", "upper", "work", "scratch", "volume", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/etc/passwd").write_text("theirs")
    (tmp_path / "lower/evil").symlink_to(tmp_path / "secret")
    (tmp_path / "volume/file").write_text("in the volume")
    (tmp_path / "hosts").write_text("hosts")
    points = (
        MountPoint(kind="volume", destination="/data", source=str(tmp_path / "volume")),
        MountPoint(kind="bind", destination="/ro", source=str(tmp_path / "volume"), writable=False),
        MountPoint(kind="bind", destination="/etc/hosts", source=str(tmp_path / "hosts")),
        MountPoint(kind="bind", destination="/evil/in", source=str(tmp_path / "volume")),
        MountPoint(kind="tmpfs", destination="/tmp"),
    )
    return View(
        overlay=Overlay((f"{tmp_path}/lower",), f"{tmp_path}/upper", f"{tmp_path}/work"),
        points=points,
        scratch=tmp_path / "scratch",
        image_overlay=no_image,
    )


def test_a_stopped_container_is_seen_with_its_mounts(view: View, tmp_path: Path) -> None:
    def work(root: int) -> list[str]:
        write(root, "/etc/new", "x")
        write(root, "/data/new", "y")
        return [read(root, path) for path in ("/etc/passwd", "/data/file", "/etc/hosts", "/ro/new")]

    assert in_view(view, work) == ["theirs", "in the volume", "hosts", "y"]
    assert (tmp_path / "upper/etc/new").read_text() == "x"
    assert (tmp_path / "volume/new").read_text() == "y"


def test_a_read_only_mount_stays_so(view: View) -> None:
    with pytest.raises(OSError, match="Read-only"):
        in_view(view, lambda root: write(root, "/ro/new", "x"))


def test_the_host_sees_nothing_of_it(view: View, tmp_path: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    seen = in_view(view, lambda _: Path("/proc/self/mountinfo").read_text())
    assert seen == before, "/proc/self is the main thread's"
    assert list((tmp_path / "scratch").iterdir()) == []
    assert list((tmp_path / "secret").iterdir()) == []
    in_view(view, lambda _: None)


def test_errors_reach_the_caller_and_the_thread_ends(view: View) -> None:
    with pytest.raises(FileNotFoundError):
        in_view(view, lambda root: read(root, "/missing"))
    assert "view" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[int]:
    """A process with a root of its own and something mounted in it."""
    root = tmp_path / "root"
    (root / "mnt").mkdir(parents=True)
    (root / "file").write_text("live")
    ready, sent = os.pipe()
    pid = os.fork()
    if pid == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount(str(root), str(root), flags=syscalls.MS_BIND)
        syscalls.mount("tmpfs", f"{root}/mnt", "tmpfs")
        (root / "mnt/mounted").touch()
        os.chroot(root)
        os.write(sent, b"x")
        os.read(ready, 0)
        while True:
            threading.Event().wait()
    os.read(ready, 1)
    yield pid
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(sent)


def test_a_running_container_is_reached_through_its_root(view: View, process: int) -> None:
    running = replace(view, pid=process)
    assert in_view(running, lambda root: read(root, "/file")) == "live"
    assert in_view(running, lambda root: read(root, "/mnt/mounted")) == ""


def test_one_that_just_ended_is_a_conflict(view: View) -> None:
    with pytest.raises(JustEnded):
        in_view(replace(view, pid=2**22 + 1), lambda _: None)
    with pytest.raises(JustEnded):
        open_root_alone(2**22 + 1)


def test_this_threads_namespace_is_untouched_by_a_look_at_another(process: int) -> None:
    before = Path("/proc/thread-self/ns/mnt").readlink()
    fd = open_root_alone(process)
    os.close(fd)
    assert Path("/proc/thread-self/ns/mnt").readlink() == before
