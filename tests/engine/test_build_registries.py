"""Builds upon images in registries: pulls, credentials, platforms."""

import json
from pathlib import Path

import pytest

from tests.clients.registries import pier_registry
from tests.daemon import Daemon
from tests.docker_client import needs_docker_28
from tests.engine.build_support import PIER, said
from tests.root.build_bench import context_tar

pytestmark = pytest.mark.usefixtures("classic_builder")


@pytest.mark.parametrize("program", [["docker"], PIER], ids=["docker", "pier"])
def test_a_base_image_is_pulled_with_the_clients_credentials(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: list[str]
) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    accounts = tmp_path / "htpasswd"
    hashed = bcrypt.hashpw(b"pass", bcrypt.gensalt(rounds=4)).decode()
    accounts.write_text(f"me:{hashed}\n")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    with pier_registry(tmp_path / "registry", "--htpasswd", str(accounts)) as host:
        daemon.docker("login", "-u", "me", "-p", "pass", host)
        daemon.docker("tag", "busybox", f"{host}/private:1")
        daemon.docker("push", "-q", f"{host}/private:1")
        daemon.docker("rmi", f"{host}/private:1")
        dockerfile = f"FROM {host}/private:1\nCOPY --from={host}/private:1 /bin/sh /s\n".encode()
        done = daemon.run([*program, "build", "-"], stdin=dockerfile)
        assert done.returncode == 0, done.stderr
        daemon.docker("rmi", f"{host}/private:1")
        daemon.docker("logout", host)
        done = daemon.run([*program, "build", "--no-cache", "-"], stdin=dockerfile)
        assert done.returncode


def test_a_base_images_pull_is_told(daemon: Daemon, tmp_path: Path) -> None:
    with pier_registry(tmp_path / "registry") as host:
        base = f"{host}/pulled:1"
        daemon.docker("tag", "busybox", base)
        daemon.docker("push", "-q", base)
        daemon.docker("rmi", base)
        output = daemon.docker("build", "-", stdin=f"FROM {base}\n".encode())
        assert "1: Pulling from pulled" in output
        assert f"Status: Downloaded newer image for {base}" in output
        assert output.index("Step 1/1") < output.index("Pulling from") < output.index(" ---> ")
        daemon.docker("rmi", base)
        quiet = daemon.docker("build", "-q", "-", stdin=f"FROM {base}\n".encode())
        assert quiet.startswith("sha256:")
        assert quiet.count("\n") == 1


def test_pull_asks_for_every_image_once(daemon: Daemon, tmp_path: Path) -> None:
    with pier_registry(tmp_path / "registry") as host:
        base, other = f"{host}/base:1", f"{host}/other:1"
        for version in (b"1", b"2"):
            text = b"FROM busybox\nRUN echo " + version + b" > /v\n"
            for name in (base, other):
                daemon.docker("build", "-t", name, "-", stdin=text)
                daemon.docker("push", "-q", name)
        for name in (base, other):
            daemon.docker("build", "-t", name, "-", stdin=b"FROM busybox\nRUN echo old > /v\n")
        dockerfile = (
            f"FROM {base} AS a\nFROM {base}\nCOPY --from={other} /v /w\n"
            f"COPY --from=a /v /x\nRUN --mount=from={other},target=/m cat /v /w /x /m/v\n"
        ).encode()
        assert "\nold\nold\nold\nold\n" in daemon.docker("build", "-", stdin=dockerfile)
        output = daemon.docker("build", "--pull", "-", stdin=dockerfile)
        assert "\n2\n2\n2\n2\n" in output
        assert said(output, "Pulling from base") == 1
        assert said(output, "Pulling from other") == 1


@needs_docker_28
def test_each_stage_is_of_its_own_platform(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    with pier_registry(tmp_path / "registry") as host:
        multi, names = f"{host}/multi:1", []
        for machine in ("amd64", "arm64"):
            archive = context_tar({"Dockerfile": "FROM scratch\nCOPY m /m\n", "m": machine})
            names.append(f"{host}/{machine}:1")
            daemon.docker("build", "-t", names[-1], "--platform", f"linux/{machine}", "-",
                          stdin=archive)  # fmt: skip
            daemon.docker("push", "-q", names[-1])
        daemon.docker("manifest", "create", "--insecure", multi, *names)
        daemon.docker("manifest", "push", "--insecure", multi)
        dockerfile = (
            f"ARG OTHER=linux/arm64\nFROM --platform=$OTHER {multi} AS other\n"
            f"FROM --platform=$BUILDPLATFORM {multi} AS same\n"
            "FROM busybox\nARG TARGETPLATFORM\nARG BUILDPLATFORM\n"
            "COPY --from=other /m /other\nCOPY --from=same /m /same\n"
            f"COPY --from={multi} /m /asked\n"
            "RUN echo $(cat /other /same /asked) $BUILDPLATFORM $TARGETPLATFORM\n"
        ).encode()
        wanted = "arm64amd64amd64 linux/amd64 linux/amd64"
        assert f"\n{wanted}\n" in daemon.docker("build", "-", stdin=dockerfile)
        asked = f"FROM {multi}\nARG TARGETARCH\nLABEL of=$TARGETARCH\n".encode()
        image = daemon.docker("build", "-q", "--platform", "linux/arm64", "-", stdin=asked)
        shown = json.loads(daemon.docker("image", "inspect", image.strip()))[0]
        assert (shown["Architecture"], shown["Config"]["Labels"]) == ("arm64", {"of": "arm64"})
