"""What a build makes: outputs of every kind, squashed images, metadata, dates."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.engine.build_support import PIER, Directory, leftovers, said

pytestmark = pytest.mark.usefixtures("classic_builder")


def test_outputs_of_every_kind(daemon: Daemon, context: Directory, tag: str) -> None:
    context.dockerfile(
        "FROM busybox AS make\nRUN mkdir -p /out/d\n"
        "RUN echo 1 > /out/d/f && ln -s /etc/passwd /out/l\n"
        "FROM scratch\nCOPY --from=make /out /\n"
    )
    where = context.path.parent
    before = daemon.docker("images", "-aq")
    daemon.pier("build", "-o", f"type=local,dest={where}/tree", str(context))
    assert (where / "tree/d/f").read_text() == "1\n"
    assert (where / "tree/l").readlink() == Path("/etc/passwd")
    daemon.pier("build", "-o", f"{where}/short", str(context))
    assert (where / "short/d/f").read_text() == "1\n"
    assert daemon.docker("images", "-aq") == before
    daemon.pier("build", "-o", f"type=tar,dest={where}/t.tar", str(context))
    with tarfile.open(where / "t.tar") as tar:
        assert {"d", "d/f", "l"} <= set(tar.getnames())
    done = daemon.run([*PIER, "build", "-o", "-", str(context)])
    assert done.stdout == (where / "t.tar").read_bytes()
    assert b"Step 1/5" in done.stderr
    daemon.pier("build", "-t", tag, "-o", f"type=oci,dest={where}/oci.tar", str(context))
    with tarfile.open(where / "oci.tar") as tar:
        assert {"oci-layout", "index.json"} <= set(tar.getnames())
    daemon.docker("rmi", tag)
    assert f"{tag}:latest" in daemon.docker("load", "-i", str(where / "oci.tar"))
    assert leftovers(daemon) == []


def test_a_local_output_cannot_leave_its_directory(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox AS make\nRUN mkdir /out && ln -s ../../outside /out/link\n"
        "FROM scratch\nCOPY --from=make /out /\n"
    )
    where = context.path.parent
    (where / "outside").mkdir()
    (where / "tree").mkdir()
    (where / "tree/link").symlink_to(where / "outside")
    daemon.pier("build", "-o", f"{where}/tree", str(context))
    context.dockerfile("FROM busybox AS make\nRUN mkdir -p /out/link && echo > /out/link/escaped\n"
                       "FROM scratch\nCOPY --from=make /out /\n")  # fmt: skip
    daemon.pier("build", "-o", f"{where}/tree", str(context), status=1)
    assert list((where / "outside").iterdir()) == []


def test_target_squash_platform_and_pull(daemon: Daemon, context: Directory, tag: str) -> None:
    context.dockerfile(
        "FROM busybox AS one\nRUN echo 1 > /f\nRUN rm /f; echo 2 > /g\nFROM one AS two\nRUN false\n"
    )
    daemon.pier("build", "-t", tag, "--squash", "--target", "one", str(context))
    layers = json.loads(daemon.docker("image", "inspect", tag))[0]["RootFS"]["Layers"]
    base = json.loads(daemon.docker("image", "inspect", "busybox"))[0]["RootFS"]["Layers"]
    assert layers[:-1] == base
    context.dockerfile("FROM scratch\nCOPY Dockerfile /\n")
    daemon.docker("build", "-t", tag, "--platform", "linux/arm64", str(context))
    assert json.loads(daemon.docker("image", "inspect", tag))[0]["Architecture"] == "arm64"
    context.dockerfile("FROM busybox\n")
    refused = daemon.docker("build", "--platform", "linux/s390x", str(context), status=1)
    assert "does not match the specified platform" in refused
    daemon.docker("build", "--pull", str(context))


def test_metadata_and_stages_without_the_cache(
    daemon: Daemon, context: Directory, tmp_path: Path
) -> None:
    context.dockerfile("FROM busybox AS a\nRUN echo 1 > /f\nFROM a AS b\nRUN echo 2 > /g\n")
    path, iidfile = tmp_path / "metadata", tmp_path / "iid"
    words = ("--metadata-file", str(path), "--iidfile", str(iidfile), "-o", "type=image,name=x:y")
    daemon.pier("build", "-t", "meta", *words, str(context))
    assert json.loads(path.read_text()) == {
        "containerimage.config.digest": iidfile.read_text(),
        "image.name": "docker.io/library/meta:latest,docker.io/library/x:y",
    }
    daemon.docker("rmi", "x:y")
    output = daemon.pier("build", "--explain", "--no-cache-filter", "b", str(context))
    assert said(output, "Using cache") == 1
    assert "caching is off for this stage (--no-cache-filter)" in output


def test_the_clients_epoch_is_the_builds(
    daemon: Daemon, context: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.dockerfile("FROM busybox\nRUN echo 1 > /f\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    daemon.pier("build", "-t", "epoch", str(context))
    shown = json.loads(daemon.docker("image", "inspect", "epoch"))[0]
    assert shown["Created"] == "2020-09-13T12:26:40Z"
    told = daemon.docker("run", "--rm", "epoch", "stat", "-c", "%Y", "/f")
    assert told == "1600000000\n"
