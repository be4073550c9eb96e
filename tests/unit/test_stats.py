"""Counters, from the kernel's texts."""

import os
from pathlib import Path

import pytest

from pier.containers.requests import BlockIo, InterfaceStats
from pier.containers.stats import (
    parse_blkio,
    parse_io_stat,
    parse_mem_total,
    parse_net_dev,
    parse_system_ns,
    read_stats,
)
from pier.linux.cgroup import UNIFIED, CgroupLayout

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo: 400 26 0 0 0 0 0 0 400 26 0 0 0 0 0 0
  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0
"""


def test_the_loopback_interface_does_not_count() -> None:
    assert parse_net_dev(NET_DEV) == {
        "eth0": InterfaceStats(rx_bytes=1, rx_packets=2, rx_errors=3, rx_dropped=4, tx_bytes=5,
                               tx_packets=6, tx_errors=7, tx_dropped=8),
    }  # fmt: skip


def test_both_versions_count_blocks_alike() -> None:
    expected = [
        BlockIo(major=8, minor=0, op="read", value=4096),
        BlockIo(major=8, minor=0, op="write", value=512),
    ]
    v1 = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 1\n8:0 Total 4608\nTotal 4608\n"
    assert list(parse_blkio(v1)) == expected
    v2 = "8:0 rbytes=4096 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n"
    assert list(parse_io_stat(v2)) == expected


def test_the_systems_time_is_its_first_seven_fields() -> None:
    text = "cpu  1 2 3 4 5 6 7 100 100 100\ncpu0 9 9\n"
    assert parse_system_ns(text) == 28 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def test_memory_total() -> None:
    assert parse_mem_total("MemTotal:       2048 kB\nMemFree: 1 kB\n") == 2 * 1024 * 1024


@pytest.fixture
def v2(tmp_path: Path) -> CgroupLayout:
    group = tmp_path / "g"
    group.mkdir()
    files = {
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 1\n"
        "throttled_usec 7\n",
        "memory.current": "1000\n",
        "memory.max": "max\n",
        "memory.stat": "anon 5\ninactive_file 6\n",
        "memory.events": "oom 2\n",
        "pids.current": "3\n",
        "pids.max": "max\n",
        "io.stat": "",
    }
    for name, text in files.items():
        (group / name).write_text(text)
    return CgroupLayout(2, {UNIFIED: str(tmp_path)})


def test_version_2_is_read(v2: CgroupLayout) -> None:
    stats = read_stats("/g", os.getpid(), where=v2)
    assert (stats.cpu.total_ns, stats.cpu.user_ns, stats.cpu.kernel_ns) == (30_000, 20_000, 10_000)
    assert (stats.cpu.periods, stats.cpu.throttled_periods, stats.cpu.throttled_ns) == (4, 1, 7000)
    assert stats.memory_usage == 1000
    assert stats.memory_limit == parse_mem_total(Path("/proc/meminfo").read_text())
    assert stats.memory == {"anon": 5, "inactive_file": 6}
    assert stats.memory_failures == 2
    assert (stats.pids, stats.pids_limit) == (3, None)


def test_a_group_that_is_gone_gives_zeros(v2: CgroupLayout) -> None:
    stats = read_stats("/gone", 2**30, where=v2)
    assert stats.memory_usage == stats.pids == stats.cpu.total_ns == 0
    assert stats.interfaces == {}


def test_this_machines_root_group_can_be_read() -> None:
    stats = read_stats("/", os.getpid())
    assert stats.cpu.system_ns > 0
    assert stats.memory_limit > 0
