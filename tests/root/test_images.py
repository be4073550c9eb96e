"""Images with a real store: names, imports, commits."""

import asyncio
import os

import pytest

from pier.errors import Conflict, InvalidArgument, NotFound
from pier.images.store import Images
from pier.oci.digest import encoded
from pier.oci.image import History, ImageConfig, RunConfig
from pier.oci.reference import parse_reference
from tests.root.image_support import NOW, chunks, import_, tar


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
    ],
)
def test_a_missing_image_is_named(images: Images, name: str, words: str) -> None:
    with pytest.raises(NotFound) as caught:
        images.get(name)
    assert str(caught.value) == words


def test_what_can_be_no_name_is_not_looked_for(images: Images) -> None:
    with pytest.raises(InvalidArgument, match="invalid reference format: repository name"):
        images.get("Bad Name")


def test_what_is_refused_at_import_leaves_nothing(images: Images) -> None:
    with pytest.raises(InvalidArgument, match="RUN is not a valid change command"):
        asyncio.run(images.import_(chunks(b""), changes=["RUN x"]))
    with pytest.raises(InvalidArgument):
        asyncio.run(images.import_(chunks(b"no archive at all" * 100)))
    assert images.snapshotter.list_keys() == []
    assert images.list_() == []
    images.collect()
    assert not images.database.execute("SELECT * FROM blobs").fetchall()


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


def test_tags_are_checked(images: Images) -> None:
    image = import_(images, {"a": b"a"})
    assert images.tag(image.short_id, "b").tags == ("docker.io/library/b:latest",)
    with pytest.raises(InvalidArgument, match="digest reference"):
        images.tag(image.id, f"b@{image.id}")
    with pytest.raises(InvalidArgument, match="ambiguous tag"):
        images.tag(image.id, "sha256:abc")
    with pytest.raises(NotFound):
        images.tag("nope", "x")
