"""A build FROM an image behind a password: the client's credentials come along."""

import base64
import json
import os
from pathlib import Path

import pytest

from tests.clients.registries import pier_registry
from tests.daemon import Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")


def client_config(directory: Path, host: str) -> Path:
    directory.mkdir()
    auth = base64.b64encode(b"ann:secret").decode()
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return directory


def test_a_private_base_image_is_pulled_with_the_builder_s_own_password(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    file = tmp_path / "htpasswd"
    file.write_text("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=4)).decode() + "\n")
    context = tmp_path / "context"
    context.mkdir()
    with pier_registry(tmp_path / "registry", "--htpasswd", str(file)) as host:
        base = f"{host}/private/base:1"
        (context / "Dockerfile").write_text(
            f"FROM {base} AS one\nRUN echo made > /made\n"
            f"FROM busybox\nCOPY --from=one /made /made\nCOPY --from={base} /bin/busybox /copied\n"
        )
        config = client_config(tmp_path / "ann", host)
        daemon.docker("tag", "busybox", base)
        daemon.docker("--config", str(config), "push", "-q", base)
        monkeypatch.setenv("DOCKER_BUILDKIT", "0")
        for build in (daemon.docker, daemon.pier):
            daemon.docker("rmi", base)
            monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # nothing is known there
            said = build("build", "--no-cache", "-t", "made", str(context), status=1)
            assert "pull access denied" in said or "unauthorized" in said
            monkeypatch.setenv("DOCKER_CONFIG", str(config))
            build("build", "--no-cache", "-t", "made", str(context))
            assert daemon.docker("run", "--rm", "made", "cat", "/made") == "made\n"
