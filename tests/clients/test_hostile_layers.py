"""One corpus of hostile archives on every way in: pull, load, import, ADD and cp.

Nothing outside may change, and the same archive gets the same verdict: as a layer by the first
three, as a tree of files, where whiteouts are names like others, by the last two.
"""

import copy
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.image_store import MadeImage, make_image, tar, upload
from tests.clients.registries import digest, pier_registry
from tests.daemon import Daemon
from tests.root.archive_support import tar as archive_of
from tests.root.hostile_archives import HOSTILE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")
CANARY = "precious"
DIFFERENT = {
    # docker cp puts no directory in place of something else, and nothing in place of one
    "link then directory", "link then mode", "link replaced",
    # what a tree's root becomes is decided by the path that cp was given
    "root is a file", "root is a link",
    # ADD takes nobody's word for an owner
    "bad owner",
}  # fmt: skip
"""Where ADD and cp have rules of their own, Docker's."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pier_registry(tmp_path_factory.mktemp("registry") / "root") as host:
        yield host


@pytest.fixture(scope="module")
def outside(daemon: Daemon) -> Path:
    """A file where the corpus's `../outside/precious` may lead from below the data root."""
    directory = daemon.data_root / "outside"
    directory.mkdir()
    (directory / CANARY).write_text("unchanged")
    return directory


def made(name: str, outside: Path) -> bytes:
    members = []
    for info, data in HOSTILE[name]:
        copied = copy.copy(info)
        copied.name = info.name.replace("ABS", str(outside.parent)[1:])
        copied.linkname = info.linkname.replace("ABS", str(outside.parent)[1:])
        members.append((copied, data))
    form = tarfile.GNU_FORMAT if "owner" in name else tarfile.PAX_FORMAT
    return archive_of(*members, form=form)


def accepted(daemon: Daemon, *arguments: str, stdin: bytes = b"") -> bool:
    done = daemon.run(["docker", *arguments], stdin=stdin)
    assert b"Internal" not in done.stderr, done.stderr
    assert b"Traceback" not in done.stderr
    return done.returncode == 0


def saved(image: MadeImage) -> bytes:
    manifest = [{"Config": "c.json", "RepoTags": ["hostile:1"], "Layers": ["layer.tar"]}]
    return tar(
        {
            "layer.tar": image.layers[0],
            "c.json": image.config,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_every_way_in_has_the_same_verdict(
    daemon: Daemon, registry: str, outside: Path, name: str
) -> None:
    data = made(name, outside)
    image = make_image(data)
    tag = digest(data)[7:19]
    upload(registry, "hostile", tag, image)
    layers = {
        "pull": accepted(daemon, "pull", "-q", f"{registry}/hostile:{tag}"),
        "load": accepted(daemon, "load", "-q", stdin=saved(image)),
        "import": accepted(daemon, "import", "-", f"imported:{tag}", stdin=data),
    }
    context = tar({"Dockerfile": b"FROM busybox\nADD x.tar /in/\n", "x.tar": data})
    daemon.docker("create", "--name", "into", "busybox")
    daemon.docker("cp", "-", "into:/", stdin=archive_of((_directory("in"), b"")))
    trees = {
        "ADD": accepted(daemon, "build", "-q", "-t", "added:1", "-", stdin=context),
        "cp": accepted(daemon, "cp", "-", "into:/in", stdin=data),
    }
    daemon.docker("rm", "into")
    assert len(set(layers.values())) == 1, layers
    assert len(set(trees.values())) == 1 + (name in DIFFERENT), trees
    assert [path.name for path in outside.iterdir()] == [CANARY]
    assert (outside / CANARY).read_text() == "unchanged"
    if layers["pull"]:
        # No command is looked up in what was unpacked: it only has to be possible to mount it.
        daemon.docker("create", "--name", "made", f"imported:{tag}", "x")
        daemon.docker("rm", "made")


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info
