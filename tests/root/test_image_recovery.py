"""Rows without files, and files that a loss of power emptied: what a start makes of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pier.errors import Failed, NotFound
from pier.images.model import Image
from pier.images.records import ImageRecords
from pier.images.recovery import recover
from pier.images.store import Images
from pier.oci.digest import Digest
from pier.oci.image import chain_ids
from pier.store.durability import Durability
from pier.store.leases import Leases
from pier.store.snapshots import SnapshotLost
from tests.root.image_support import docker_archive, load, make, tar

LOWER = tar({"etc": None, "etc/lower": b"lower"})
UPPER = tar({"etc/upper": b"upper"})


def blob(images: Images, digest: Digest) -> Path:
    return images.content.path(digest)


def begin(images: Images, *, lost_power: bool = False) -> None:
    """As a daemon that starts. A new one has nothing in its memory."""
    images.records = ImageRecords(images.database, images.content)
    images.sweep()
    asyncio.run(recover(images, lost_power=lost_power))


def loaded(images: Images) -> Image:
    load(images, docker_archive(make(LOWER, UPPER), ["app:1", "app:2"]))
    load(images, docker_archive(make(tar({"x": b"x"})), ["other:1"]))
    return images.get("app:1")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("spoil", [Path.unlink, empty])
@pytest.mark.parametrize("part", ["config", "manifest", "layer"])
def test_an_image_whose_blob_is_gone_is_named_left_out_and_mended(
    images: Images,
    part: str,
    spoil: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = loaded(images)
    digest = {"config": image.id, "manifest": image.manifest, "layer": image.layers[0]}[part]
    spoil(blob(images, digest))
    begin(images)
    assert "image docker.io/library/app:1, docker.io/library/app:2 is damaged" in caplog.text
    assert [each.tags for each in images.list_()] == [("docker.io/library/other:1",)]
    with pytest.raises(NotFound, match=f"No such image: app:1 .*damaged.*{digest} is lost"):
        images.get("app:1")
    loaded(images)
    mended = images.get(image.id)
    assert mended.tags == image.tags
    assert images.records.damaged.list_() == []
    upper = images.snapshotter.chain(mended.chain_id)[0]
    assert (upper / "etc" / "upper").read_bytes() == b"upper"
    assert asyncio.run(saved(images)) > len(LOWER)


async def saved(images: Images) -> int:
    return sum([len(chunk) async for chunk in images.save(["app:1"])])


def test_a_damaged_image_can_be_removed_and_pruned(images: Images) -> None:
    image = loaded(images)
    blob(images, image.layers[1]).unlink()
    begin(images)
    removed = [(each.kind, each.what) for each in images.remove("app:2", force=True)]
    assert removed == [("Untagged", "app:1"), ("Untagged", "app:2"), ("Deleted", image.id)]
    with pytest.raises(NotFound, match=r"No such image: app:2$"):
        images.remove("app:2")
    assert not images.content.has(image.layers[0])
    blob(images, images.get("other:1").id).unlink()
    begin(images)
    images.prune()
    assert images.records.damaged.list_()  # it has a name
    images.prune(dangling=False)
    assert not images.records.damaged.list_()
    assert not images.database.execute("SELECT * FROM blobs").fetchall()
    assert not images.database.execute("SELECT * FROM leases").fetchall()


def test_a_name_given_to_another_image_is_no_longer_the_damaged_one_s(images: Images) -> None:
    image = loaded(images)
    blob(images, image.id).unlink()
    begin(images)
    images.tag("other:1", "app:1")
    loaded_again = make(LOWER, UPPER)
    load(images, docker_archive(loaded_again, ["app:3"]))
    assert images.get("app:1").id == images.get("other:1").id
    assert images.get("app:2").id == image.id


def test_a_config_that_vanishes_while_the_daemon_runs_takes_no_other_image_with_it(
    images: Images,
) -> None:
    image = loaded(images)
    empty(blob(images, image.id))
    images.records = ImageRecords(images.database, images.content)
    assert [each.tags for each in images.list_()] == [("docker.io/library/other:1",)]
    assert images.find("app:1") is None
    loaded(images)
    assert images.get("app:1").id == image.id


def test_a_config_that_cannot_be_read_is_no_reason_to_forget_the_image(images: Images) -> None:
    """The disk may be away for a while."""
    image = loaded(images)
    path = blob(images, image.id)
    data = path.read_bytes()
    path.unlink()
    path.symlink_to(path.name)
    images.records = ImageRecords(images.database, images.content)
    assert [each.tags for each in images.list_()] == [("docker.io/library/other:1",)]
    with pytest.raises(Failed, match=f"image {image.id} cannot be read"):
        images.get("app:1")
    path.unlink()
    path.write_bytes(data)
    assert images.get("app:1").id == image.id
    path.unlink()
    path.symlink_to(path.name)
    images.records = ImageRecords(images.database, images.content)
    assert images.remove("app:1", force=True)
    assert images.find("app:1") is None


def test_a_layer_s_directory_that_is_gone_is_unpacked_again(images: Images) -> None:
    image = loaded(images)
    images.snapshotter.prepare("container/1", image.chain_id)
    bottom = images.snapshotter.chain(image.chain_id)[-1]
    (bottom / "etc" / "lower").unlink()
    (bottom / "etc").rmdir()
    bottom.rmdir()
    begin(images)
    assert images.get("app:1").id == image.id
    layers = images.snapshotter.overlay("container/1").lower
    assert (Path(layers[-1]) / "etc" / "lower").read_bytes() == b"lower"


def test_a_recovery_that_was_cut_short_is_finished(images: Images) -> None:
    image = loaded(images)
    bottom = images.layer_directories(image)[-1]
    images.snapshotter.lose(chain_ids(image.layers)[0])
    assert images.snapshotter.exists(image.chain_id)
    begin(images)
    assert images.get("app:1").id == image.id
    assert images.layer_directories(image)[-1] != bottom
    assert (Path(images.layer_directories(image)[-1]) / "etc" / "lower").read_bytes() == b"lower"
    assert not images.database.execute("SELECT * FROM snapshots WHERE key LIKE 'lost/%'").fetchall()


def test_what_stands_on_a_lost_layer_is_lost_and_comes_back_with_it(images: Images) -> None:
    image = loaded(images)
    images.snapshotter.prepare("container/1", image.chain_id)
    own = images.snapshotter.directory("container/1")
    (own / "file").write_bytes(b"mine")
    blob(images, image.layers[0]).unlink()
    bottom = images.snapshotter.chain(image.chain_id)[-1]
    bottom.rename(bottom.with_name("moved"))
    begin(images)
    assert images.find("app:1") is None
    with pytest.raises(SnapshotLost, match="pull, load or build its image again"):
        images.snapshotter.overlay("container/1")
    loaded(images)
    layers = images.snapshotter.overlay("container/1").lower
    assert (Path(layers[-1]) / "etc" / "lower").read_bytes() == b"lower"
    assert (own / "file").read_bytes() == b"mine"
    assert not images.database.execute("SELECT * FROM snapshots WHERE key LIKE 'lost/%'").fetchall()


def test_after_a_loss_of_power_only_what_was_durable_is_believed(images: Images) -> None:
    durability = Durability(images.database, Path(images.content.path(loaded(images).id)).parent)
    assert durability.lost_power()
    durability.settle_in()
    assert not durability.lost_power()
    asyncio.run(durability.sync())
    load(images, docker_archive(make(LOWER, tar({"new": b"new"})), ["new:1"]))
    new, old = images.get("new:1"), images.get("app:1")
    # What the disk holds of content that was never written back: the right length, no bytes.
    garble(images.snapshotter.chain(new.chain_id)[0] / "new")
    begin(images)
    assert (images.snapshotter.chain(new.chain_id)[0] / "new").read_bytes() == bytes(3)
    begin(images, lost_power=True)
    assert (images.snapshotter.chain(new.chain_id)[0] / "new").read_bytes() == b"new"
    garble(blob(images, new.layers[1]))
    begin(images, lost_power=True)
    assert images.find("new:1") is None
    assert images.get("app:1") == old
    assert not images.snapshotter.exists(new.chain_id)


def test_what_is_durable_is_not_read_again(images: Images) -> None:
    image = loaded(images)
    path = blob(images, image.layers[0])
    asyncio.run(Durability(images.database, path.parent).sync())
    assert images.content.doubted() == []
    assert images.snapshotter.doubted() == set()
    garble(path)
    begin(images, lost_power=True)
    assert images.get("app:1").id == image.id


def test_a_killed_daemon_s_leases_end_and_what_they_held_goes_with_the_next_prune(
    images: Images,
) -> None:
    lease = images.leases.create(images.clock_ns(), 3600.0, "pull/x")
    kept = images.content.add(b"fetched").digest
    images.leases.add(lease, "blob", kept)
    forever = images.leases.create(images.clock_ns(), None, "build/y")
    images.prune()
    assert images.content.has(kept)  # it is under way
    with images.content.ingest(kept) as ingest:
        ingest.write(b"a part")
    again = Images(
        images.database, images.content, images.snapshotter,
        Leases(images.database), images._events, images.clock_ns,
    )  # fmt: skip
    again.sweep()
    assert again.content.has(kept)  # for a pull that comes again
    assert [row["id"] for row in again.database.execute("SELECT id FROM leases")] == [forever]
    assert again.prune().bytes_reclaimed == len(b"fetched") + len(b"a part")
    assert not again.content.has(kept)
    assert not again.database.execute("SELECT * FROM blobs").fetchall()
