"""cgroup v2 as a nested daemon meets it: the root it sees is a group with processes in it."""

import os
import subprocess
import sys

import pytest

from pier.linux import cgroup

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(cgroup.layout().version != 2, reason="needs cgroup v2"),
]

GROUP = "/pier-test-nested"
CONTAINER = f"""
import os, subprocess, sys
from pier.linux import cgroup, syscalls
root = "/sys/fs/cgroup"
cgroup.write(root + "{GROUP}", "cgroup.procs", "0")
syscalls.unshare(syscalls.CLONE_NEWCGROUP | syscalls.CLONE_NEWNS)
syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
subprocess.run(["umount", "-l", root], check=True)
syscalls.mount("cgroup2", root, "cgroup2")
shell = subprocess.Popen(["sleep", "60"])
try:
    cgroup.make_room()
    cgroup.make_room()
    print(cgroup.read("/proc/self", "cgroup").strip())
    print(cgroup.read(f"/proc/{{shell.pid}}", "cgroup").strip())
    cgroup.write(root, "cgroup.subtree_control", "+memory +pids")
    print(cgroup.read(root, "cgroup.subtree_control").strip())
finally:
    shell.kill()
    shell.wait()
"""


def test_the_root_of_a_container_is_made_free_for_groups_with_controllers() -> None:
    os.mkdir(f"/sys/fs/cgroup{GROUP}")  # noqa: PTH102
    try:
        argv = [sys.executable, "-c", CONTAINER]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.splitlines() == ["0::/init", "0::/init", "memory pids"], done.stderr
    finally:
        cgroup.remove(GROUP)


def test_the_machines_own_root_is_left_alone() -> None:
    before = cgroup.read("/proc/self", "cgroup")
    cgroup.make_room()
    assert cgroup.read("/proc/self", "cgroup") == before
