"""The official docker client through a whole daemon: to and from real registries."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.registries import debian_registry, http, pier_registry, skopeo
from tests.daemon import Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    root = tmp_path_factory.mktemp("registries")
    with ExitStack() as stack:
        ours = stack.enter_context(pier_registry(root / "ours"))
        yield ours, stack.enter_context(debian_registry(root / "debian"))


def test_docker_pushes_pulls_and_runs_and_the_digest_travels(
    daemon: Daemon, registries: tuple[str, str]
) -> None:
    ours, debian = registries
    daemon.docker("tag", "busybox", f"{ours}/team/box:v1")
    pushed = daemon.docker("push", f"{ours}/team/box:v1")
    assert "v1: digest: sha256:" in pushed
    digest = http("HEAD", f"http://{ours}/v2/team/box/manifests/v1").headers[
        "Docker-Content-Digest"
    ]
    assert digest in pushed
    assert "Layer already exists" in daemon.docker("push", f"{ours}/team/box:v1")
    daemon.docker("tag", f"{ours}/team/box:v1", f"{debian}/box:v2")
    assert digest in daemon.docker("push", f"{debian}/box:v2")
    daemon.docker("rmi", "-f", f"{ours}/team/box:v1", f"{debian}/box:v2")
    assert digest in daemon.docker("pull", f"{debian}/box@{digest}")
    pulled = daemon.docker("pull", f"{debian}/box:v2")
    assert "Status: " in pulled
    assert daemon.docker("run", "--rm", f"{debian}/box:v2", "echo", "hello").strip() == "hello"
    shown = json.loads(daemon.docker("image", "inspect", f"{debian}/box:v2"))[0]
    assert f"{debian}/box@{digest}" in shown["RepoDigests"]


def test_skopeo_reads_what_docker_pushed_and_docker_what_skopeo_copied(
    daemon: Daemon, registries: tuple[str, str], tmp_path: Path
) -> None:
    ours, _ = registries
    daemon.docker("tag", "busybox", f"{ours}/mixed:1")
    daemon.docker("push", "-q", f"{ours}/mixed:1")
    skopeo("copy", f"docker://{ours}/mixed:1", f"dir:{tmp_path}/copy")
    skopeo("copy", f"dir:{tmp_path}/copy", f"docker://{ours}/copied:2")
    daemon.docker("pull", "-q", f"{ours}/copied:2")
    assert daemon.docker("run", "--rm", f"{ours}/copied:2", "echo", "x").strip() == "x"


def test_what_is_not_there_is_told_in_docker_s_words(
    daemon: Daemon, registries: tuple[str, str]
) -> None:
    ours, _ = registries
    with pytest.raises(Exception, match=r"may require 'docker login'|repository does not exist"):
        daemon.docker("pull", f"{ours}/nothing:here")
