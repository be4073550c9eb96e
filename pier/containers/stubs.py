"""The lowest layer of every container: mount points and empty files an image may lack.

Docker makes such a layer per container, on top of the image. At the bottom one directory serves
all containers: where the image has the file, the image's wins, and nothing of it ever shows up
in a diff or a commit.
"""

import os
from pathlib import Path

_DIRECTORIES = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys", "sbin")
_FILES = (".dockerenv", "dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf")
_LINKS = {"etc/mtab": "/proc/mounts"}


def make_stubs(root: Path) -> Path:
    """Make what is missing below `root`; twice is fine."""
    root.mkdir(parents=True, exist_ok=True, mode=0o755)
    for name in _DIRECTORIES:
        (root / name).mkdir(exist_ok=True, mode=0o755)
    for name in _FILES:
        os.close(os.open(root / name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o755))
    for name, target in _LINKS.items():
        if not (root / name).is_symlink():
            (root / name).symlink_to(target)
    return root
