"""Volumes: directories with a name that outlive containers. Docker's `local` driver.

    volumes/<name>/         0701, root
        _data/              what containers see; with options type, device and o: a mount point,
                            mounted while a container runs that uses it

Who uses a volume is the view `volume_users`, so checking and deleting are one transaction. A
directory without a row is left alone: it may hold the only copy of somebody's data.
"""

import asyncio
import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pier.errors import Conflict, Failed, NotFound
from pier.events import Events
from pier.linux.mount import unmount_all
from pier.linux.mounting import mount_as_asked
from pier.linux.trees import remove_tree, tree_size
from pier.store.database import Database
from pier.store.rows import DamagedRecord, RowReader
from pier.threads import Bulkhead
from pier.volume_checks import check_name, check_options

LOCAL = "local"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_REMOVED = ".removed-"  # no volume's name can begin so
_PASSWORD = re.compile(r"password=[^,]*")
_MOUNTING = Bulkhead("mounts of volumes", most=64)
_MEASURING = Bulkhead("measurements of volumes", most=64, of_one=4)
"""A volume may be a file system of the network, whose server is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    name: str
    mountpoint: Path
    driver: str = LOCAL
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    created_ns: int = 0
    anonymous: bool = False

    @property
    def needs_mount(self) -> bool:
        return bool(self.options.get("type") or self.options.get("device"))


@dataclass(frozen=True, slots=True)
class Pruned:
    names: tuple[str, ...]
    bytes_reclaimed: int


class NoSuchVolume(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")


class NoSuchVolumeDriver(NotFound):
    def __init__(self, name: str, driver: str) -> None:
        why = f'error looking up volume plugin {driver}: plugin "{driver}" not found'
        super().__init__(f"create {name}: {why}")


class VolumeInUse(Conflict):
    def __init__(self, name: str, containers: list[str]) -> None:
        super().__init__(f"remove {name}: volume is in use - [{', '.join(containers)}]")


class VolumeStillMounted(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"remove {name}: something is still mounted on the volume")


class MountFailed(Failed):
    def __init__(self, name: str, reason: str) -> None:
        what = f"error while mounting volume '{name}'"
        super().__init__(f"{what}: failed to mount local volume: {reason}")


class PruneRunning(Conflict):
    def __init__(self) -> None:
        super().__init__("a prune operation is already running")


class Volumes:
    """All volumes of a daemon. Used on the event loop's thread; what may block awaits."""

    def __init__(
        self,
        database: Database,
        root: Path,
        events: Events,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._database = database
        self._root = root
        self._events = events
        self._clock_ns = clock_ns
        self._active: dict[str, set[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._pruning = False
        self._rows = RowReader("volume", "name", self._from_row)

    def find(self, name: str) -> Volume | None:
        row = self._database.execute("SELECT * FROM volumes WHERE name = ?", (name,)).fetchone()
        return None if row is None else self._rows.read(row)

    def get(self, name: str) -> Volume:
        """Raises NoSuchVolume, DamagedRecord."""
        if volume := self.find(name):
            return volume
        raise NoSuchVolume(name)

    def list_(self) -> list[Volume]:
        rows = self._database.execute("SELECT * FROM volumes ORDER BY name")
        return self._rows.read_all(rows)

    def users(self, name: str) -> list[str]:
        """The IDs of the containers, running or not, that have it."""
        query = "SELECT container FROM volume_users WHERE volume = ? ORDER BY container"
        return [str(row["container"]) for row in self._database.execute(query, (name,))]

    def sweep(self) -> None:
        """Delete what removed volumes held; also to be called at the daemon's start. Blocks."""
        if not self._root.is_dir():
            return
        root_fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for path in self._root.glob(f"{_REMOVED}*"):
                remove_tree(path.name, dir_fd=root_fd)
        finally:
            os.close(root_fd)

    def restore(self) -> None:
        """At the daemon's start: end what a crash cut short.

        A row whose directory is gone was being removed, unless a container uses it; a directory
        that has neither row nor content was being made. One with content is left alone.
        """
        for volume in self.list_():
            home = self._root / volume.name
            if home.exists() or self.users(volume.name):
                _make_directory(home)
            else:
                self._database.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
        known = {row["name"] for row in self._database.execute("SELECT name FROM volumes")}
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if not path.name.startswith(_REMOVED) and path.name not in known:
                with contextlib.suppress(OSError):
                    (path / "_data").rmdir()
                with contextlib.suppress(OSError):
                    path.rmdir()

    async def usage(self, name: str) -> int:
        """Bytes in it, for `system df`."""
        mountpoint = self.get(name).mountpoint
        return await _MEASURING.run(lambda: tree_size(mountpoint), owner=name)

    def create(
        self,
        name: str = "",
        *,
        driver: str = LOCAL,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume `name`, made now or there before; without a name an anonymous one is made.

        An existing volume keeps its options and labels, whatever is asked. Raises InvalidVolume,
        NoSuchVolumeDriver.
        """
        if driver not in ("", LOCAL):
            raise NoSuchVolumeDriver(name, driver)
        if not name:
            return self.create_anonymous(os.urandom(32).hex(), options=options, labels=labels)
        if existing := self.find(name):
            return existing
        return self._make(name, options or {}, labels or {}, anonymous=False)

    def create_anonymous(
        self,
        name: str,
        *,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """An anonymous volume under a name the caller made up (64 hexadecimal digits)."""
        marked = {**(labels or {}), ANONYMOUS_LABEL: ""}
        return self._make(name, options or {}, marked, anonymous=True)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove it with its content. Raises NoSuchVolume (not with `force`) and VolumeInUse.

        One whose record cannot be read goes with `force` only: nobody knows what it was.
        """
        async with self._lock(name):
            if force:
                self._mend(name)
            volume = self.find(name) if force else self.get(name)
            if volume is None:
                return
            self._check_unused(volume)
            await asyncio.to_thread(unmount_all, volume.mountpoint)
            self._delete_row(volume)
            await asyncio.to_thread(self.sweep)
        self._locks.pop(name, None)
        self._publish("destroy", volume)

    async def prune(
        self,
        *,
        all_volumes: bool = False,
        labels: Sequence[str] = (),
        not_labels: Sequence[str] = (),
    ) -> Pruned:
        """Remove unused anonymous volumes, or all unused ones, that have (not) these labels.

        One with mount options stays: what is in it is not on this disk.
        """
        if self._pruning:
            raise PruneRunning
        self._pruning = True
        try:
            pruned = await self._prune(
                volume
                for volume in self.list_()
                if (all_volumes or volume.anonymous)
                and not volume.options
                and all(_has_label(volume, label) for label in labels)
                and not any(_has_label(volume, label) for label in not_labels)
            )
        finally:
            self._pruning = False
        self._events.publish("volume", "prune", "", {"reclaimed": str(pruned.bytes_reclaimed)})
        return pruned

    async def mount(self, name: str, container_id: str) -> Path:
        """Make the volume usable for a container that starts, and return its directory.

        To be followed by `unmount`; twice is once. After a restart of the daemon it is called
        again for every container that still runs.
        """
        async with self._lock(name):
            volume = self.get(name)
            if volume.needs_mount:
                await _MOUNTING.run(lambda: _mount(volume))
            self._active.setdefault(name, set()).add(container_id)
            return volume.mountpoint

    async def unmount(self, name: str, container_id: str) -> bool:
        """The container no longer runs; after the last one the volume is unmounted.

        Twice is fine: then False.
        """
        async with self._lock(name):
            users = self._active.get(name, set())
            held = container_id in users
            users.discard(container_id)
            volume = self.find(name)
            if users or volume is None:
                return held
            self._active.pop(name, None)
            if volume.needs_mount:
                await asyncio.to_thread(unmount_all, volume.mountpoint)
            return held

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _make(
        self, name: str, options: Mapping[str, str], labels: Mapping[str, str], *, anonymous: bool
    ) -> Volume:
        check_name(name)
        check_options(name, options)
        self._root.mkdir(mode=0o701, parents=True, exist_ok=True)
        _make_directory(self._root / name)
        texts = [msgspec.json.encode(dict(pairs)).decode() for pairs in (labels, options)]
        self._database.execute(
            "INSERT INTO volumes VALUES (?, ?, ?, ?, ?)",
            (name, anonymous, *texts, self._clock_ns()),
        )
        volume = self.get(name)
        self._publish("create", volume)
        return volume

    def _delete_row(self, volume: Volume) -> None:
        """And move its directory aside, so that the name is free for a new volume at once."""
        with self._database.transaction():
            self._check_unused(volume)
            if os.path.ismount(volume.mountpoint):
                raise VolumeStillMounted(volume.name)
            self._database.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
            # Before the commit: what was removed must not come back with a later volume's name.
            with contextlib.suppress(FileNotFoundError):
                (self._root / volume.name).rename(self._root / f"{_REMOVED}{os.urandom(8).hex()}")

    def _mend(self, name: str) -> None:
        """What cannot be read of a record is replaced by nothing."""
        try:
            self.find(name)
        except DamagedRecord:
            query = "UPDATE volumes SET labels_json = '{}', options_json = '{}' WHERE name = ?"
            self._database.execute(query, (name,))

    def _check_unused(self, volume: Volume) -> None:
        if users := self.users(volume.name):
            raise VolumeInUse(volume.name, users)

    async def _prune(self, wanted: Iterable[Volume]) -> Pruned:
        names, size_bytes = [], 0
        for volume in wanted:
            if self.users(volume.name):
                continue
            size = await self.usage(volume.name)
            with contextlib.suppress(Conflict, NotFound):
                await self.remove(volume.name)
                names.append(volume.name)
                size_bytes += size
        return Pruned(tuple(names), size_bytes)

    def _publish(self, action: str, volume: Volume) -> None:
        self._events.publish("volume", action, volume.name, {"driver": volume.driver})

    def _from_row(self, row: sqlite3.Row) -> Volume:
        return Volume(
            name=row["name"],
            mountpoint=self._root / row["name"] / "_data",
            labels=msgspec.json.decode(row["labels_json"], type=dict[str, str]),
            options=msgspec.json.decode(row["options_json"], type=dict[str, str]),
            created_ns=row["created_ns"],
            anonymous=bool(row["anonymous"]),
        )


def _make_directory(directory: Path) -> None:
    """What is there is left as it is."""
    directory.mkdir(mode=0o701, exist_ok=True)
    directory.chmod(0o701)
    data = directory / "_data"
    if not data.exists():
        data.mkdir()
        data.chmod(0o755)


def _has_label(volume: Volume, wanted: str) -> bool:
    """`wanted` is "key" or "key=value"."""
    key, equals, value = wanted.partition("=")
    return key in volume.labels and (not equals or volume.labels[key] == value)


def _mount(volume: Volume) -> None:
    """Mount on `_data` what the options name, once. Raises MountFailed, without passwords."""
    if os.path.ismount(volume.mountpoint):
        return
    kind, device = volume.options.get("type", ""), volume.options.get("device", "")
    text = volume.options.get("o", "")
    target = str(volume.mountpoint)
    try:
        mount_as_asked(kind, device, target, text)
    except OSError as error:
        with contextlib.suppress(OSError):
            unmount_all(volume.mountpoint)
        data = f", data: {_PASSWORD.sub('password=********', text)}" if text else ""
        why = (error.strerror or str(error)).removeprefix("mount: ").lower()
        raise MountFailed(volume.name, f"mount {device}:{target}{data}: {why}") from error
