"""What a container uses, by its control groups and its network: `docker stats`. surface.md k.5.

The parsing functions are pure; `read_stats` reads a dozen small files, some of which cost the
kernel milliseconds: call it in a thread.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from pier.containers.requests import BlockIo, CpuStats, InterfaceStats, Stats
from pier.linux.cgroup import (
    UNIFIED,
    CgroupLayout,
    layout,
    parse_flat,
    parse_nested,
    parse_number,
    read,
)

_US = 1_000
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CPU_FIELDS = 7
"""user to softirq: what of /proc/stat's first line counts as the system's time."""
_LOOPBACK = "lo"


def read_stats(
    group: str, pid: int, *, networks: bool = True, where: CgroupLayout | None = None
) -> Stats:
    """One sample. group: config.json's cgroupsPath; pid: process 1, for its interfaces.

    A container that ended meanwhile gives zeros. networks: not with the host's network, whose
    counters say nothing about the container.
    """
    where = where or layout()
    interfaces = parse_net_dev(_text(f"/proc/{pid}/net/dev")) if networks else {}
    system_ns = parse_system_ns(_text("/proc/stat"))
    total = parse_mem_total(_text("/proc/meminfo"))
    reader = _read_v2 if where.version == 2 else _read_v1
    return reader(_Groups(where, group), system_ns, total, interfaces)


class _Groups:
    """The control files of one group, whatever hierarchy they are in."""

    def __init__(self, where: CgroupLayout, group: str) -> None:
        self._where = where
        self._group = group

    def text(self, controller: str, name: str) -> str:
        if controller not in self._where.controllers:
            return ""
        return read(self._where.path(controller, self._group), name)

    def number(self, controller: str, name: str) -> int | None:
        """None: "max", or not there."""
        text = self.text(controller, name)
        return parse_number(text) if text.strip() else None

    def count(self, controller: str, name: str) -> int:
        return self.number(controller, name) or 0


def _read_v2(
    groups: _Groups, system_ns: int, total: int, interfaces: dict[str, InterfaceStats]
) -> Stats:
    cpu = parse_flat(groups.text(UNIFIED, "cpu.stat"))
    events = parse_flat(groups.text(UNIFIED, "memory.events"))
    return Stats(
        read_ns=time.time_ns(),
        cpu=CpuStats(
            total_ns=cpu.get("usage_usec", 0) * _US,
            kernel_ns=cpu.get("system_usec", 0) * _US,
            user_ns=cpu.get("user_usec", 0) * _US,
            system_ns=system_ns,
            online_cpus=_online_cpus(),
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_ns=cpu.get("throttled_usec", 0) * _US,
        ),
        memory_usage=groups.count(UNIFIED, "memory.current"),
        memory_failures=events.get("oom", 0),
        memory_limit=_limit(groups.number(UNIFIED, "memory.max"), total),
        memory=parse_flat(groups.text(UNIFIED, "memory.stat")),
        pids=groups.count(UNIFIED, "pids.current"),
        pids_limit=groups.number(UNIFIED, "pids.max"),
        block_io=tuple(parse_io_stat(groups.text(UNIFIED, "io.stat"))),
        interfaces=interfaces,
    )


def _read_v1(
    groups: _Groups, system_ns: int, total: int, interfaces: dict[str, InterfaceStats]
) -> Stats:
    throttling = parse_flat(groups.text("cpu", "cpu.stat"))
    ticks = parse_flat(groups.text("cpuacct", "cpuacct.stat"))
    per_cpu = groups.text("cpuacct", "cpuacct.usage_percpu").split()
    return Stats(
        read_ns=time.time_ns(),
        cpu=CpuStats(
            total_ns=groups.count("cpuacct", "cpuacct.usage"),
            kernel_ns=ticks.get("system", 0) * _TICK_NS,
            user_ns=ticks.get("user", 0) * _TICK_NS,
            percpu_ns=tuple(int(value) for value in per_cpu if value.isdigit()),
            system_ns=system_ns,
            online_cpus=_online_cpus(),
            periods=throttling.get("nr_periods", 0),
            throttled_periods=throttling.get("nr_throttled", 0),
            throttled_ns=throttling.get("throttled_time", 0),
        ),
        memory_usage=groups.count("memory", "memory.usage_in_bytes"),
        memory_max_usage=groups.count("memory", "memory.max_usage_in_bytes"),
        memory_failures=groups.count("memory", "memory.failcnt"),
        memory_limit=_limit(groups.number("memory", "memory.limit_in_bytes"), total),
        memory=parse_flat(groups.text("memory", "memory.stat")),
        pids=groups.count("pids", "pids.current"),
        pids_limit=groups.number("pids", "pids.max"),
        block_io=tuple(
            parse_blkio(groups.text("blkio", "blkio.throttle.io_service_bytes_recursive"))
        ),
        interfaces=interfaces,
    )


def parse_io_stat(text: str) -> Iterable[BlockIo]:
    """v2's io.stat."""
    for device, values in parse_nested(text).items():
        major, _, minor = device.partition(":")
        for key, op in (("rbytes", "read"), ("wbytes", "write")):
            yield BlockIo(major=int(major), minor=int(minor), op=op, value=values.get(key, 0))


def parse_blkio(text: str) -> Iterable[BlockIo]:
    """v1's "8:0 Read 4096" lines; Sync, Async, Discard and totals are left out."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in ("Read", "Write"):
            major, _, minor = fields[0].partition(":")
            op = fields[1].lower()
            yield BlockIo(major=int(major), minor=int(minor), op=op, value=int(fields[2]))


def parse_net_dev(text: str) -> dict[str, InterfaceStats]:
    """proc_pid_net(5): bytes, packets, errs and drop, received in columns 0-3, sent in 8-11."""
    table = {}
    for line in text.splitlines()[2:]:
        name, _, counters = line.partition(":")
        values = [int(value) for value in counters.split()]
        if name.strip() == _LOOPBACK or len(values) < 12:
            continue
        table[name.strip()] = InterfaceStats(
            rx_bytes=values[0],
            rx_packets=values[1],
            rx_errors=values[2],
            rx_dropped=values[3],
            tx_bytes=values[8],
            tx_packets=values[9],
            tx_errors=values[10],
            tx_dropped=values[11],
        )
    return table


def parse_system_ns(text: str) -> int:
    """The time all processors spent since boot, from /proc/stat."""
    fields = text.partition("\n")[0].split()[1 : _CPU_FIELDS + 1]
    return sum(int(field) for field in fields) * _TICK_NS


def parse_mem_total(text: str) -> int:
    """Bytes of memory, from /proc/meminfo."""
    line = next((line for line in text.splitlines() if line.startswith("MemTotal:")), "")
    return int(line.split()[1]) * 1024 if line else 0


def _limit(limit: int | None, total: int) -> int:
    """What can really be had: v1 writes no limit as a number near 2^63."""
    return total if limit is None else min(limit, total or limit)


def _online_cpus() -> int:
    return os.cpu_count() or 1


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
