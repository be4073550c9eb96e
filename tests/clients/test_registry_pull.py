"""Pulling whole images into a store from real registries. Needs root."""

import asyncio
import json
import os

import pytest

from pier.errors import NotFound, PierError
from pier.images.pull import ForeignLayer, IndexInIndex
from pier.oci.manifest import OCI_INDEX, Schema1Refused
from pier.oci.platform import NoMatchingPlatform, WrongPlatform
from pier.registry.failures import ManifestUnknown
from tests.clients.image_sites import serving
from tests.clients.image_store import (
    Store,
    described,
    make_image,
    pull,
    put_manifest,
    read_file,
    statuses,
    tar,
    two_layers,
    unleft,
    upload,
)
from tests.clients.registries import Site, digest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are extracted as root")


def test_a_pull_makes_an_image_and_tells_docker_s_story(store: Store, host: str) -> None:
    image = two_layers("story")
    manifest = upload(host, "me/app", "v1", image)
    steps = asyncio.run(pull(store, f"{host}/me/app:v1"))
    assert statuses(steps)[0] == "Pulling from me/app"
    assert steps[0].id == "v1"
    for short in image.short_ids():
        story = [s for s in statuses(steps, short) if s not in ("Downloading", "Waiting")]
        assert story == [
            "Pulling fs layer",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ]
    assert [step.status for step in steps[-2:]] == [
        f"Digest: {manifest}",
        f"Status: Downloaded newer image for {host}/me/app:v1",
    ]
    made = store.images.get(f"{host}/me/app:v1")
    assert made.id == digest(image.config)
    assert made.tags == (f"{host}/me/app:v1",)
    assert made.digests == (f"{host}/me/app@{manifest}",)
    assert read_file(store, made.id, "dir/story") == b"2"
    unleft(store)
    assert store.database.execute("SELECT count(*) FROM leases").fetchone()[0] == 0
    again = asyncio.run(pull(store, f"{host}/me/app:v1"))
    assert again[-1].status == f"Status: Image is up to date for {host}/me/app:v1"
    assert [step.status for step in again][1:-1] == [f"Digest: {manifest}"]
    # Another image of the same layers is new, and the layers are not.
    upload(host, "me/app", "v2", make_image(tar({"a": b"1", "dir/story": b"2"}), tar({"c": b""})))
    shared = asyncio.run(pull(store, f"{host}/me/app:v2"))
    assert statuses(shared, image.short_ids()[0]) == ["Already exists"]


def test_a_pull_by_digest_makes_no_tag(store: Store, host: str) -> None:
    manifest = upload(host, "by-digest", "v1", two_layers("digest"))
    asyncio.run(pull(store, f"{host}/by-digest@{manifest}"))
    made = store.images.get(f"{host}/by-digest@{manifest}")
    assert (made.tags, made.digests) == ((), (f"{host}/by-digest@{manifest}",))


def test_all_tags(store: Store, host: str) -> None:
    for tag in ("one", "two"):
        upload(host, "tagged", tag, two_layers(tag))
    steps = asyncio.run(pull(store, f"{host}/tagged", all_tags=True))
    told = [step.status for step in steps if step.status.startswith("Status:")]
    assert told == [f"Status: Downloaded newer image for {host}/tagged"]
    tags = {tag for image in store.images.list_() for tag in image.tags}
    assert tags == {f"{host}/tagged:one", f"{host}/tagged:two"}


def put_index(host: str, name: str, tag: str, *entries: dict[str, object]) -> str:
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    put_manifest(host, name, tag, OCI_INDEX, index)
    return digest(index)


def test_an_index_gives_the_host_s_platform_or_the_one_asked_for(store: Store, host: str) -> None:
    entries = []
    for architecture in ("arm64", "amd64"):
        image = make_image(tar({architecture: b""}), architecture=architecture)
        upload(host, "multi", architecture, image)
        platform = {"os": "linux", "architecture": architecture}
        entries.append({**described(image.media_type, image.manifest), "platform": platform})
    index = put_index(host, "multi", "latest", *entries)
    asyncio.run(pull(store, f"{host}/multi"))
    made = store.images.get(f"{host}/multi")
    assert made.config.architecture == store.images.host.architecture
    assert made.digests == (f"{host}/multi@{index}",)
    asyncio.run(pull(store, f"{host}/multi", platform="linux/arm64"))
    assert store.images.get(f"{host}/multi").config.architecture == "arm64"
    with pytest.raises(NoMatchingPlatform, match=r"specified platform \(linux/s390x\)"):
        asyncio.run(pull(store, f"{host}/multi", platform="linux/s390x"))
    with pytest.raises(WrongPlatform, match="does not match the specified platform"):
        asyncio.run(pull(store, f"{host}/multi:amd64", platform="linux/arm64"))


def test_what_is_no_image_of_today_is_refused_with_its_reason(store: Store, host: str) -> None:
    upload(host, "odd", "fine", two_layers("odd"))
    foreign = make_image(
        tar({"x": b""}), layer_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    )
    upload(host, "odd", "foreign", foreign)
    with pytest.raises(ForeignLayer, match="allows no registry to distribute it"):
        asyncio.run(pull(store, f"{host}/odd:foreign"))
    with pytest.raises(ManifestUnknown, match=r"odd:none not found: manifest unknown"):
        asyncio.run(pull(store, f"{host}/odd:none"))
    with pytest.raises(NotFound, match="repository does not exist or may require 'docker login'"):
        asyncio.run(pull(store, f"{host}/nobody:none"))
    artifact = json.loads(two_layers("odd").manifest)
    artifact["config"]["mediaType"] = "application/vnd.docker.plugin.v1+json"
    put_manifest(host, "odd", "plugin", artifact["mediaType"], json.dumps(artifact).encode())
    with pytest.raises(PierError, match=r'Encountered remote "application/vnd\.docker\.plugin'):
        asyncio.run(pull(store, f"{host}/odd:plugin"))
    assert store.images.list_() == []


def test_schema_1_and_an_index_in_an_index_are_refused(store: Store) -> None:
    old = b'{"schemaVersion":1,"name":"a","fsLayers":[]}'
    with Site(serving(old)) as site, pytest.raises(Schema1Refused):
        asyncio.run(pull(store, f"{site.host}/a"))
    inner = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    entry = described(OCI_INDEX, inner)
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    with Site(serving(outer, inner)) as site, pytest.raises(IndexInIndex):
        asyncio.run(pull(store, f"{site.host}/a"))
