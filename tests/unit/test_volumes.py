"""Volumes: names, options, who may remove them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.events import Events
from pier.linux.addresses import resolve_addresses
from pier.store.database import Database
from pier.volume_checks import InvalidVolume
from pier.volumes import (
    ANONYMOUS_LABEL,
    NoSuchVolume,
    NoSuchVolumeDriver,
    VolumeInUse,
    Volumes,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "pier.db")
    yield opened
    opened.close()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def volumes(database: Database, tmp_path: Path, events: Events) -> Volumes:
    return Volumes(database, tmp_path / "volumes", events, clock_ns=lambda: 5)


def use(database: Database, volume: str, container: str = "c1") -> None:
    database.execute(
        "INSERT INTO containers VALUES (?, ?, '', 'exited', '', '', '', 0)", (container, container)
    )
    database.execute("INSERT INTO container_volumes VALUES (?, ?)", (container, volume))


def test_a_volume_is_made_once(volumes: Volumes, events: Events) -> None:
    made = volumes.create("data", labels={"a": "b"})
    assert made.mountpoint.is_dir()
    assert made.mountpoint.stat().st_mode & 0o777 == 0o755
    assert made.mountpoint.parent.stat().st_mode & 0o777 == 0o701
    assert volumes.create("data", labels={"x": "y"}) == made
    assert [event.action for event in events.history()] == ["create"]


def test_without_a_name_it_is_anonymous(volumes: Volumes) -> None:
    made = volumes.create()
    assert len(made.name) == 64
    assert made.anonymous
    assert made.labels == {ANONYMOUS_LABEL: ""}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", "create x: volume name is too short, names should be at least two alphanumeric"),
        ("../x", 'create ../x: "../x" includes invalid characters for a local volume name, only'),
        ("a/b", "If you intended to pass a host directory, use absolute path"),
        ("-a", "includes invalid characters"),
        ("a" * 256, "includes invalid characters"),
    ],
)
def test_a_name_is_never_a_path(volumes: Volumes, name: str, message: str) -> None:
    with pytest.raises(InvalidVolume) as refused:
        volumes.create(name)
    assert message in str(refused.value)
    assert volumes.list_() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "blue"}, 'invalid option: "colour"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"o": "ro", "type": "tmpfs"}, 'missing required option: "device"'),
        ({"size": "1G"}, "quota size requested but no quota support"),
    ],
)
def test_options_are_checked(volumes: Volumes, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidVolume) as refused:
        volumes.create("data", options=options)
    assert str(refused.value) == f"create data: {message}"


def test_there_is_one_driver(volumes: Volumes) -> None:
    with pytest.raises(NoSuchVolumeDriver, match='plugin "nfs" not found'):
        volumes.create("data", driver="nfs")


def test_a_missing_volume(volumes: Volumes) -> None:
    with pytest.raises(NoSuchVolume, match="get x: no such volume"):
        volumes.get("x")
    with pytest.raises(NoSuchVolume):
        asyncio.run(volumes.remove("x"))
    asyncio.run(volumes.remove("x", force=True))


def test_a_used_volume_stays(volumes: Volumes, database: Database) -> None:
    volumes.create("data")
    use(database, "data")
    with pytest.raises(VolumeInUse) as refused:
        asyncio.run(volumes.remove("data", force=True))
    assert str(refused.value) == "remove data: volume is in use - [c1]"
    assert volumes.users("data") == ["c1"]


def test_a_volume_goes_with_its_content(volumes: Volumes, events: Events) -> None:
    made = volumes.create("data")
    (made.mountpoint / "dir").mkdir()
    (made.mountpoint / "dir/file").write_text("x")
    asyncio.run(volumes.remove("data"))
    assert not made.mountpoint.parent.exists()
    assert volumes.find("data") is None
    assert events.history()[-1].action == "destroy"


def test_what_a_crash_cut_short_is_ended_at_the_start(
    volumes: Volumes, database: Database, tmp_path: Path
) -> None:
    removed, used, kept = (volumes.create(name) for name in ("removed", "used", "kept"))
    use(database, "used")
    for volume in (removed, used):
        volume.mountpoint.rmdir()
        volume.mountpoint.parent.rmdir()
    (tmp_path / "volumes/begun/_data").mkdir(parents=True)
    (tmp_path / "volumes/unknown/_data/precious").mkdir(parents=True)
    volumes.restore()
    assert [volume.name for volume in volumes.list_()] == ["kept", "used"]
    assert used.mountpoint.is_dir()
    assert kept.mountpoint.is_dir()
    assert sorted(path.name for path in (tmp_path / "volumes").iterdir()) == [
        "kept", "unknown", "used",
    ]  # fmt: skip


def test_pruning_spares_the_named_and_the_used(volumes: Volumes, database: Database) -> None:
    volumes.create("named")
    used, unused = volumes.create(), volumes.create()
    (unused.mountpoint / "file").write_bytes(b"12345")
    use(database, used.name)
    assert asyncio.run(volumes.prune(labels=("x",))).names == ()
    pruned = asyncio.run(volumes.prune(not_labels=("x",)))
    assert pruned.names == (unused.name,)
    assert pruned.bytes_reclaimed == 5
    assert asyncio.run(volumes.prune(all_volumes=True)).names == ("named",)


@pytest.mark.parametrize(
    ("options", "expected"),
    [("addr=127.0.0.1,ro", "addr=127.0.0.1,ro"), ("clientaddr=x,ro", "clientaddr=x,ro")],
)
def test_addresses_become_numbers(options: str, expected: str) -> None:
    assert resolve_addresses(options) == expected
