"""Content, snapshots, leases and collection, on a real file system."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pier.oci.digest import DigestMismatch, digest_of
from pier.store.collection import collect
from pier.store.content import BlobNotFound, BlobTooBig, ContentStore, SizeMismatch
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import SnapshotInUse, SnapshotNotFound, Snapshotter

CHAIN_A = "sha256:" + "a" * 64
CHAIN_B = "sha256:" + "b" * 64


@dataclass
class Store:
    root: Path
    database: Database
    content: ContentStore
    snapshotter: Snapshotter
    leases: Leases


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = Database(tmp_path / "pier.db")
    content = ContentStore(tmp_path / "content", database)
    snapshotter = Snapshotter(tmp_path / "snapshots", database)
    yield Store(tmp_path, database, content, snapshotter, Leases(database))
    snapshotter.close()
    database.close()


def ingests(store: Store) -> list[Path]:
    return list((store.root / "content" / "ingest").iterdir())


def test_added_content_is_found_by_its_digest(store: Store) -> None:
    descriptor = store.content.add(b"hello", "text/plain")
    assert descriptor.digest == digest_of(b"hello")
    assert store.content.add(b"hello").digest == descriptor.digest
    assert store.content.read(descriptor.digest) == b"hello"
    assert store.content.size(descriptor.digest) == 5
    assert not ingests(store)


def test_missing_and_long_content_are_refused(store: Store) -> None:
    with pytest.raises(BlobNotFound):
        store.content.path(digest_of(b"?"))
    with pytest.raises(BlobTooBig):
        store.content.read(store.content.add(b"hello").digest, limit=4)


def test_wrong_bytes_never_become_a_blob(store: Store) -> None:
    expected = digest_of(b"hello")
    ingest = store.content.ingest(expected)
    ingest.write(b"hullo")
    with pytest.raises(DigestMismatch):
        ingest.commit()
    with store.content.ingest(expected) as ingest:
        ingest.write(b"hello")
        with pytest.raises(SizeMismatch):
            ingest.commit(4)
    assert not store.content.has(expected)
    assert not ingests(store)


def test_an_interrupted_ingest_goes_on_where_it_stopped(store: Store) -> None:
    expected = digest_of(b"hello world")
    with store.content.ingest(expected) as ingest:
        ingest.write(b"hello ")
    with store.content.ingest(expected) as ingest:
        assert ingest.resume() == 6
        ingest.write(b"world")
        assert b"".join(ingest.chunks()) == b"hello world"
        ingest.commit(11)
    assert store.content.read(expected) == b"hello world"


def test_an_ingest_not_resumed_starts_from_nothing(store: Store) -> None:
    expected = digest_of(b"hi")
    with store.content.ingest(expected) as ingest:
        ingest.write(b"hello ")
    with store.content.ingest(expected) as ingest:
        ingest.write(b"hi")
        ingest.commit()
    assert store.content.read(expected) == b"hi"


def test_two_ingests_of_one_digest_do_not_disturb_each_other(store: Store) -> None:
    expected = digest_of(b"hello")
    with store.content.ingest(expected) as one, store.content.ingest(expected) as two:
        one.write(b"hel")
        two.write(b"hello")
        two.commit()
        one.write(b"lo")
        one.commit()
    assert store.content.read(expected) == b"hello"


def test_sweep_removes_files_without_rows(store: Store) -> None:
    kept = store.content.add(b"kept").digest
    stray = store.root / "content" / "blobs" / "sha256" / ("0" * 64)
    stray.write_bytes(b"stray")
    (store.root / "snapshots" / "77" / "fs").mkdir(parents=True)
    with store.content.ingest(digest_of(b"x")) as ingest:
        ingest.write(b"half")
    os.utime(ingests(store)[0], (1, 1))
    store.content.sweep()
    store.snapshotter.sweep()
    store.snapshotter.close()
    assert store.content.has(kept)
    assert not stray.exists()
    assert not ingests(store)
    assert [path.name for path in (store.root / "snapshots").iterdir()] == ["trash"]


def test_snapshots_stack(store: Store) -> None:
    snapshotter = store.snapshotter
    snapshotter.prepare("unpack/1")
    snapshotter.directory("unpack/1").chmod(0o711)
    (snapshotter.directory("unpack/1") / "file").write_bytes(b"12345")
    snapshotter.commit("unpack/1", CHAIN_A)
    snapshotter.prepare("container/x", CHAIN_A)
    lower = snapshotter.directory(CHAIN_A)
    upper = snapshotter.directory("container/x")
    assert stat.S_IMODE(upper.stat().st_mode) == 0o755
    overlay = snapshotter.overlay("container/x", volatile=True)
    assert (overlay.lower, overlay.upper) == ((str(lower),), str(upper))
    assert Path(overlay.work).is_dir()
    assert overlay.volatile
    assert snapshotter.overlay(CHAIN_A).upper == ""
    assert snapshotter.usage(CHAIN_A) == 5
    assert snapshotter.parent("container/x") == CHAIN_A
    with pytest.raises(SnapshotInUse):
        snapshotter.remove(CHAIN_A)
    assert snapshotter.list_keys("container/") == ["container/x"]
    snapshotter.remove("container/x")
    snapshotter.remove("container/x")
    snapshotter.remove(CHAIN_A)
    snapshotter.close()
    assert not lower.exists()
    with pytest.raises(SnapshotNotFound):
        snapshotter.overlay(CHAIN_A)


def test_a_second_commit_of_a_chain_is_dropped(store: Store) -> None:
    snapshotter = store.snapshotter
    for key in ("unpack/1", "unpack/2"):
        snapshotter.prepare(key)
        (snapshotter.directory(key) / key[-1]).touch()
        snapshotter.commit(key, CHAIN_A)
    assert [path.name for path in snapshotter.directory(CHAIN_A).iterdir()] == ["1"]
    assert snapshotter.list_keys() == [CHAIN_A]


def test_layers_find_their_place_when_committed(store: Store) -> None:
    snapshotter = store.snapshotter
    snapshotter.prepare("unpack/2")
    snapshotter.prepare("unpack/1")
    snapshotter.commit("unpack/1", CHAIN_A)
    snapshotter.commit("unpack/2", CHAIN_B, parent=CHAIN_A)
    assert snapshotter.chain(CHAIN_B) == [
        snapshotter.directory(CHAIN_B),
        snapshotter.directory(CHAIN_A),
    ]


def test_collection_keeps_what_is_leased_or_stood_on(store: Store) -> None:
    snapshotter, leases = store.snapshotter, store.leases
    snapshotter.prepare("unpack/1")
    snapshotter.commit("unpack/1", CHAIN_A, size=10)
    snapshotter.prepare("unpack/2", CHAIN_A)
    snapshotter.commit("unpack/2", CHAIN_B, size=5)
    snapshotter.prepare("container/x", CHAIN_A)
    blob = store.content.add(b"blob").digest
    lease = leases.create(100, 1)
    leases.add(lease, "blob", blob)
    first = collect(store.database, store.content, snapshotter, 100)
    assert (first.blobs, first.snapshots, first.bytes) == (0, (CHAIN_B,), 5)
    snapshotter.remove("container/x")
    path = store.content.path(blob)
    second = collect(store.database, store.content, snapshotter, 100 + 1_000_000_000)
    assert (second.blobs, second.snapshots, second.bytes) == (1, (CHAIN_A,), 14)
    assert not path.exists()


def test_a_deep_tree_and_a_link_in_it_are_removed_without_following(store: Store) -> None:
    outside = store.root / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    store.snapshotter.prepare("container/x")
    top = store.snapshotter.directory("container/x")
    (top / "link").symlink_to(outside)
    fd = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    store.snapshotter.remove("container/x")
    store.snapshotter.close()
    assert (outside / "precious").exists()
    assert not list((store.root / "snapshots" / "trash").iterdir())


def test_what_containers_mount_of_images_is_kept_whatever_other_rows_say(store: Store) -> None:
    for chain in (CHAIN_A, CHAIN_B):
        store.snapshotter.prepare("new", "", 1)
        store.snapshotter.commit("new", chain)
    mounts = f'[{{"chain_id": "{CHAIN_A}"}}]'
    for name, text in (("mounts", mounts), ("damaged", "[{"), ("odd", '[5, "x", null]')):
        store.database.execute(
            "INSERT INTO containers VALUES (?, ?, 'i', 'created', '{}', ?, '{}', 1)",
            (name, name, text),
        )
    assert collect(store.database, store.content, store.snapshotter, 1).snapshots == (CHAIN_B,)
    assert store.snapshotter.exists(CHAIN_A)
