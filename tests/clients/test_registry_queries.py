"""Asking a registry: search, manifest inspect, /distribution, with docker and pier."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.clients.image_store import MadeImage, described, make_image, put_manifest, tar, upload
from tests.clients.registries import Site, debian_registry, digest, pier_registry
from tests.daemon import Daemon
from tests.docker_client import needs_docker_28

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")
INDEXES = {
    "docker": "application/vnd.docker.distribution.manifest.list.v2+json",
    "oci": "application/vnd.oci.image.index.v1+json",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With `x:amd64`, `x:arm64` and two indexes of both."""
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as host:
        images = {arch: make_image(tar({arch: b"1"}), architecture=arch) for arch in PLATFORMS}
        for arch, image in images.items():
            upload(host, "x", arch, image)
        for name, media_type in INDEXES.items():
            entries = [_entry(images[arch], platform) for arch, platform in PLATFORMS.items()]
            index = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
            put_manifest(host, "x", name, media_type, json.dumps(index).encode())
        yield host


PLATFORMS = {
    "amd64": {"architecture": "amd64", "os": "linux"},
    "arm64": {"architecture": "arm64", "os": "linux", "variant": "v8"},
}


def _entry(image: MadeImage, platform: dict[str, str]) -> dict[str, object]:
    return {**described(image.media_type, image.manifest), "platform": platform}


@needs_docker_28
@pytest.mark.parametrize("name", ["amd64", "docker", "-v amd64", "-v docker", "-v oci"])
def test_manifest_inspect_says_what_docker_s_client_says(
    daemon: Daemon, registry: str, name: str
) -> None:
    *flags, tag = name.split()
    reference = f"{registry}/x:{tag}"
    asked = ["docker", "manifest", "inspect", "--insecure", *flags, reference]
    theirs = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert daemon.pier("manifest", "inspect", *flags, reference) == theirs


def test_an_oci_index_keeps_its_type_and_what_is_not_there_is_told(
    daemon: Daemon, registry: str
) -> None:
    shown = json.loads(daemon.pier("manifest", "inspect", f"{registry}/x:oci"))
    assert shown["mediaType"] == INDEXES["oci"]
    assert [entry["platform"] for entry in shown["manifests"]] == list(PLATFORMS.values())
    for name in ("x:none", "nobody:none"):
        words = daemon.pier("manifest", "inspect", f"{registry}/{name}", status=1)
        assert words.strip() == f"no such manifest: {registry}/{name}"


def test_distribution_tells_digest_and_platforms(daemon: Daemon, registry: str) -> None:
    status, found = daemon.api("GET", f"/distribution/{registry}/x:oci/json")
    assert status == 200
    assert found["Descriptor"]["mediaType"] == INDEXES["oci"]
    assert found["Platforms"] == list(PLATFORMS.values())
    status, found = daemon.api("GET", f"/distribution/{registry}/x:arm64/json")
    assert found["Platforms"] == [{"architecture": "arm64", "os": "linux"}]
    assert daemon.api("GET", f"/distribution/{registry}/x:none/json")[0] == 404
    assert daemon.api("GET", f"/distribution/{registry}/X:none/json")[0] == 400


LONG = "a description that is longer than what fits into a table of search results"
FOUND = [
    {"name": "busybox", "description": "small", "star_count": 3000, "is_official": True,
     "is_automated": False},
    {"name": "ann/box", "description": LONG, "star_count": 12, "is_official": False,
     "is_automated": True},
    {"name": "bob/box", "description": "", "star_count": 0, "is_official": False,
     "is_automated": False},
]  # fmt: skip


@pytest.fixture(scope="module")
def hub() -> Iterator[Site]:
    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path != "/v1/search":
            return web.Response(status=404)
        found = FOUND[: int(request.query["n"])]
        return web.json_response({"num_results": len(found), "results": found})

    with Site(respond) as site:
        yield site


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


@pytest.mark.parametrize("platform", [{"os": "linux"}, {"architecture": 1, "os": []}, "linux"])
def test_an_index_with_odd_platforms_is_told_in_words(daemon: Daemon, platform: object) -> None:
    entry = {"mediaType": INDEXES["oci"], "digest": digest(b"x"), "size": 1, "platform": platform}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

    async def respond(request: web.Request) -> web.StreamResponse:
        if "manifests" not in request.path:
            return web.Response()
        headers = {"Docker-Content-Digest": digest(index), "Content-Type": INDEXES["oci"]}
        return web.Response(body=index, headers=headers)

    with Site(respond) as site:
        status, told = daemon.api("GET", f"/distribution/{site.host}/odd/json")
    assert (status, "invalid manifest: " in told["message"]) == (400, True), told


@needs_docker_28
def test_search_lists_filters_and_limits(daemon: Daemon, hub: Site) -> None:
    term = f"{hub.host}/box"
    everything = daemon.docker("search", term)
    assert names(everything) == ["busybox", "ann/box", "bob/box"]
    assert LONG not in everything
    assert "q=box&n=25" in hub.seen[-1][1]
    assert LONG in daemon.docker("search", "--no-trunc", term)
    for flags, expected in (
        (("-f", "is-official=true"), ["busybox"]),
        (("-f", "is-official=false"), ["ann/box", "bob/box"]),
        (("-f", "stars=12"), ["busybox", "ann/box"]),
        (("-f", "stars=1", "-f", "stars=100"), ["busybox"]),
        (("-f", "is-automated=true"), []),
        (("--limit", "2"), ["busybox", "ann/box"]),
        (("--limit", "1", "-f", "is-official=false"), []),
    ):
        assert names(daemon.docker("search", *flags, term)) == expected, flags
        assert daemon.pier("search", *flags, term) == daemon.docker("search", *flags, term)
    assert daemon.pier("search", "--no-trunc", term) == daemon.docker("search", "--no-trunc", term)
    template = ("--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}")
    assert daemon.docker("search", *template, term).splitlines()[0] == "busybox 3000 [OK]"
    assert daemon.pier("search", *template, term) == daemon.docker("search", *template, term)


def test_a_wrong_search_is_refused_in_docker_s_words(
    daemon: Daemon, hub: Site, tmp_path: Path
) -> None:
    for flags, words in (
        (("--limit", "101", f"{hub.host}/x"), "limit 101 is outside the range of [1, 100]"),
        (("-f", "stars=many", f"{hub.host}/x"), "invalid filter 'stars=many'"),
        (("-f", "is-official=2", f"{hub.host}/x"), "invalid filter 'is-official"),
        (("-f", "colour=red", f"{hub.host}/x"), "invalid filter 'colour'"),
        (("http://x/y",), "repository name (http://x/y) should not have a scheme"),
    ):
        assert words in daemon.docker("search", *flags, status=1)
    with pier_registry(tmp_path / "root") as ours, debian_registry(tmp_path / "debian") as debian:
        for host in (ours, debian):
            refused = daemon.docker("search", f"{host}/x", status=1)
            assert refused.strip() == "Error response from daemon: Unexpected status code 404"


def test_the_digest_of_what_is_shown_is_the_one_that_was_pushed(
    daemon: Daemon, registry: str
) -> None:
    image = make_image(tar({"amd64": b"1"}), architecture="amd64")
    found = json.loads(daemon.pier("manifest", "inspect", "-v", f"{registry}/x:amd64"))
    assert found["Descriptor"]["digest"] == digest(image.manifest)
