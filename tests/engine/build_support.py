"""What the tests of builds share: contexts, and what a build must not leave."""

import subprocess
import sys
from pathlib import Path

from typing_extensions import override

from tests.daemon import Daemon

PIER = [sys.executable, "-m", "pier"]
READY_SANDBOXES = 8
ID_LENGTH = len("sha256:") + 64


class Directory:
    """A build context; `write` makes and changes its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    @override
    def __str__(self) -> str:
        return str(self.path)

    def write(self, **files: str) -> "Directory":
        for name, text in files.items():
            (self.path / name).write_text(text)
        return self

    def dockerfile(self, text: str) -> "Directory":
        return self.write(Dockerfile=text)


def leftovers(daemon: Daemon) -> list[str]:
    """What a build that is over must not leave: directories, mounts, groups, processes, places."""
    found: list[str] = []
    for place in (daemon.exec_root / "builds", daemon.data_root / "tmp"):
        found += [str(path) for path in place.iterdir()] if place.is_dir() else []
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if f"{daemon.exec_root}/builds" in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/pier-test/{daemon.bridge}/*/")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"pier-test/{daemon.bridge}/*/")]
    links = subprocess.run(["ip", "-o", "link", "show", "master", daemon.bridge],
                           capture_output=True, text=True, check=False).stdout  # fmt: skip
    if links.count("veth") > READY_SANDBOXES:
        found.append(links)
    return found


def processes(mark: str) -> list[str]:
    """Command lines that hold `mark`; every test's sleep has its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if f"sleep\0{mark}\0".encode() in line:
            found.append(str(path))
    return found


def said(output: str, words: str) -> int:
    return output.count(words)
