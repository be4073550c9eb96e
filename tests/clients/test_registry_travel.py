"""Images on their way between the daemon, registries and other engines, with the real clients."""

import contextlib
import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from pier.images.base import names_sources
from pier.oci.image import ImageConfig, parse_image_config
from tests.clients.image_store import described, make_image, put_manifest, tar, upload
from tests.clients.registries import blob_bytes, debian_registry, digest, http, pier_registry
from tests.daemon import Daemon
from tests.docker_client import needs_docker_28

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")
INDEX = "application/vnd.oci.image.index.v1+json"
Podman = Callable[..., str]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pier_registry(tmp_path_factory.mktemp("registry") / "ours") as host:
        yield host


@pytest.fixture
def podman() -> Iterator[Podman]:
    """With roots of its own: it wants short paths."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    root = tempfile.mkdtemp(prefix="pod", dir="/tmp")
    argv = ["podman", "--root", f"{root}/data", "--runroot", f"{root}/run",
            "--tmpdir", f"{root}/tmp", "--storage-driver", "vfs",
            "--cgroup-manager", "cgroupfs", "--events-backend", "none"]  # fmt: skip

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [*argv, *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = libpod_groups()
    yield call
    call("rmi", "--all", "--force")
    shutil.rmtree(root)
    for group in sorted(libpod_groups() - before, reverse=True):
        with contextlib.suppress(OSError):  # another podman's by now
            group.rmdir()


def libpod_groups() -> set[Path]:
    """What podman makes in cgroups without a container, and leaves."""
    groups = Path("/sys/fs/cgroup")
    parents = (*groups.glob("libpod_parent"), *groups.glob("*/libpod_parent"))
    below = (path for parent in parents for path in parent.rglob("*") if path.is_dir())
    return {*parents, *below}


def test_podman_pulls_what_docker_pushed_and_docker_what_podman_pushed(
    daemon: Daemon, ours: str, podman: Podman
) -> None:
    daemon.docker("tag", "busybox", f"{ours}/to/podman:1")
    daemon.docker("push", "-q", f"{ours}/to/podman:1")
    podman("pull", "-q", "--tls-verify=false", f"{ours}/to/podman:1")
    shown = json.loads(podman("image", "inspect", f"{ours}/to/podman:1"))[0]
    image_id = daemon.docker("image", "inspect", "-f", "{{.Id}}", "busybox").strip()
    assert f"sha256:{shown['Id']}" == image_id
    pushed = http("HEAD", f"http://{ours}/v2/to/podman/manifests/1")
    assert shown["Digest"] == pushed.headers["Docker-Content-Digest"]
    podman("tag", f"{ours}/to/podman:1", f"{ours}/from/podman:2")
    podman("push", "-q", "--tls-verify=false", f"{ours}/from/podman:2")
    podman("push", "-q", "--tls-verify=false", "--compression-format", "zstd",
           f"{ours}/from/podman:2", f"{ours}/from/podman:zstd")  # fmt: skip
    for tag in ("2", "zstd"):
        daemon.docker("pull", "-q", f"{ours}/from/podman:{tag}")
        told = daemon.docker("run", "--rm", f"{ours}/from/podman:{tag}", "echo", tag)
        assert told.strip() == tag
    found = json.loads(podman("search", "--tls-verify=false", "--list-tags", "--format", "json",
                              f"{ours}/from/podman"))  # fmt: skip
    assert found[0]["Tags"] == ["2", "zstd"]


def test_a_second_push_moves_no_blob(daemon: Daemon, ours: str) -> None:
    daemon.docker("tag", "busybox", f"{ours}/twice:1")
    daemon.docker("push", "-q", f"{ours}/twice:1")
    received = blob_bytes(ours)
    for tag in ("1", "2"):
        daemon.docker("tag", "busybox", f"{ours}/twice:{tag}")
        assert "Layer already exists" in daemon.docker("push", f"{ours}/twice:{tag}")
    assert blob_bytes(ours) == received


@pytest.fixture(scope="module")
def index(ours: str) -> str:
    """Digest of an index of two platforms, `multi:1`."""
    entries = []
    for architecture in ("amd64", "arm64"):
        image = make_image(tar({architecture: b"1"}), architecture=architecture)
        upload(ours, "multi", architecture, image)
        platform = {"os": "linux", "architecture": architecture}
        entries.append({**described(image.media_type, image.manifest), "platform": platform})
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    put_manifest(ours, "multi", "1", INDEX, data)
    return digest(data)


def plain(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[\d*m", "", text)


@needs_docker_28
def test_one_platform_of_an_index_is_pushed_and_the_client_notes_it(
    daemon: Daemon, ours: str, index: str
) -> None:
    name = f"{ours}/multi:1"
    assert f"Digest: {index}" in daemon.docker("pull", name)
    image = make_image(tar({"amd64": b"1"}), architecture="amd64")
    shown = json.loads(daemon.docker("image", "inspect", name))[0]
    assert shown["RepoDigests"] == [f"{ours}/multi@{index}"]
    daemon.docker("tag", name, f"{ours}/single:1")
    pushed = f"1: digest: {digest(image.manifest)} size: {len(image.manifest)}"
    for client in (["docker"], [sys.executable, "-m", "pier"]):
        done = daemon.run([*client, "push", f"{ours}/single:1"])
        output = plain((done.stdout + done.stderr).decode())
        assert pushed in output
        assert "only the available single-platform image was pushed" in output
        assert f"{index} -> {digest(image.manifest)}" in output
    digests = json.loads(daemon.docker("image", "inspect", name))[0]["RepoDigests"]
    assert f"{ours}/single@{digest(image.manifest)}" in digests
    assert f"{ours}/multi@{index}" in digests


@needs_docker_28
def test_platform_chooses_and_what_is_not_there_is_refused(
    daemon: Daemon, ours: str, index: str
) -> None:
    name = f"{ours}/multi:1"
    daemon.docker("pull", "-q", "--platform", "linux/arm64", name)
    shown = json.loads(daemon.docker("image", "inspect", name))[0]
    assert shown["Architecture"] == "arm64"
    words = daemon.docker("pull", "--platform", "linux/s390x", name, status=1)
    assert "was found but does not provide the specified platform (linux/s390x)" in words
    refused = "its platform (linux/arm64) does not match the specified platform (linux/amd64)"
    not_saved = "no suitable export target found for platform linux/amd64"
    for command in ("push", "save", "history", "image inspect", "image rm"):
        asked = (*command.split(), "--platform", "linux/amd64", name)
        for program in (daemon.docker, daemon.pier):
            assert (not_saved if command == "save" else refused) in program(*asked, status=1)
    theirs = daemon.docker("push", "--platform", "linux/arm64", name)
    assert daemon.pier("push", "--platform", "linux/arm64", name) == plain(theirs)
    assert daemon.docker("image", "inspect", "--platform", "linux/arm64/v8", name)
    archive = daemon.run(["docker", "save", "--platform", "linux/arm64", name]).stdout
    assert b"manifest.json" in archive
    daemon.docker("load", "--platform", "linux/arm64", stdin=archive)
    assert "linux/amd64" in daemon.docker(
        "load", "--platform", "linux/amd64", stdin=archive, status=1
    )
    assert "Untagged" in daemon.docker("image", "rm", "--platform", "linux/arm64", name)
    words = daemon.docker("pull", "--platform", "linux/arm64", f"{ours}/multi:amd64", status=1)
    assert "does not match the specified platform (linux/arm64)" in words


def test_what_no_registry_may_hand_out_or_nobody_reads_any_more_is_refused(
    daemon: Daemon, ours: str
) -> None:
    image = make_image(tar({"a": b"1"}))
    foreign = json.loads(image.manifest)
    foreign["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    foreign["layers"][0]["urls"] = ["http://example.invalid/layer"]
    upload(ours, "odd", "1", image)
    put_manifest(ours, "odd", "foreign", image.media_type, json.dumps(foreign).encode())
    assert "foreign" in daemon.docker("pull", f"{ours}/odd:foreign", status=1)
    assert daemon.docker("images", "-q", f"{ours}/odd").strip() == ""


def test_an_image_of_this_machine_s_sources_is_pushed_with_a_warning(
    daemon: Daemon, ours: str, tmp_path: Path
) -> None:
    made = parse_image_config(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": []},
                "history": [{"comment": "Made by Pier with mmdebstrap (bookworm)"}],
            }
        ).encode()
    )
    assert names_sources(made)
    assert not names_sources(ImageConfig())
    image = make_image(tar({"etc/apt/sources.list": b"deb"}))
    config = json.loads(image.config)
    config["history"][0]["comment"] = "Made by Pier with mmdebstrap (bookworm)"
    data = json.dumps(config).encode()
    manifest = json.loads(image.manifest)
    manifest["config"] = described(manifest["config"]["mediaType"], data)
    own = type(image)(data, image.layers, json.dumps(manifest).encode(), image.media_type)
    upload(ours, "own", "1", own)
    daemon.docker("pull", "-q", f"{ours}/own:1")
    warning = f"WARNING: {ours}/own:1 was made from this machine's own package sources"
    assert warning in daemon.docker("push", f"{ours}/own:1")
    built = daemon.run(
        ["docker", "build", "-q", "-t", f"{ours}/built:1", "-"],
        stdin=f"FROM {ours}/own:1\nLABEL a=b\n".encode(),
    )
    assert built.returncode == 0, built.stderr
    assert "own package sources" in daemon.pier("push", f"{ours}/built:1")
    daemon.docker("tag", "busybox", f"{ours}/fine:1")
    assert "WARNING" not in daemon.docker("push", f"{ours}/fine:1")


def test_all_tags_travel(daemon: Daemon, ours: str, tmp_path: Path) -> None:
    with debian_registry(tmp_path / "debian") as debian:
        for tag in ("one", "two", "three"):
            daemon.docker("tag", "busybox", f"{debian}/many:{tag}")
        pushed = daemon.docker("push", "-a", f"{debian}/many")
        assert pushed.count("digest: sha256:") == 3
        tags = json.loads(http("GET", f"http://{debian}/v2/many/tags/list").body)["tags"]
        assert sorted(tags) == ["one", "three", "two"]
        daemon.docker("rmi", *(f"{debian}/many:{tag}" for tag in tags))
        assert daemon.docker("pull", "-a", f"{debian}/many").count("Digest: ") == 3
        listed = daemon.docker("images", "--format", "{{.Tag}}", f"{debian}/many").split()
        assert sorted(listed) == ["one", "three", "two"]


class Relay(socketserver.ThreadingTCPServer):
    """Passes everything on to a registry, and cuts the connection once, after so many bytes."""

    daemon_threads = True

    def __init__(self, target: str, cut_after: int) -> None:
        super().__init__(("127.0.0.1", 0), _Relaying)
        self.target = target
        self.left: float = cut_after

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Relaying(socketserver.BaseRequestHandler):
    server: Relay

    @override
    def handle(self) -> None:
        name, _, port = self.server.target.rpartition(":")
        with socket.create_connection((name, int(port))) as upstream:
            back = threading.Thread(target=_copy, args=(upstream, self.request))
            back.start()
            with contextlib.suppress(OSError):
                while data := self.request.recv(65536):
                    upstream.sendall(data)
                    self.server.left -= len(data)
                    if self.server.left < 0:
                        self.server.left = float("inf")
                        break
            for end in (upstream, self.request):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextlib.contextmanager
def relayed(target: str, cut_after: int) -> Iterator[Relay]:
    with Relay(target, cut_after) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


def test_an_interrupted_push_goes_on_where_it_was_cut(daemon: Daemon, ours: str) -> None:
    noise = os.urandom(12_000_000)
    daemon.docker("import", "-", "large:1", stdin=tar({"noise": noise}))
    received = blob_bytes(ours)
    with relayed(ours, 8_000_000) as relay:
        daemon.docker("tag", "large:1", f"{relay.host}/large:1")
        pushed = daemon.docker("push", f"{relay.host}/large:1")
        assert relay.left == float("inf"), "it was cut"
    assert "Retrying in 1 second" in pushed
    assert "1: digest: sha256:" in pushed
    assert blob_bytes(ours) - received < 12_000_000 + 2_000_000, "not from the beginning"
    daemon.docker("rmi", "large:1", f"{relay.host}/large:1")
    daemon.docker("pull", "-q", f"{ours}/large:1")
    daemon.docker("create", "--name", "large", f"{ours}/large:1", "x")
    copied = daemon.run(["docker", "cp", "large:/noise", "-"]).stdout
    assert noise in copied
    daemon.docker("rm", "large")
