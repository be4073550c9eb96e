"""Images with a real store: load, save, import, commit, and Docker's rules of removal."""

import asyncio
import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pier.errors import Conflict, InvalidArgument, NotFound, PierError
from pier.events import Events
from pier.images.model import Image, LoadEvent
from pier.images.store import Images
from pier.oci.digest import digest_of, encoded
from pier.oci.image import History, ImageConfig, RunConfig
from pier.oci.reference import parse_reference
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter

NOW = 1_700_000_000 * 10**9


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    database = Database(tmp_path / "pier.db")
    snapshotter = Snapshotter(tmp_path / "snapshots", database)
    content = ContentStore(tmp_path / "content", database)
    yield Images(database, content, snapshotter, Leases(database), Events(), lambda: NOW)
    snapshotter.close()
    database.close()


def tar(files: dict[str, bytes | None], links: dict[str, str] | None = None) -> bytes:
    """None is a directory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.mode, info.size = 0o755, len(data or b"")
            archive.addfile(info, io.BytesIO(data or b""))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return stream.getvalue()


async def chunks(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[start : start + size]


def load(images: Images, archive: bytes) -> list[LoadEvent]:
    async def run() -> list[LoadEvent]:
        return [event async for event in images.load(chunks(archive))]

    return asyncio.run(run())


def lines(events: Sequence[LoadEvent]) -> str:
    return "".join(event.stream for event in events)


def import_(images: Images, files: dict[str, bytes | None], reference: str = "") -> Image:
    return asyncio.run(images.import_(chunks(tar(files)), reference=reference, changes=["CMD sh"]))


def save(images: Images, *names: str) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in images.save(names)])

    return asyncio.run(run())


@dataclass
class Made:
    """An image as others would archive it."""

    layers: list[bytes]
    config: bytes

    @property
    def id(self) -> str:
        return digest_of(self.config)


def make(*layers: bytes) -> Made:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["x"]},
        "extra": [1],
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created_by": f"step {n}"} for n, _ in enumerate(layers)],
    }
    return Made(list(layers), json.dumps(config, indent=1).encode())


LOWER = tar({"etc": None, "etc/a": b"a", "gone": b"x"})
UPPER = tar({"etc/b": b"bb", ".wh.gone": b""})


def docker_archive(made: Made, tags: list[str] | None, pack: bool = False) -> bytes:
    files: dict[str, bytes | None] = {}
    names = []
    for number, layer in enumerate(made.layers):
        files[f"{number}/"] = None
        files[f"{number}/layer.tar"] = gzip.compress(layer) if pack else layer
        files[f"{number}/VERSION"] = b"1.0"
        names.append(f"{number}/layer.tar")
    files["config.json"] = made.config
    files["manifest.json"] = json.dumps(
        [{"Config": "config.json", "RepoTags": tags, "Layers": names}]
    ).encode()
    return tar(files)


def test_an_imported_image_is_found_by_all_its_names(images: Images) -> None:
    image = import_(images, {"etc": None, "etc/x": b"12345"}, "me/app")
    for name in (
        "me/app",
        "me/app:latest",
        "docker.io/me/app:latest",
        image.id,
        image.short_id,
        encoded(image.id),
        image.id[:20],
    ):
        found = images.find(name)
        assert found is not None, name
        assert found.id == image.id
    assert image.tags == ("docker.io/me/app:latest",)
    assert image.size == 5
    assert image.config.run.cmd == ("/bin/sh", "-c", "sh")
    assert image.config.history[0].comment == "Imported from -"
    assert (images.snapshotter.directory(image.chain_id) / "etc" / "x").read_bytes() == b"12345"
    assert images.content.read(image.layers[0]) == tar({"etc": None, "etc/x": b"12345"})
    assert not images.database.execute("SELECT * FROM leases").fetchall()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nope", "No such image: nope:latest"),
        ("a/b:1", "No such image: a/b:1"),
        ("sha256:abcd", "No such image: sha256:abcd"),
        ("Bad Name", "No such image: Bad Name"),
    ],
)
def test_a_missing_image_is_named(images: Images, name: str, words: str) -> None:
    with pytest.raises(NotFound) as caught:
        images.get(name)
    assert str(caught.value) == words


def test_what_is_refused_at_import_leaves_nothing(images: Images) -> None:
    with pytest.raises(InvalidArgument, match="RUN is not a valid change command"):
        asyncio.run(images.import_(chunks(b""), changes=["RUN x"]))
    with pytest.raises(InvalidArgument):
        asyncio.run(images.import_(chunks(b"no archive at all" * 100)))
    assert images.snapshotter.list_keys() == []
    assert images.list_() == []
    images.collect()
    assert not images.database.execute("SELECT * FROM blobs").fetchall()


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
        assert {entry.mtime for entry in archive.getmembers()} == {0}
    assert names[:2] == ["blobs", "blobs/sha256"]
    assert names[-4:] == ["index.json", "manifest.json", "oci-layout", "repositories"]
    assert docker[0]["RepoTags"] == ["app:1", "app:2"]
    assert list(docker[0]["LayerSources"]) == list(images.get("app:1").layers)
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
    with pytest.raises(NotFound, match="No such image: none:latest"):
        images.save(["none"])


def test_a_containers_changes_become_an_image(images: Images) -> None:
    base = import_(images, {"etc": None, "etc/x": b"1", "old": b""}, "base")
    images.snapshotter.prepare("container/c", base.chain_id)
    upper = images.snapshotter.directory("container/c")
    (upper / "new").write_bytes(b"123")
    (upper / "ignored").touch()
    os.mknod(upper / "old", 0o020000, 0)
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        run=RunConfig(cmd=("y",)),
        diff_ids=base.layers,
        created_ns=NOW,
        history=(*base.config.history, History(created_by="commit")),
    )
    image = asyncio.run(
        images.commit_layer(
            "container/c",
            config,
            parent=base.id,
            ignore={b"ignored"},
            names=[parse_reference("child:1")],
        )
    )
    assert images.get("child:1").parent == base.id
    assert len(image.layers) == 2
    top = images.snapshotter.directory(image.chain_id)
    assert sorted(path.name for path in top.iterdir()) == ["new", "old"]
    assert images.snapshotter.exists("container/c")
    assert [entry.id for entry in images.history("child:1")] == [image.id, base.id]
    with pytest.raises(
        Conflict,
        match=rf"unable to delete {base.short_id} \(cannot be forced\) - "
        "image has dependent child images",
    ):
        images.remove(base.id, force=True)
    images.snapshotter.remove("container/c")
    removed = images.remove("base")
    assert [(entry.kind, entry.what) for entry in removed] == [("Untagged", "base:latest")]
    removed = images.remove("child:1")
    assert [entry.kind for entry in removed] == [
        "Untagged",
        "Deleted",
        "Deleted",
        "Deleted",
        "Deleted",
    ]
    assert images.list_() == []


def use(images: Images, image: Image, state: str) -> str:
    container = "c" * 64
    images.database.execute(
        "INSERT OR REPLACE INTO containers VALUES (?, 'name', ?, ?, '{}', '[]', '{}', 1)",
        (container, image.id, state),
    )
    return container[:12]


def kinds(images: Images, name: str, *, force: bool = False) -> list[str]:
    return [f"{entry.kind} {entry.what[:12]}" for entry in images.remove(name, force=force)]


def test_an_image_goes_with_its_last_name(images: Images) -> None:
    image = import_(images, {"a": b"a"}, "app:1")
    images.tag("app:1", "other:2")
    assert kinds(images, "app:1") == ["Untagged app:1"]
    removed = images.remove("other:2")
    assert [(entry.kind, entry.what) for entry in removed] == [
        ("Untagged", "other:2"),
        ("Deleted", image.id),
        ("Deleted", image.chain_id),
    ]
    assert not images.database.execute("SELECT * FROM blobs").fetchall()


def test_by_id_several_names_need_force(images: Images) -> None:
    image = import_(images, {"a": b"a"}, "app:1")
    images.tag("app:1", "other:2")
    with pytest.raises(Conflict) as caught:
        images.remove(image.short_id)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.short_id} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert kinds(images, image.short_id, force=True)[:2] == ["Untagged app:1", "Untagged other:2"]


def test_one_tag_with_its_digest_is_one_name(images: Images) -> None:
    image = import_(images, {"a": b"a"}, "app:1")
    digest = str(parse_reference("app").with_digest(image.manifest))
    images.records.set_tag(digest, image.id, NOW)
    assert images.get(digest).id == image.id
    assert images.get(f"app:1@{image.manifest}").digests == (digest,)
    assert [entry.kind for entry in images.remove(image.short_id)] == [
        "Untagged",
        "Untagged",
        "Deleted",
        "Deleted",
    ]


def test_with_the_last_tag_the_digests_of_the_repository_go(images: Images) -> None:
    image = import_(images, {"a": b"a"}, "app:1")
    digest = parse_reference("app").with_digest(image.manifest)
    images.records.set_tag(str(digest), image.id, NOW)
    assert kinds(images, "app:1")[:3] == [
        "Untagged app:1",
        f"Untagged {digest.familiar()[:12]}",
        f"Deleted {image.id[:12]}",
    ]


@pytest.mark.parametrize("state", ["running", "exited"])
def test_a_container_keeps_its_image(images: Images, state: str) -> None:
    image = import_(images, {"a": b"a"}, "app:1")
    user = use(images, image, state)
    with pytest.raises(Conflict) as caught:
        images.remove("app:1")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "app:1" (must force) - container '
        f"{user} is using its referenced image {image.short_id}"
    )
    hard = "cannot" if state == "running" else "must"
    word = "running" if state == "running" else "stopped"
    with pytest.raises(Conflict) as caught:
        images.remove(image.id)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.short_id} ({hard} be forced) - image is being used "
        f"by {word} container {user}"
    )
    if state == "running":
        with pytest.raises(Conflict, match="cannot be forced"):
            images.remove(image.id, force=True)
        assert kinds(images, "app:1", force=True) == ["Untagged app:1"]
        assert images.find(image.id) is not None
    else:
        assert kinds(images, image.id, force=True)[0] == "Untagged app:1"
        assert images.find(image.id) is None


def test_prune_takes_what_nobody_needs(images: Images) -> None:
    used = import_(images, {"used": b"1"})
    use(images, used, "exited")
    loose = import_(images, {"loose": b"1"})
    tagged = import_(images, {"tagged": b"1"}, "app:1")
    assert images.prune(labels=["nope"]).removed == ()
    assert images.prune(until_ns=NOW - 1).removed == ()
    pruned = images.prune()
    assert [entry.what for entry in pruned.removed] == [loose.id, loose.chain_id]
    assert pruned.bytes_reclaimed > 0
    pruned = images.prune(dangling=False)
    assert [entry.what for entry in pruned.removed][:2] == ["app:1", tagged.id]
    assert [image.id for image in images.list_()] == [used.id]


def test_tags_are_checked(images: Images) -> None:
    image = import_(images, {"a": b"a"})
    assert images.tag(image.short_id, "b").tags == ("docker.io/library/b:latest",)
    with pytest.raises(InvalidArgument, match="digest reference"):
        images.tag(image.id, f"b@{image.id}")
    with pytest.raises(InvalidArgument, match="ambiguous tag"):
        images.tag(image.id, "sha256:abc")
    with pytest.raises(NotFound):
        images.tag("nope", "x")


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
