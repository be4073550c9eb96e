"""Layouts as hosts have them, and control files as the kernel writes them."""

from pathlib import Path

import pytest

from pier.linux import cgroup

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
"""
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"


def test_pure_v2() -> None:
    layout = cgroup.parse_layout(V2, "cpu memory pids\n")
    assert layout.version == 2
    assert layout.path("memory", "/pier/a") == "/sys/fs/cgroup/pier/a"
    assert layout.path(cgroup.UNIFIED, "/pier/a") == "/sys/fs/cgroup/pier/a"


def test_v1_controllers_share_mounts() -> None:
    layout = cgroup.parse_layout(V1, "")
    assert layout.version == 1
    assert layout.path("cpuacct", "/pier/a") == "/sys/fs/cgroup/cpu,cpuacct/pier/a"
    assert set(layout.controllers) == {"cpu", "cpuacct", "memory", "systemd"}


def test_a_hybrid_host_is_v1_with_some_v2_controllers() -> None:
    layout = cgroup.parse_layout(HYBRID, "hugetlb\n")
    assert layout.version == 1
    assert layout.path("hugetlb", "x") == "/sys/fs/cgroup/unified/x"
    assert layout.path("memory", "x") == "/sys/fs/cgroup/memory/x"


def test_control_files() -> None:
    assert cgroup.parse_flat("low 0\noom_kill 2\nodd line here\n") == {"low": 0, "oom_kill": 2}
    assert cgroup.parse_nested("8:0 rbytes=1 wbytes=2\n254:0\n") == {
        "8:0": {"rbytes": 1, "wbytes": 2},
        "254:0": {},
    }
    assert cgroup.parse_number("max\n") is None
    assert cgroup.parse_number("42\n") == 42


@pytest.mark.skipif(cgroup.layout().version == 2, reason="crun leaves nothing on v2")
def test_what_crun_leaves_beside_the_hierarchies_goes(tmp_path: Path) -> None:
    stray = tmp_path / "parent" / "id"
    stray.mkdir(parents=True)
    (stray / "cgroup.procs").write_text("12345")
    (stray / "memory.limit_in_bytes").write_text("1")
    cgroup.remove_stray("/", str(tmp_path))
    assert stray.exists()
    cgroup.remove_stray("/parent/id", str(tmp_path))
    assert list((tmp_path / "parent").iterdir()) == []
