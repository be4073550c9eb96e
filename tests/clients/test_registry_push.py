"""Pushing whole images from a store to real registries. Needs root."""

import asyncio
import os
from pathlib import Path

import pytest

from pier.errors import NotFound
from tests.clients.image_store import (
    Store,
    make_here,
    opened,
    pull,
    push,
    read_file,
    statuses,
    tar,
    two_layers,
    upload,
)
from tests.clients.registries import blob_bytes, debian_registry, digest, pier_registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are extracted as root")


def test_the_digest_is_the_same_wherever_it_goes(store: Store, tmp_path: Path) -> None:
    with (
        pier_registry(tmp_path / "one") as one,
        debian_registry(tmp_path / "two") as two,
        opened(tmp_path / "other") as other,
    ):
        manifest = upload(one, "a", "v1", two_layers("travel"))
        asyncio.run(pull(store, f"{one}/a:v1"))
        store.images.tag(f"{one}/a:v1", f"{two}/b/c:v2")
        steps = asyncio.run(push(store, f"{two}/b/c", "v2"))
        assert steps[0].status == f"The push refers to repository [{two}/b/c]"
        size = len(two_layers("travel").manifest)
        assert steps[-2].status == f"v2: digest: {manifest} size: {size}"
        assert steps[-1].aux == {"Tag": "v2", "Digest": manifest, "Size": size}
        asyncio.run(pull(other, f"{two}/b/c:v2"))
        assert other.images.get(f"{two}/b/c:v2").digests == (f"{two}/b/c@{manifest}",)
        assert f"{two}/b/c@{manifest}" in store.images.get(f"{one}/a:v1").digests


def test_a_second_push_moves_nothing_and_another_repository_mounts(store: Store, host: str) -> None:
    plain = tar({"made": b"here" * 100_000})
    make_here(store, plain, f"{host}/built:v1")
    steps = asyncio.run(push(store, f"{host}/built:v1"))
    short = digest(plain)[7:19]
    assert statuses(steps, short) == ["Preparing", "Pushing", "Pushed"]
    pushed = steps[-1].aux
    received = blob_bytes(host)
    again = asyncio.run(push(store, f"{host}/built:v1"))
    assert statuses(again, short) == ["Preparing", "Layer already exists"]
    assert again[-1].aux == pushed
    assert blob_bytes(host) == received
    store.images.tag(f"{host}/built:v1", f"{host}/elsewhere:v1")
    mounted = asyncio.run(push(store, f"{host}/elsewhere:v1"))
    assert statuses(mounted, short) == ["Preparing", "Mounted from built"]
    assert mounted[-1].aux == pushed
    with opened(store.root / "other") as other:
        asyncio.run(pull(other, f"{host}/elsewhere:v1"))
        assert other.images.get(f"{host}/elsewhere:v1").id == store.images.list_()[0].id
        assert read_file(other, f"{host}/elsewhere:v1", "made") == b"here" * 100_000


def test_pushing_what_is_not_here_says_so(store: Store, host: str) -> None:
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: "):
        asyncio.run(push(store, f"{host}/none:v1"))
    with pytest.raises(NotFound, match="An image does not exist locally with the name: "):
        asyncio.run(push(store, f"{host}/none"))
    make_here(store, tar({"x": b""}), f"{host}/some:v1")
    with pytest.raises(NotFound, match=f"tag does not exist: {host}/some:v2"):
        asyncio.run(push(store, f"{host}/some:v2"))
