"""Volumes with options are mounted while somebody uses them."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.events import Events
from pier.linux import syscalls
from pier.store.database import Database
from pier.volumes import MountFailed, Volumes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def is_mounted(path: Path) -> bool:
    return os.path.ismount(path)


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    database = Database(tmp_path / "pier.db")
    made = Volumes(database, tmp_path / "volumes", Events())
    yield made
    for volume in made.list_():
        while os.path.ismount(volume.mountpoint):
            syscalls.umount2(str(volume.mountpoint), syscalls.MNT_DETACH)
    database.close()


def test_mounted_on_first_use_and_unmounted_on_last(volumes: Volumes) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5,noexec"}
    volume = volumes.create("data", options=options)

    async def life() -> None:
        path = await volumes.mount("data", "c1")
        assert await volumes.mount("data", "c2") == path
        assert is_mounted(path)
        assert path.stat().st_uid == 5
        await volumes.unmount("data", "c1")
        await volumes.unmount("data", "c1")
        assert is_mounted(path)
        await volumes.unmount("data", "c2")
        await volumes.unmount("data", "c2")

    asyncio.run(life())
    assert not os.path.ismount(volume.mountpoint)


def test_removing_a_bound_directory_never_touches_its_content(
    volumes: Volumes, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    options = {"type": "none", "device": f"{tmp_path}/precious", "o": "bind,ro"}
    volumes.create("data", options=options)

    async def life() -> None:
        path = await volumes.mount("data", "c1")
        assert (path / "file").exists()
        with pytest.raises(OSError, match="Read-only"):
            (path / "other").write_text("x")
        await volumes.remove("data")

    asyncio.run(life())
    assert (tmp_path / "precious/file").exists()
    assert volumes.list_() == []


def test_a_failed_mount_is_explained_without_the_password(volumes: Volumes) -> None:
    options = {"type": "no-such-fs", "device": "x", "o": "username=u,password=secret"}
    volumes.create("data", options=options)
    with pytest.raises(MountFailed) as failed:
        asyncio.run(volumes.mount("data", "c1"))
    assert "error while mounting volume 'data': failed to mount local volume" in str(failed.value)
    assert "secret" not in str(failed.value)
