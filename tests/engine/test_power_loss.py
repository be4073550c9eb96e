"""The power goes at moments of pulls, builds, loads, runs and removals.

What the disk had at that moment is mounted, and a daemon started on it: it starts, every list
answers, every image runs with the files it should have or is named as damaged, and is mended.
PIER_POWER_CUTS=200 cuts more often than the suite has time for, and prints what was found.
"""

import contextlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.registries import pier_registry
from tests.daemon import Daemon, wait_until
from tests.invariants import broken
from tests.power import Disk, mounted, power_disk

CUTS = int(os.environ.get("PIER_POWER_CUTS", "12"))
CUTS_A_RUN = 6
FILES = 60
CHECK = ["sh", "-c", "test ! -f /sums || sha256sum -c -s /sums"]
DOCKERFILE = """\
FROM busybox
COPY a /a
COPY b /b
RUN cp -r /a /c && find /a /b /c -type f -exec sha256sum {} + > /sums
CMD ["sh", "-c", "while :; do echo on; date >> /v/log; sleep 0.1; done"]
"""


@dataclass(frozen=True)
class Site:
    """What the cuts have in common: where images come from, besides the disk."""

    image: str
    """Its name at a registry."""
    context: Path
    archive: Path
    first: Path
    """The disk before anything happened to it: busybox is there, and durable."""


def write_context(directory: Path, seed: int) -> None:
    chance = random.Random(seed)
    for part in ("a", "b"):
        (directory / part).mkdir(parents=True, exist_ok=True)
        for number in range(FILES):
            path = directory / part / f"file-{number}"
            path.write_bytes(chance.randbytes(chance.randrange(1, 40_000)))
    (directory / "Dockerfile").write_text(DOCKERFILE)


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    with power_disk() as disk:
        yield disk


@pytest.fixture(scope="module")
def site(disk: Disk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    context, archive = root / "context", root / "big.tar"
    write_context(context, 1)
    with pier_registry(root / "registry") as registry:
        image = f"{registry}/big:1"
        with mounted(disk.image, root / "d" / "data"), Daemon(root / "d") as daemon:
            daemon.docker("build", "-q", "-t", image, str(context))
            daemon.docker("push", "-q", image)
            daemon.docker("tag", image, "loaded:1")
            daemon.docker("save", "-o", str(archive), "loaded:1")
            daemon.docker("rmi", "loaded:1", image)
            daemon.docker("builder", "prune", "-af")
            subprocess.run(["sync", "--file-system", str(daemon.data_root)], check=True)
            first = disk.cut()
            site = Site(image, context, archive, first)
        yield site


def work(daemon: Daemon, site: Site, number: int) -> list[Callable[[], object]]:
    """What goes on while the power is cut; each again and again, beside the others."""

    def quietly(*words: str) -> None:
        daemon.run(["docker", *words])  # the daemon is ended in the middle of it

    def pull() -> None:
        quietly("pull", "-q", site.image)
        quietly("run", "-d", "--name", "pulled", "--restart", "always", "-v", "v:/v", site.image)
        quietly("commit", "pulled", "committed")
        quietly("rm", "-fv", "pulled")
        quietly("rmi", "-f", "committed", site.image)

    def build() -> None:
        write_context(site.context.with_name(f"context-{number}"), random.randrange(10**9))
        quietly("build", "-q", "-t", "built", str(site.context.with_name(f"context-{number}")))
        quietly("run", "--name", "user", "built", *CHECK)
        quietly("rm", "user")

    def load() -> None:
        quietly("load", "-q", "-i", str(site.archive))
        quietly("create", "--name", "made", "-v", "/anonymous", "loaded:1")
        quietly("tag", "loaded:1", "other:1")
        quietly("rm", "-v", "made")
        quietly("rmi", "loaded:1", "other:1")

    return [pull, build, load]


def cuts_of_a_run(disk: Disk, site: Site, root: Path, number: int) -> list[Path]:
    """Let a daemon work, and cut its power at moments of the first seconds."""
    stop = threading.Event()

    def again(job: Callable[[], object]) -> None:
        while not stop.is_set():
            job()

    with Daemon(root) as daemon:
        threads = [threading.Thread(target=again, args=[job]) for job in work(daemon, site, number)]
        for thread in threads:
            thread.start()
        try:
            cuts = []
            for _ in range(CUTS_A_RUN):
                time.sleep(random.uniform(0.1, 2.5))
                cuts.append(disk.cut())
        finally:
            stop.set()
            daemon.kill()
            for thread in threads:
                thread.join()
    return cuts


LISTS = ("images -a", "ps -a --size", "volume ls", "network ls", "system df -v", "info")


def examine(daemon: Daemon, site: Site) -> Counter[str]:
    """Everything that must hold after a cut, and what it had taken."""
    for words in LISTS:
        daemon.docker(*words.split())
    found: Counter[str] = Counter({"starts": 1})
    for image in sorted(set(daemon.docker("images", "-q", "--no-trunc").split())):
        daemon.docker("run", "--rm", "--network", "none", image, *CHECK)
        found["images that run"] += 1
    for container in daemon.docker("ps", "-q", "-f", "status=created").split():
        done = daemon.run(["docker", "start", container])
        assert not done.returncode or b"pull, load or build" in done.stderr, done.stderr
        found["containers that start"] += not done.returncode
    log = daemon.log.read_text()
    found["layers unpacked again"] += log.count("was unpacked again")
    for names in re.findall(r"image (.*) is damaged and not listed", log):
        found["damaged images"] += 1
        mend(daemon, site, names.split(", ")[0])
    check_all_holds(daemon)
    return found


def check_all_holds(daemon: Daemon) -> None:
    """Before long: a restart policy may be at work."""
    found: list[str] = []

    def holds() -> bool:
        found[:] = wrong(daemon)
        return not found

    with contextlib.suppress(AssertionError):
        wait_until(holds, "all holds")
    assert found == []


def wrong(daemon: Daemon) -> list[str]:
    """What is wrong with files and records. Others' tests may have left groups behind."""
    return [line for line in broken(daemon) if not line.startswith(("mount:", "cgroup:"))]


def mend(daemon: Daemon, site: Site, name: str) -> None:
    """A damaged image says so, and is there again after a pull or a load; others can be removed."""
    name = name.removeprefix("docker.io/library/")
    said = daemon.docker("image", "inspect", name, status=1)
    assert "it was damaged" in said, said
    if name == site.image:
        daemon.docker("pull", "-q", name)
    elif name in ("loaded:1", "other:1"):
        daemon.docker("load", "-q", "-i", str(site.archive))
    else:
        daemon.docker("rmi", name)
        return
    daemon.docker("run", "--rm", "--network", "none", name, *CHECK)


@pytest.mark.timeout(180 + 20 * CUTS)
def test_whenever_the_power_goes_all_that_is_left_works(
    disk: Disk, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total: Counter[str] = Counter()
    done = 0
    while done < CUTS:
        root = tmp_path / "d"  # containers know the paths of their volumes
        disk.begin_with(site.first)
        # commit=1: names reach the disk long before the bytes of their files.
        with mounted(disk.image, root / "data", "commit=1"):
            cuts = cuts_of_a_run(disk, site, root, done)
            for cut in cuts[: CUTS - done]:
                done += 1
                # Another device, as the one before is still there: so a daemon knows it.
                with mounted(cut, root / "data"), Daemon(root) as daemon:
                    total += examine(daemon, site)
        for cut in cuts:
            cut.unlink()
    if "PIER_POWER_CUTS" in os.environ:
        with capsys.disabled():
            sys.stdout.write(f"{done} cuts: {dict(total)}\n")


def test_a_damaged_image_is_met_by_no_command_and_removed_by_its_name(own_daemon: Daemon) -> None:
    """A config that is gone when the daemon starts, of an image that nobody can pull."""
    daemon = own_daemon
    daemon.docker("build", "-q", "-t", "broken:1", "-", stdin=b"FROM busybox\nLABEL broken=1\n")
    image = daemon.docker("image", "inspect", "-f", "{{.Id}}", "broken:1").strip()
    daemon.kill()
    (daemon.data_root / "content" / "blobs" / "sha256" / image.removeprefix("sha256:")).unlink()
    daemon.start()
    for words in LISTS:
        assert "broken" not in daemon.docker(*words.split())
    daemon.docker("image", "prune", "-f")
    for words in ("image inspect broken:1", "create --pull never broken:1", f"history {image}"):
        assert "it was damaged" in daemon.docker(*words.split(), status=1)
    assert f"Deleted: {image}" in daemon.docker("rmi", "-f", "broken:1")
    assert "it was damaged" not in daemon.docker("rmi", "broken:1", status=1)
    daemon.docker("image", "inspect", "busybox")
