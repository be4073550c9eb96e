"""Pulling and pushing whole images between a store and real registries. Needs root."""

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from pier.errors import NotFound, PierError
from pier.images.pull import ForeignLayer, IndexInIndex, Puller
from pier.images.receiving import LayerVerificationFailed
from pier.images.room import DiskWouldFill
from pier.images.unpack import DiffIdMismatch
from pier.oci.manifest import OCI_INDEX, Schema1Refused
from pier.oci.platform import NoMatchingPlatform, WrongPlatform
from pier.registry.failures import ManifestUnknown
from tests.clients.image_store import (
    MadeImage,
    Store,
    described,
    make_image,
    opened,
    pull,
    push,
    put_manifest,
    statuses,
    tar,
    upload,
)
from tests.clients.registries import (
    REPOSITORY,
    Respond,
    Site,
    client,
    debian_registry,
    digest,
    http,
    pier_registry,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are extracted as root")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path / "store") as made:
        yield made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as address:
        yield address


def two_layers(mark: str = "x") -> MadeImage:
    return make_image(tar({"a": b"1", f"dir/{mark}": b"2"}), tar({"b": mark.encode()}))


def read_file(store: Store, name: str, path: str) -> bytes:
    """A file of an image, by its layers."""
    for directory in store.snapshotter.chain(store.images.get(name).chain_id):
        if (directory / path).exists():
            return (directory / path).read_bytes()
    raise AssertionError(path)


def unleft(store: Store) -> None:
    """Nothing half made is left behind."""
    assert store.snapshotter.list_keys("unpack/") == []
    assert list((store.root / "content" / "ingest").iterdir()) == []


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


def serving(*documents: bytes, types: dict[bytes, str] | None = None) -> Respond:
    """A registry that answers any tag with the first document, digests with what has them."""

    async def respond(request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        for data in documents:
            if name in (digest(data), "latest"):
                kind = (types or {}).get(data, "application/octet-stream")
                return web.Response(body=data, content_type=kind)
        return web.Response(status=404)

    return respond


def test_schema_1_and_an_index_in_an_index_are_refused(store: Store) -> None:
    old = b'{"schemaVersion":1,"name":"a","fsLayers":[]}'
    with Site(serving(old)) as site, pytest.raises(Schema1Refused):
        asyncio.run(pull(store, f"{site.host}/a"))
    inner = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    entry = described(OCI_INDEX, inner)
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    with Site(serving(outer, inner)) as site, pytest.raises(IndexInIndex):
        asyncio.run(pull(store, f"{site.host}/a"))


def lying(image: MadeImage, layer: bytes) -> Respond:
    """The image, with other bytes for its last layer."""
    honest = serving(image.manifest, image.config, *image.layers[:-1])

    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path.endswith(digest(image.layers[-1])):
            header = request.headers.get("Range", "")
            start = int(header[6:-1]) if header else 0
            headers = {"Content-Range": f"bytes {start}-{len(layer) - 1}/{len(layer)}"}
            if not header:
                return web.Response(body=layer)
            return web.Response(status=206, body=layer[start:], headers=headers)
        return await honest(request)

    return respond


def test_wrong_bytes_are_refused_and_nothing_is_left(store: Store) -> None:
    noise = random.Random(1).randbytes(3_000_000)
    image = make_image(tar({"a": b"1"}), tar({"b": noise}))
    layer = bytearray(image.layers[-1])
    layer[len(layer) // 2] ^= 1
    words = f"filesystem layer verification failed for digest {digest(image.layers[-1])}"
    for lie in (bytes(layer), b"x" * len(layer)):
        with (
            Site(lying(image, lie)) as site,
            pytest.raises(LayerVerificationFailed, match=words),
        ):
            asyncio.run(pull(store, f"{site.host}/a"))
        assert store.images.list_() == []
        assert store.snapshotter.list_keys("unpack/") == []
    for lie in (image.layers[-1][:-1], image.layers[-1] + b"x"):
        with Site(lying(image, lie)) as site, pytest.raises(PierError, match="bytes announced"):
            asyncio.run(pull(store, f"{site.host}/a"))


def test_a_config_that_lies_about_its_layers_is_refused(store: Store) -> None:
    image = make_image(tar({"a": b"1"}), diff_ids=[digest(b"other")])
    with Site(serving(image.manifest, *image.blobs)) as site, pytest.raises(DiffIdMismatch):
        asyncio.run(pull(store, f"{site.host}/a"))
    unleft(store)


def test_a_layer_that_is_no_archive_is_refused(store: Store) -> None:
    noise = random.Random(2).randbytes(2_000_000)
    image = make_image(noise, packed=[noise])
    with Site(serving(image.manifest, *image.blobs)) as site, pytest.raises(PierError, match="tar"):
        asyncio.run(pull(store, f"{site.host}/a"))
    unleft(store)


def leave_ingest(store: Store, blob: bytes, data: bytes) -> None:
    """What a killed daemon leaves of a blob on its way."""
    path = store.root / "content" / "ingest" / digest(blob)[7:]
    path.write_bytes(data)


def test_a_pull_goes_on_where_a_killed_daemon_stopped(store: Store) -> None:
    noise = random.Random(3).randbytes(3_000_000)
    image = make_image(tar({"a": noise}))
    layer = image.layers[0]
    leave_ingest(store, layer, layer[:2_000_000])
    with Site(lying(image, layer)) as site:
        asyncio.run(pull(store, f"{site.host}/a"))
        assert [h.get("Range") for _, p, h in site.seen if p.endswith(digest(layer))] == [
            "bytes=2000000-"
        ]
    assert read_file(store, f"{site.host}/a", "a") == noise
    unleft(store)


def test_wrong_leftovers_cost_one_more_attempt_and_lies_are_still_lies(store: Store) -> None:
    noise = random.Random(4).randbytes(3_000_000)
    image = make_image(tar({"a": noise}))
    layer = image.layers[0]
    leave_ingest(store, layer, b"\0" * 2_000_000)
    with Site(lying(image, layer)) as site:
        asyncio.run(pull(store, f"{site.host}/a"))
    assert read_file(store, f"{site.host}/a", "a") == noise
    other = make_image(tar({"b": noise}))
    layer = other.layers[0]
    leave_ingest(store, layer, layer[:2_000_000])
    with (
        Site(lying(other, b"x" * len(layer))) as site,
        pytest.raises(LayerVerificationFailed),
    ):
        asyncio.run(pull(store, f"{site.host}/b"))


def test_a_mirror_that_lies_is_passed_over(store: Store) -> None:
    noise = random.Random(7).randbytes(2_000_000)
    image = make_image(tar({"a": noise}))
    layer = image.layers[0]
    with Site(lying(image, b"x" * len(layer))) as mirror, Site(lying(image, layer)) as origin:
        registries = client({origin.host: [f"http://{mirror.host}"]})
        asyncio.run(pull(store, f"{origin.host}/a", registries=registries))
        assert read_file(store, f"{origin.host}/a", "a") == noise
        assert [path for _, path, _ in mirror.seen if path.endswith(digest(layer))]
    unleft(store)


def test_concurrent_pulls_fetch_a_layer_once_and_survive_the_first_one_s_end(store: Store) -> None:
    noise = random.Random(5).randbytes(4_000_000)
    image = make_image(tar({"a": noise}))
    other = make_image(tar({"z": b""}), tar({"a": noise}))
    half = asyncio.Event()
    honest = serving(image.manifest, *image.blobs, other.manifest, *other.blobs)
    layer = image.layers[0]

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/other/manifests/latest":
            return web.Response(body=other.manifest)
        if not request.path.endswith(digest(layer)) or half.is_set():
            return await lying(image, layer)(request) if half.is_set() else await honest(request)
        response = web.StreamResponse()
        response.content_length = len(layer)
        await response.prepare(request)
        await response.write(layer[:2_500_000])
        await half.wait()
        await response.write(layer[2_500_000:])
        return response

    async def scenario(site: Site) -> None:
        registries = client()
        puller = Puller(registries, store.images, reserve_bytes=0)

        async def one(name: str) -> None:
            async for _ in puller.pull(f"{site.host}/{name}"):
                pass

        async with asyncio.TaskGroup() as group:
            first = group.create_task(one("app"))
            while not site.seen or not site.seen[-1][1].endswith(digest(layer)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            group.create_task(one("app"))
            group.create_task(one("other"))
            await asyncio.sleep(0.3)
            first.cancel()
            await asyncio.sleep(0.1)
            site._loop.call_soon_threadsafe(half.set)
        puller.close()
        await registries.close()

    with Site(slow) as site:
        asyncio.run(scenario(site))
        assert read_file(store, f"{site.host}/app", "a") == noise
        assert read_file(store, f"{site.host}/other", "a") == noise
        asked = [h.get("Range", "") for _, path, h in site.seen if path.endswith(digest(layer))]
    assert asked[0] == ""
    assert len(asked) == 2, asked
    assert asked[1].startswith("bytes=")
    unleft(store)


def test_a_gzip_bomb_is_refused_before_the_disk_is_full_in_bounded_memory(store: Store) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1_000_000)
    head = bytearray(tar({"zeros": b""})[:512])
    head[124:136] = b"77777777777\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    packed = packer.compress(bytes(head))
    packed += b"".join(packer.compress(zeros) for _ in range(2000)) + packer.flush()
    image = make_image(b"x", packed=[packed])
    found = os.statvfs(store.root)
    reserve = found.f_bavail * found.f_frsize - 300_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        Site(serving(image.manifest, *image.blobs)) as site,
        pytest.raises(DiskWouldFill, match="does not fit"),
    ):
        asyncio.run(pull(store, f"{site.host}/a", reserve_bytes=reserve))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 64_000_000, grown
    assert store.snapshotter.list_keys("unpack/") == []


def test_a_bomb_in_an_archive_is_refused_before_a_small_disk_is_full(tmp_path: Path) -> None:
    """`docker load`, on a disk of 64 MB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", tmp_path], check=True)
    try:
        plain = tar({"zeros": bytes(200_000_000)})
        image = make_image(plain)
        manifest = [{"Config": "c.json", "RepoTags": ["bomb:1"], "Layers": ["l"]}]
        documents = {"c.json": image.config, "manifest.json": json.dumps(manifest).encode()}
        archive = tar({"l": image.layers[0], **documents})

        async def load(store: Store) -> None:
            async for _ in store.images.load(_one(archive)):
                pass

        with opened(tmp_path / "store") as store:
            with pytest.raises(DiskWouldFill, match="does not fit"):
                asyncio.run(load(store))
            assert store.images.list_() == []
            assert store.snapshotter.list_keys("unpack/") == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


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


def blob_bytes(host: str) -> float:
    """Bytes of blobs the registry has taken in so far, by its own count."""
    text = http("GET", f"http://{host}/metrics").body.decode()
    for line in text.splitlines():
        if line.startswith("pier_registry_blob_received_bytes_total"):
            return float(line.split()[1])
    raise AssertionError(text)


def make_here(store: Store, plain: bytes, name: str) -> None:
    """An image of one plain tar layer, as a build leaves it."""

    async def chunks() -> AsyncIterator[bytes]:
        yield plain

    asyncio.run(store.images.import_(chunks(), reference=name))


def test_pushing_what_is_not_here_says_so(store: Store, host: str) -> None:
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: "):
        asyncio.run(push(store, f"{host}/none:v1"))
    with pytest.raises(NotFound, match="An image does not exist locally with the name: "):
        asyncio.run(push(store, f"{host}/none"))
    make_here(store, tar({"x": b""}), f"{host}/some:v1")
    with pytest.raises(NotFound, match=f"tag does not exist: {host}/some:v2"):
        asyncio.run(push(store, f"{host}/some:v2"))


_PULL = """
import asyncio, sys
from pathlib import Path
from tests.clients.image_store import opened, pull
with opened(Path(sys.argv[1])) as store:
    store.images.sweep()
    asyncio.run(pull(store, sys.argv[2]))
"""


def test_killed_in_the_middle_the_next_pull_fetches_only_what_is_missing(tmp_path: Path) -> None:
    noise = random.Random(6).randbytes(6_000_000)
    image = make_image(tar({"a": noise[:1_000_000]}), tar({"b": noise}))
    layer = image.layers[1]
    release = asyncio.Event()
    honest = lying(image, layer)

    async def slow(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith(digest(layer)) or release.is_set():
            return await honest(request)
        response = web.StreamResponse()
        response.content_length = len(layer)
        await response.prepare(request)
        await response.write(layer[:4_500_000])
        await release.wait()
        return response

    root = tmp_path / "store"
    ingest = root / "content" / "ingest" / digest(layer)[7:]
    first = root / "content" / "blobs" / "sha256" / digest(image.layers[0])[7:]
    with Site(slow) as site:
        argv = [sys.executable, "-c", _PULL, str(root), f"{site.host}/a"]
        process = subprocess.Popen(argv, cwd=REPOSITORY)
        deadline = time.monotonic() + 20
        while not (first.exists() and ingest.exists() and ingest.stat().st_size > 4_000_000):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        site._loop.call_soon_threadsafe(release.set)
        with opened(root) as store:
            store.images.sweep()
            assert store.images.list_() == []
            assert store.snapshotter.list_keys("unpack/") == []
            site.seen.clear()
            asyncio.run(pull(store, f"{site.host}/a"))
            asked = {path.rpartition("/")[2]: h.get("Range", "") for _, path, h in site.seen}
            assert digest(image.layers[0]) not in asked
            assert int(asked[digest(layer)][6:-1]) > 4_000_000
            assert read_file(store, f"{site.host}/a", "b") == noise
            check_accounts(store)


def check_accounts(store: Store) -> None:
    """The records and the disk agree."""
    unleft(store)
    rows = store.database.execute("SELECT digest, size FROM blobs").fetchall()
    blobs = store.root / "content" / "blobs" / "sha256"
    on_disk = {f"sha256:{path.name}": path.stat().st_size for path in blobs.iterdir()}
    assert {str(row["digest"]): int(row["size"]) for row in rows} == on_disk
    numbers = {str(row["id"]) for row in store.database.execute("SELECT id FROM snapshots")}
    directories = {path.name for path in (store.root / "snapshots").iterdir()} - {"trash"}
    assert directories == numbers
