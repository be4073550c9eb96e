"""Removing and pruning images with docker, and whether `system df` agrees with the disk."""

import asyncio
import contextlib
import json
import os
import random
import re
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import web

from tests.clients.image_store import make_image, tar, upload
from tests.clients.registries import Site, digest, pier_registry
from tests.daemon import Daemon, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as host:
        yield host


def image_id(daemon: Daemon, name: str) -> str:
    return daemon.docker("image", "inspect", "-f", "{{.Id}}", name).strip()


def build(daemon: Daemon, name: str, *lines: str) -> str:
    text = "\n".join(["FROM busybox", *lines])
    done = daemon.run(["docker", "build", "-q", "-t", name, "-"], stdin=text.encode())
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_a_tag_goes_alone_and_the_last_one_takes_the_image(daemon: Daemon) -> None:
    made = build(daemon, "one:1", "LABEL a=1")
    daemon.docker("tag", "one:1", "two:1")
    daemon.docker("tag", "one:1", "one:2")
    assert daemon.docker("rmi", "one:1").split("\n")[:2] == ["Untagged: one:1", ""]
    short = made[7:19]
    refused = daemon.docker("rmi", short, status=1)
    assert refused.strip() == (
        f"Error response from daemon: conflict: unable to delete {short} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    daemon.docker("rmi", "one:2")
    removed = daemon.docker("rmi", "two:1").splitlines()
    assert removed[:2] == ["Untagged: two:1", f"Deleted: {made}"]
    assert "No such image: two:1" in daemon.docker("rmi", "two:1", status=1)
    made = build(daemon, "one:1", "LABEL a=2")
    daemon.docker("tag", "one:1", "two:1")
    removed = daemon.docker("rmi", "-f", made[7:19]).splitlines()
    assert removed[:3] == ["Untagged: one:1", "Untagged: two:1", f"Deleted: {made}"]


@pytest.mark.parametrize("running", [False, True])
def test_an_image_in_use_stays(daemon: Daemon, *, running: bool) -> None:
    made = build(daemon, "used:1", "LABEL used=1", 'CMD ["sleep", "600"]')
    flags = ["run", "-d"] if running else ["create"]
    container = daemon.docker(*flags, "--name", "user", "used:1").strip()[:12]
    short = made[7:19]
    assert daemon.docker("rmi", "used:1", status=1).strip() == (
        'Error response from daemon: conflict: unable to remove repository reference "used:1" '
        f"(must force) - container {container} is using its referenced image {short}"
    )
    word, must = ("running", "cannot") if running else ("stopped", "must")
    assert daemon.docker("rmi", short, status=1).strip() == (
        f"Error response from daemon: conflict: unable to delete {short} ({must} be forced) - "
        f"image is being used by {word} container {container}"
    )
    if running:
        assert "cannot be forced" in daemon.docker("rmi", "-f", short, status=1)
    removed = daemon.docker("rmi", "-f", "used:1" if running else short)
    assert removed.splitlines()[0] == "Untagged: used:1"
    if running:
        assert daemon.docker("ps", "-q", "-f", f"ancestor={made}").strip() == container
    daemon.docker("rm", "-f", "user")
    daemon.docker("image", "prune", "-f")
    assert daemon.run(["docker", "image", "inspect", made]).returncode == 1


def test_by_digest_one_name_goes(daemon: Daemon, registry: str) -> None:
    image = make_image(tar({"by": b"digest"}))
    name = f"{registry}/by/digest"
    upload(registry, "by/digest", "1", image)
    at_digest = f"{name}@{digest(image.manifest)}"
    daemon.docker("pull", "-q", f"{name}:1")
    assert daemon.docker("rmi", at_digest).strip() == f"Untagged: {at_digest}"
    assert image_id(daemon, f"{name}:1") == digest(image.config)
    daemon.docker("pull", "-q", at_digest)
    removed = daemon.docker("rmi", f"{name}:1").splitlines()
    assert removed[:3] == [
        f"Untagged: {name}:1", f"Untagged: {at_digest}", f"Deleted: {digest(image.config)}",
    ]  # fmt: skip
    daemon.docker("pull", "-q", at_digest)
    assert daemon.docker("rmi", image_id(daemon, at_digest)).startswith(f"Untagged: {at_digest}\n")


def test_a_tag_s_digest_goes_with_it_though_the_repository_has_other_tags(
    daemon: Daemon, registry: str
) -> None:
    for tag in ("1", "2"):
        upload(registry, "tagged", tag, make_image(tar({tag: b"x"})))
        daemon.docker("pull", "-q", f"{registry}/tagged:{tag}")
    assert "Deleted: " in daemon.docker("rmi", f"{registry}/tagged:1")
    listed = daemon.docker("images", "-a", "--format", "{{.Tag}}", f"{registry}/tagged")
    assert listed.split() == ["2"]


def test_prune_heeds_its_filters(daemon: Daemon) -> None:
    kept = build(daemon, "kept:1", "LABEL keep=yes")
    loose = build(daemon, "loose:1", "LABEL colour=red")
    build(daemon, "loose:1", "LABEL colour=blue")  # the red one loses its name
    listed = daemon.docker("images", "-q", "--no-trunc", "-f", "dangling=true").split()
    assert loose in listed
    for flags in (
        ("--filter", "label=colour=green"),
        ("--filter", "label!=colour=red"),
        ("--filter", "until=2001-01-01T00:00:00"),
        ("-a", "--filter", "label=nothing"),
    ):
        told = daemon.docker("image", "prune", "-f", *flags)
        assert told.strip() == "Total reclaimed space: 0B", (flags, told)
    assert "invalid filter" in daemon.docker("image", "prune", "-f", "--filter", "x=y", status=1)
    told = daemon.docker("image", "prune", "-f", "--filter", "label=colour=red")
    assert f"deleted: {loose}" in told
    told = daemon.docker("image", "prune", "-af", "--filter", "label!=keep")
    assert "untagged: loose:1" in told
    assert "untagged: kept:1" not in told
    assert image_id(daemon, "kept:1") == kept
    daemon.docker("rmi", "kept:1")
    daemon.docker("pull", "-q", "busybox")


def test_a_prune_takes_nothing_from_a_pull_under_way(daemon: Daemon) -> None:
    image = make_image(tar({"first": b"1" * 10_000}), tar({"second": b"2" * 10_000}))
    going_on, asked = threading.Event(), threading.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        last = image.layers[-1]
        if request.path.endswith(digest(last)):
            asked.set()
            await asyncio.to_thread(going_on.wait, 60)
        for data in (image.manifest, *image.blobs):
            if request.path.endswith((digest(data), "/latest")):
                return web.Response(body=data)
        return web.Response(status=404)

    with Site(slow) as site, ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(daemon.docker, "pull", f"{site.host}/slow")
        try:
            assert asked.wait(30)
            first = digest(image.layers[0])[7:]
            blobs = daemon.data_root / "content" / "blobs" / "sha256"
            wait_until((blobs / first).exists, "the first layer is here")
            daemon.docker("image", "prune", "-af")
            daemon.docker("system", "prune", "-f")
            assert (blobs / first).exists()
        finally:
            going_on.set()
        assert "Status: Downloaded newer image" in pulling.result(60)
        assert daemon.docker("create", "--name", "slow", f"{site.host}/slow")
        daemon.docker("rm", "slow")
        daemon.docker("rmi", f"{site.host}/slow")
        daemon.docker("pull", "-q", "busybox")


def disk_bytes(daemon: Daemon) -> int:
    """Bytes of all files of images' layers and blobs, hard links once."""
    found: dict[int, int] = {}
    for part in ("snapshots", "content"):
        for directory, names, files in os.walk(daemon.data_root / part):
            if "trash" in names:
                names.remove("trash")  # on its way out
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    about = Path(directory, name).lstat()
                    if stat.S_ISREG(about.st_mode):
                        found[about.st_ino] = about.st_size
    return sum(found.values())


def images_total(daemon: Daemon) -> int:
    status, usage = daemon.api("GET", "/v1.50/system/df")
    assert status == 200
    return int(usage["LayersSize"])


def test_df_agrees_with_the_disk_after_many_operations(own_daemon: Daemon, registry: str) -> None:
    chance = random.Random(3)
    noise = {name: chance.randbytes(1_500_000) for name in "abcd"}
    layers = {name: tar({name: data}) for name, data in noise.items()}
    upload(registry, "df", "1", make_image(layers["a"], layers["b"]))
    upload(registry, "df", "2", make_image(layers["a"], layers["c"]))
    upload(registry, "df", "3", make_image(layers["d"], layers["a"]))

    def check(what: str) -> None:
        deadline = time.monotonic() + 20
        while True:
            said, there = images_total(own_daemon), disk_bytes(own_daemon)
            if abs(said - there) <= 4096:
                return
            assert time.monotonic() < deadline, f"{what}: df says {said}, the disk has {there}"
            time.sleep(0.05)

    check("busybox")
    for tag in ("1", "2", "3"):
        own_daemon.docker("pull", "-q", f"{registry}/df:{tag}")
        check(f"pulled {tag}")
    listed = own_daemon.docker("system", "df", "-v", "--format", "{{json .}}")
    shown = {
        image["Tag"]: image
        for image in json.loads(listed)["Images"]
        if image["Repository"].endswith("/df")
    }
    assert [shown[tag]["SharedSize"] for tag in "123"] == ["1.5MB", "1.5MB", "0B"]
    assert [shown[tag]["UniqueSize"] for tag in "123"] == ["1.5MB", "1.5MB", "3MB"]
    own_daemon.docker("rmi", f"{registry}/df:1")
    check("removed 1")
    archive = own_daemon.run(["docker", "save", f"{registry}/df:2"]).stdout
    own_daemon.docker("rmi", f"{registry}/df:2")
    check("removed 2")
    own_daemon.docker("load", "-q", stdin=archive)
    check("loaded 2")
    own_daemon.docker("import", "-", "imported:1", stdin=layers["b"])
    check("imported")
    own_daemon.docker("push", "-q", _tagged(own_daemon, "imported:1", f"{registry}/imported:1"))
    check("pushed, which compresses a layer")
    own_daemon.kill()
    own_daemon.start()
    check("killed and started")
    told = own_daemon.docker("image", "prune", "-af")
    reclaimed = re.search(r"Total reclaimed space: ([\d.]+)MB", told)
    assert reclaimed
    assert float(reclaimed[1]) > 4
    check("pruned")
    assert images_total(own_daemon) == 0


def _tagged(daemon: Daemon, name: str, other: str) -> str:
    daemon.docker("tag", name, other)
    return other
