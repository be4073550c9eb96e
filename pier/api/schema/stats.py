"""A container's figures as `docker stats` reads them. Pure."""

import msgspec
from msgspec import UNSET, UnsetType

from pier.api.schema.words import rfc3339
from pier.containers.requests import CpuStats, InterfaceStats, Stats


class PidsJson(msgspec.Struct, omit_defaults=True):
    current: int = 0
    limit: int = 0


class BlockIoJson(msgspec.Struct):
    major: int
    minor: int
    op: str
    value: int


class BlockIosJson(msgspec.Struct, kw_only=True):
    io_service_bytes_recursive: list[BlockIoJson] | None = None
    io_serviced_recursive: None = None
    io_queue_recursive: None = None
    io_service_time_recursive: None = None
    io_wait_time_recursive: None = None
    io_merged_recursive: None = None
    io_time_recursive: None = None
    sectors_recursive: None = None


class CpuUsageJson(msgspec.Struct):
    total_usage: int = 0
    usage_in_kernelmode: int = 0
    usage_in_usermode: int = 0
    percpu_usage: list[int] | UnsetType = UNSET


class ThrottlingJson(msgspec.Struct):
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CpuJson(msgspec.Struct, kw_only=True):
    cpu_usage: CpuUsageJson = msgspec.field(default_factory=CpuUsageJson)
    system_cpu_usage: int | UnsetType = UNSET
    online_cpus: int | UnsetType = UNSET
    throttling_data: ThrottlingJson = msgspec.field(default_factory=ThrottlingJson)


class MemoryJson(msgspec.Struct, kw_only=True):
    usage: int | UnsetType = UNSET
    max_usage: int | UnsetType = UNSET
    stats: dict[str, int] | UnsetType = UNSET
    failcnt: int | UnsetType = UNSET
    limit: int | UnsetType = UNSET


class StatsJson(msgspec.Struct, kw_only=True):
    id: str
    name: str
    read: str = "0001-01-01T00:00:00Z"
    preread: str = "0001-01-01T00:00:00Z"
    pids_stats: PidsJson = msgspec.field(default_factory=PidsJson)
    blkio_stats: BlockIosJson = msgspec.field(default_factory=BlockIosJson)
    num_procs: int = 0
    storage_stats: dict[str, int] = {}
    cpu_stats: CpuJson = msgspec.field(default_factory=CpuJson)
    precpu_stats: CpuJson = msgspec.field(default_factory=CpuJson)
    memory_stats: MemoryJson = msgspec.field(default_factory=MemoryJson)
    networks: dict[str, InterfaceStats] | UnsetType = UNSET


def stats_json(
    container_id: str, name: str, now: Stats | None, before: Stats | None = None
) -> StatsJson:
    """`before` is the sample that rates are computed against; `now` None: not running."""
    json = StatsJson(id=container_id, name=f"/{name}")
    if before is not None:
        json.preread = rfc3339(before.read_ns)
        json.precpu_stats = _cpu(before.cpu)
    if now is None:
        return json
    json.read = rfc3339(now.read_ns)
    json.pids_stats = PidsJson(now.pids, now.pids_limit or 0)
    json.cpu_stats = _cpu(now.cpu)
    json.memory_stats = _memory(now)
    json.networks = dict(now.interfaces) or UNSET
    json.blkio_stats.io_service_bytes_recursive = [
        BlockIoJson(item.major, item.minor, item.op, item.value) for item in now.block_io
    ]
    return json


def _cpu(cpu: CpuStats) -> CpuJson:
    return CpuJson(
        cpu_usage=CpuUsageJson(
            cpu.total_ns, cpu.kernel_ns, cpu.user_ns, list(cpu.percpu_ns) or UNSET
        ),
        system_cpu_usage=cpu.system_ns or UNSET,
        online_cpus=cpu.online_cpus or UNSET,
        throttling_data=ThrottlingJson(cpu.periods, cpu.throttled_periods, cpu.throttled_ns),
    )


def _memory(stats: Stats) -> MemoryJson:
    return MemoryJson(
        usage=stats.memory_usage,
        max_usage=UNSET if stats.memory_max_usage is None else stats.memory_max_usage,
        stats=dict(stats.memory),
        failcnt=stats.memory_failures or UNSET,
        limit=stats.memory_limit,
    )
