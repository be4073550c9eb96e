"""A disk that hangs stops writing, and not the answers that memory can give."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, wait_until


@contextlib.contextmanager
def own_disk(root: Path) -> Iterator[Path]:
    """A small file system that nothing else is on; skips where there are no loop devices."""
    image, place = root / "image", root / "disk"
    place.mkdir(parents=True)
    subprocess.run(["truncate", "-s", "200M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-qF", str(image)], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system of one's own: {mounted.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def frozen(place: Path) -> Iterator[None]:
    """Whoever writes waits until the end of the block."""
    subprocess.run(["fsfreeze", "-f", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(place)], check=True)


@pytest.mark.skipif(shutil.which("fsfreeze") is None, reason="needs fsfreeze")
def test_what_memory_knows_is_answered_while_the_disk_hangs(tmp_path: Path) -> None:
    with own_disk(tmp_path) as disk:
        daemon = Daemon(tmp_path / "root")
        daemon.data_root = disk / "data"
        with daemon:
            daemon.pier("pull", "-q", "busybox")
            daemon.docker("run", "-d", "--name", "web", "--label", "a=b", "busybox", "sleep", "600")
            daemon.docker("create", "--name", "idle", "busybox")
            with frozen(disk):
                create = ["docker", "-H", daemon.host, "create", "--name", "late", "busybox"]
                late = subprocess.Popen(create, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                wait_until(lambda: "the daemon is stuck" in daemon.log.read_text(), "it is noticed")
                assert daemon.docker("ps", "--format", "{{.Names}}") == "web\n"
                names = daemon.docker("ps", "-a", "--format", "{{.Names}}").split()
                assert sorted(names) == ["idle", "web"]
                some = ["ps", "-aq", "--filter", "label=a=b", "--filter", "name=web"]
                assert len(daemon.docker(*some).split()) == 1
                counts = "{{.Containers}} {{.ContainersRunning}} {{.Driver}}"
                assert daemon.docker("info", "--format", counts) == "2 1 overlay2\n"
                assert daemon.docker("version", "--format", "{{.Server.Os}}") == "linux\n"
                assert late.poll() is None
            errors = late.communicate(timeout=60)[1]  # handed to the loop, which goes on
            assert late.returncode == 0, errors
            assert "late" in daemon.docker("ps", "-a", "--format", "{{.Names}}")
            wait_until(lambda: "the daemon goes on" in daemon.log.read_text(), "it is over")
