"""Images loaded from archives, hostile ones too, and saved to them."""

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pier.errors import InvalidArgument, NotFound, PierError
from pier.images.store import Images
from pier.oci.digest import digest_of
from tests.root.image_support import (
    LOWER,
    UPPER,
    Made,
    docker_archive,
    import_,
    lines,
    load,
    make,
    save,
    tar,
)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_docker_archives_are_loaded(images: Images, *, pack: bool, whole: bool) -> None:
    made = make(LOWER, UPPER)
    archive = docker_archive(made, ["app:1", "app:2"], pack)
    events = load(images, gzip.compress(archive) if whole else archive)
    assert lines(events) == "Loaded image: app:1\nLoaded image: app:2\n"
    image = images.get("app:2")
    assert image.id == made.id
    assert images.content.read(image.id) == made.config
    assert image.tags == ("docker.io/library/app:1", "docker.io/library/app:2")
    assert image.size == 1 + 1 + 2
    assert len(images.snapshotter.chain(image.chain_id)) == 2
    assert [entry.created_by for entry in images.history("app:1")] == ["step 1", "step 0"]
    assert [entry.size for entry in images.history("app:1")] == [2, 2]
    assert lines(load(images, docker_archive(made, None))) == f"Loaded image ID: {made.id}\n"


def test_a_layer_may_hide_all_below_it(images: Images) -> None:
    hiding = tar({".wh..wh..opq": b"", "only": b"1"})
    load(images, docker_archive(make(LOWER, hiding, UPPER), ["app:1"]))
    image = images.get("app:1")
    assert len(images.snapshotter.chain(image.chain_id)) == 2
    assert images.layer_sizes(image) == [2, 1, 2]
    images.collect()
    assert images.layer_sizes(image) == [2, 1, 2]


def test_links_in_an_archive_are_followed_inside_it(images: Images) -> None:
    made = make(LOWER, UPPER)
    manifest = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["1/layer.tar", "up.tar"]}]
    archive = tar(
        {
            "0/layer.tar": LOWER,
            "x": UPPER,
            "c.json": made.config,
            "manifest.json": json.dumps(manifest).encode(),
        },
        {"1/layer.tar": "../0/layer.tar", "up.tar": "x"},
    )
    assert lines(load(images, archive)) == "Loaded image: app:1\n"
    for target in ("/etc/passwd", "../../../etc/passwd", "loop.tar"):
        bad = tar(
            {
                "0/layer.tar": LOWER,
                "c.json": made.config,
                "manifest.json": json.dumps(manifest).encode(),
            },
            {"1/layer.tar": "../0/layer.tar", "up.tar": target, "loop.tar": "up.tar"},
        )
        with pytest.raises(PierError, match=r"up\.tar is missing"):
            load(images, bad)


def test_a_lying_archive_is_refused_and_leaves_nothing(images: Images) -> None:
    made = make(LOWER, UPPER)
    lying = Made([LOWER, tar({"evil": b""})], made.config)
    for archive, why in (
        (docker_archive(lying, ["app:1"]), "diff ID"),
        (docker_archive(Made([LOWER], made.config), ["app:1"]), "manifest has 1 layers"),
        (tar({"x": b""}), "does not contain a manifest.json"),
        (docker_archive(make(LOWER), ["Bad:1"]), "must be lowercase"),
        (b"", "manifest.json"),
    ):
        with pytest.raises(PierError, match=why):
            load(images, archive)
    assert images.list_() == []
    images.collect()
    assert images.snapshotter.list_keys() == []
    assert not images.database.execute("SELECT * FROM blobs").fetchall()


def test_a_known_layers_compressed_blob_must_still_unpack_to_it(images: Images) -> None:
    load(images, docker_archive(make(LOWER), ["app:1"]))
    lying = docker_archive(Made([tar({"evil": b""})], make(LOWER).config), ["bad:1"], pack=True)
    with pytest.raises(InvalidArgument, match="diff ID"):
        load(images, lying)
    assert [layer.digest for layer in images.records.find_layers(digest_of(LOWER))] == [
        digest_of(LOWER)
    ]


def test_a_name_that_moves_is_told(images: Images) -> None:
    old = import_(images, {"a": b""}, "app:1")
    events = load(images, docker_archive(make(LOWER), ["app:1"]))
    assert lines(events) == (
        f"The image app:1 already exists, renaming the old one with ID {old.id} to empty string\n"
        "Loaded image: app:1\n"
    )
    assert images.get(old.id).tags == ()


def test_saving_and_loading_gives_the_same_images(images: Images, tmp_path: Path) -> None:
    load(images, docker_archive(make(LOWER, UPPER), ["app:1", "app:2"], pack=True))
    other = import_(images, {"x": b"x"})
    first = save(images, "app", other.short_id)
    assert first == save(images, "app", other.short_id)
    before = {image.id: (image.tags, image.manifest) for image in images.list_()}
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        names = archive.getnames()
        docker = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        assert {entry.mtime for entry in archive.getmembers()} == {0, 1_700_000_000}
    assert names[:2] == ["blobs", "blobs/sha256"]
    assert names[-4:] == ["index.json", "manifest.json", "oci-layout", "repositories"]
    assert docker[0]["RepoTags"] == ["app:1", "app:2"]
    assert list(docker[0]["LayerSources"]) == sorted(images.get("app:1").layers)
    for image in images.list_():
        images.remove(image.id, force=True)
    assert images.list_() == []
    events = load(images, first)
    assert lines(events).splitlines() == [
        "Loaded image: app:1",
        "Loaded image: app:2",
        f"Loaded image ID: {other.id}",
    ]
    after = {image.id: (image.tags, image.manifest) for image in images.list_()}
    assert after == before


def test_one_tag_is_saved_alone_and_a_missing_one_refused(images: Images) -> None:
    load(images, docker_archive(make(LOWER), ["app:1", "app:2"]))
    with tarfile.open(fileobj=io.BytesIO(save(images, "app:2"))) as archive:
        docker = json.load(archive.extractfile("manifest.json") or io.BytesIO())
    assert docker[0]["RepoTags"] == ["app:2"]
    with pytest.raises(NotFound, match=r"No such image: none$"):
        images.save(["none"])


def test_a_load_that_is_given_up_leaves_nothing(images: Images) -> None:
    async def forever() -> AsyncIterator[bytes]:
        yield docker_archive(make(LOWER), ["app:1"])[:1000]
        await asyncio.Event().wait()

    async def run() -> None:
        async for _ in images.load(forever()):
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(run(), 0.2))
    assert not images.database.execute("SELECT * FROM leases").fetchall()
    images.sweep()
    assert images.snapshotter.list_keys() == []
