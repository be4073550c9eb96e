"""Mounts go where they say, whatever links an image or a volume has in the way."""

import os
from pathlib import Path

import pytest

from pier.runtime.mount_targets import Target, TargetLedAway, check_targets, leads_to

LINKS = {
    "away": "/dev",
    "up": "../../../../dev/./pts",
    "twice": "away",
    "var/run": "/run",
    "run/shm": "/dev/shm",
    "deep/proc": "/proc",
    "loop": "loop",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, target in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/inner").symlink_to("/dev/pts")
    return root


def checked(root: Path, *targets: Target) -> None:
    fd = os.open(root, os.O_PATH)
    try:
        check_targets(fd, targets)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/away", "/dev"),
        ("/away/null", "/dev/null"),
        ("/twice", "/dev"),
        ("/up/ptmx", "/dev/pts/ptmx"),
        ("/var/run/x/../y", "/run/y"),
        ("/../../away", "/dev"),
        ("/missing/below", "/missing/below"),
    ],
)
def test_links_end_in_the_root(root: Path, path: str, real: str) -> None:
    fd = os.open(root, os.O_PATH)
    try:
        assert leads_to(fd, path) == real
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "path", ["/away", "/away/null", "/up", "/twice/pts", "/deep/proc", "/loop"]
)
def test_what_leads_to_the_runtimes_own_is_refused(root: Path, path: str) -> None:
    with pytest.raises(TargetLedAway):
        checked(root, Target(path))


@pytest.mark.parametrize(
    "path", ["/dev", "/dev/null", "/run/shm", "/var/run/lock", "/sys/fs", "/a"]
)
def test_what_was_asked_by_its_name_and_what_is_harmless_may_be(root: Path, path: str) -> None:
    checked(root, Target(path))


def test_links_in_what_is_mounted_before_count_too(root: Path) -> None:
    volume = str(root.parent / "volume")
    checked(root, Target("/data/inner"))
    with pytest.raises(TargetLedAway):
        checked(root, Target("/data", (volume,)), Target("/data/inner"))
    with pytest.raises(TargetLedAway):
        checked(root, Target("/var/run", (volume,)), Target("/run/inner"))
    checked(root, Target("/data", (volume,)), Target("/data/inner/../../tmp"))


def test_what_is_mounted_hides_the_links_below(root: Path) -> None:
    checked(root, Target("/deep"), Target("/deep/proc"))
    (root / "dev").mkdir()
    (root / "dev/null").symlink_to("/proc/kcore")
    checked(root, Target("/dev/null"))
