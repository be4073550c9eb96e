"""`docker cp`, export and diff against real snapshots, volumes and a real container."""

import asyncio
import contextlib
import ctypes
import io
import os
import platform
import signal
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pier.containers.files import Files
from pier.containers.live import LiveContainers
from pier.containers.model import Container, MountPoint, Status
from pier.containers.path_stat import MountReadOnly, PathNotFound, RootReadOnly
from pier.containers.spec import ContainerSpec, HostSpec
from pier.containers.state import State
from pier.containers.store import ContainerStore
from pier.errors import PierError
from pier.events import Events
from pier.linux import syscalls
from pier.linux.mount import attach, open_overlay
from pier.store.database import Database
from pier.store.snapshots import Snapshotter
from pier.volumes import Volumes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ID = "c" * 64
KEY = f"container/{ID}"


class World:
    """The parts that files need, real ones, and one container."""

    def __init__(self, directory: Path, host: HostSpec) -> None:
        self.directory = directory
        self.database = Database(directory / "pier.db")
        self.snapshotter = Snapshotter(directory / "snapshots", self.database)
        self.volumes = Volumes(self.database, directory / "volumes", Events())
        self.store = ContainerStore(self.database)
        self.live = LiveContainers()
        self.actions: list[str] = []
        self._make_image()
        self.container = self._make_container(host)
        self.files = Files(self._parts())

    def _make_image(self) -> None:
        self.snapshotter.prepare("image", "", 1)
        root = self.snapshotter.directory("image")
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("anna:x:1000:1001::/home/anna:/bin/sh\n")
        (root / "dir").mkdir()
        (root / "dir/file").write_text("from the image")
        (root / "link").symlink_to("dir")
        (root / "gone").write_text("x")
        self.snapshotter.commit("image", "sha256:" + "1" * 64)
        self.snapshotter.prepare(KEY, "sha256:" + "1" * 64, 1)

    def _make_container(self, host: HostSpec) -> Container:
        volume = self.volumes.create("data")
        (volume.mountpoint / "in-volume").write_text("v")
        (self.directory / "bound").mkdir()
        mounts = (
            MountPoint(kind="volume", destination="/data", name="data",
                       source=str(volume.mountpoint)),
            MountPoint(kind="bind", destination="/ro", source=f"{self.directory}/bound",
                       writable=False),
        )  # fmt: skip
        spec = ContainerSpec(user="anna", host=host)
        container = Container(id=ID, name="web", image_id="", spec=spec, mounts=mounts)
        self.store.add(container)
        return container

    def _parts(self) -> Any:
        """Any: only what Files asks for."""
        (self.directory / "stubs").mkdir()

        def overlay(_: Container) -> object:
            layers = self.snapshotter.overlay(KEY)
            return layers._replace(lower=(*layers.lower, str(self.directory / "stubs")))

        return SimpleNamespace(
            store=self.store, live=self.live, volumes=self.volumes, overlay=overlay,
            snapshotter=self.snapshotter, image_overlays=lambda _: {},
            directory=lambda _: self.directory / "none", mounts=lambda _: self.directory / "mounts",
            announce=lambda _, action: self.actions.append(action),
        )  # fmt: skip

    def run(self, pid: int) -> None:
        self.container = replace(self.container, state=State.RUNNING, status=Status(pid=pid))
        self.store.update(self.container)


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(tmp_path, getattr(request, "param", HostSpec()))
    yield made
    made.snapshotter.close()
    made.database.close()


@pytest.fixture
def running(world: World) -> Iterator[World]:
    """The container runs: its root is an overlay with a volume and a /proc, in a namespace."""
    ready, sent = os.pipe()
    overlay = world.snapshotter.overlay(KEY)
    pid = os.fork()
    if pid == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        root = world.directory / "root"
        root.mkdir()
        attach(open_overlay(overlay), str(root))
        (root / "proc").mkdir()
        (root / "data").mkdir()
        volume = world.volumes.get("data").mountpoint
        syscalls.mount(str(volume), f"{root}/data", flags=syscalls.MS_BIND)
        syscalls.mount("proc", f"{root}/proc", "proc")
        pivot_root(root)
        os.write(sent, b"x")
        time.sleep(60)
        os._exit(0)
    assert os.read(ready, 1) == b"x"
    world.run(pid)
    yield world
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(sent)


def pivot_root(root: Path) -> None:
    number = {"x86_64": 155, "aarch64": 41}[platform.machine()]
    os.chdir(root)
    if ctypes.CDLL(None).syscall(number, b".", b"."):
        os._exit(3)
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def tar(**files: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            member.uid = 7
            archive.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


async def names(chunks: AsyncIterator[bytes]) -> dict[str, bytes]:
    data = b"".join([chunk async for chunk in chunks])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            member.name: (archive.extractfile(member) or io.BytesIO()).read()
            if member.isreg()
            else b""
            for member in archive
        }


def get(world: World, path: str) -> dict[str, bytes]:
    async def work() -> dict[str, bytes]:
        _, chunks = await world.files.archive_get("web", path)
        return await names(chunks)

    return asyncio.run(work())


def put(world: World, path: str, data: bytes, **flags: bool) -> None:
    given = {"no_overwrite_dir_non_dir": False, "copy_uid_gid": False, **flags}
    asyncio.run(world.files.archive_put("web", path, body(data), **given))


def check(world: World) -> None:
    assert get(world, "/dir") == {"dir": b"", "dir/file": b"from the image"}
    assert get(world, "/dir/.") == {".": b"", "./file": b"from the image"}
    assert get(world, "data/in-volume") == {"in-volume": b"v"}
    assert get(world, "/link") == {"link": b""}
    put(world, "/link", tar(new="n"))
    put(world, "/data", tar(new="v"))
    put(world, "/dir", tar(mine="m"), copy_uid_gid=True)
    upper = world.snapshotter.directory(KEY)
    assert (upper / "dir/new").read_text() == "n"
    assert (upper / "dir/new").stat().st_uid == 7
    found = (upper / "dir/mine").stat()
    assert (found.st_uid, found.st_gid) == (1000, 1001)
    assert (world.volumes.get("data").mountpoint / "new").read_text() == "v"
    found_stat = asyncio.run(world.files.archive_stat("web", "link"))
    assert (found_stat.name, found_stat.link_target) == ("link", "/dir")
    with pytest.raises(PathNotFound, match="Could not find the file /nothing in container web"):
        get(world, "/nothing")
    exported = asyncio.run(exported_names(world))
    assert {"dir/file", "dir/new", "etc/passwd"} <= set(exported)
    assert not [name for name in exported if name.startswith(("data/", "proc/"))]


async def exported_names(world: World) -> dict[str, bytes]:
    return await names(await world.files.export("web"))


def test_a_stopped_container(world: World) -> None:
    check(world)
    assert not (world.directory / "mounts").exists()
    assert world.actions.count("extract-to-dir") == 3


def test_a_running_container(running: World) -> None:
    check(running)


def test_a_read_only_volume_is_left_alone(world: World) -> None:
    with pytest.raises(MountReadOnly, match="mounted volume is marked read-only"):
        put(world, "/ro", tar(x="x"))


@pytest.mark.parametrize("world", [HostSpec(readonly_rootfs=True)], indirect=True)
def test_a_read_only_root_is_left_alone(world: World) -> None:
    with pytest.raises(RootReadOnly, match="container rootfs is marked read-only"):
        put(world, "/dir", tar(x="x"))
    put(world, "/data", tar(x="x"))


def test_a_hostile_archive_stays_inside(world: World, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("escape")
        link.type = tarfile.SYMTYPE
        link.linkname = str(tmp_path)
        archive.addfile(link)
        member = tarfile.TarInfo("escape/evil")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with contextlib.suppress(PierError):
        put(world, "/dir", stream.getvalue())
    assert not (tmp_path / "evil").exists()


def test_a_diff_shows_what_was_made_to_mount_on(world: World) -> None:
    put(world, "/dir", tar(new="n"))
    found = asyncio.run(world.files.changes("web"))
    assert [f"{change.kind.name[0]} {change.path}" for change in found] == [
        "A /data", "M /dir", "A /dir/new", "A /ro",
    ]  # fmt: skip


def test_the_lock_is_free_again_when_a_reader_leaves(world: World) -> None:
    async def work() -> None:
        _, chunks = await world.files.archive_get("web", "/")
        assert not world.live[ID].lock.locked()
        await anext(chunks)
        assert world.live[ID].lock.locked()
        await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert not world.live[ID].lock.locked()

    asyncio.run(work())
