"""Docker's rules of what goes when a name, an image or everything unused is removed."""

import pytest

from pier.errors import Conflict
from pier.images.model import Image
from pier.images.store import Images
from pier.oci.reference import parse_reference
from tests.root.image_support import NOW, import_


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
