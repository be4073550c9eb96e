"""Docker's own client on this machine: Debian 12 has 20.10, some tests ask what only 28 can ask."""

import shutil
import subprocess

import pytest


def docker_major() -> int:
    """0 without one."""
    if shutil.which("docker") is None:
        return 0
    shown = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True)
    return int(shown.stdout.split()[2].partition(".")[0])


needs_docker_28 = pytest.mark.skipif(
    docker_major() < 28, reason="needs Docker's client, 28 or newer"
)
