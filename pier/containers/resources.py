"""A container's limits: checked in Docker's words, then written as OCI `linux.resources`. Pure.

The OCI object speaks cgroup v1's language on both versions; the runtime converts it
(config-linux.md, "Control groups"). So the same dictionary serves `create` and `update`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pier.containers.facts import HostFacts
from pier.containers.spec import MIB, DeviceRate, Resources
from pier.errors import InvalidArgument

MINIMUM_MEMORY = 6 * MIB
UNLIMITED = -1
NANO = 1_000_000_000
NANO_CPU_PERIOD_US = 100_000
_PERIOD_US = range(1_000, 1_000_001)
_WEIGHTS = range(10, 1_001)
_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")
_CPU_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")
_LARGEST_NUMBER = 8_192

OciObject = dict[str, object]


class FileWrite(NamedTuple):
    controller: str
    file: str
    value: str


class DeviceNumber(NamedTuple):
    major: int
    minor: int


class Supported(NamedTuple):
    """What of the asked limits this machine can enforce, and what is said about the rest."""

    resources: Resources
    warnings: list[str]


class InvalidResource(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


def _refuse_if(refused: bool, message: str) -> None:
    if refused:
        raise InvalidResource(message)


def with_defaults(resources: Resources, *, update: bool = False) -> Resources:
    """Memory without swap means as much swap again; a swappiness of -1 means not asked.

    A number of processes below one is no limit: for an update that is a word, 0.
    """
    if resources.pids_limit is not None and resources.pids_limit <= 0:
        resources = replace(resources, pids_limit=0 if update else None)
    if resources.memory > 0 and resources.memory_swap == 0 and not update:
        resources = replace(resources, memory_swap=2 * resources.memory)
    if resources.memory_swappiness == UNLIMITED:
        resources = replace(resources, memory_swappiness=None)
    return resources


def supported(resources: Resources, facts: HostFacts, *, update: bool = False) -> Supported:
    """`resources` without what this kernel cannot do. Raises InvalidResource for nonsense.

    `update`: swap may be given alone, as the memory limit is already there.
    """
    warnings: list[str] = []
    resources = with_defaults(resources, update=update)
    for part in (_memory_supported, _cpu_supported, _blkio_supported):
        resources, said = part(resources, facts)
        warnings += said
    _check_memory(resources, update=update)
    _check_cpu(resources, facts)
    _check_blkio(resources)
    for rule in resources.device_cgroup_rules:
        _refuse_if(not _RULE.fullmatch(rule), f"invalid device cgroup rule format: '{rule}'")
    return Supported(resources, warnings)


def _memory_supported(asked: Resources, facts: HostFacts) -> Supported:
    said = []
    kept = asked
    if kept.memory > 0 and not facts.memory:
        said.append(_unsupported("memory limit", "Limitation discarded."))
        kept = replace(kept, memory=0, memory_swap=UNLIMITED)
    if kept.memory > 0 and kept.memory_swap != UNLIMITED and not facts.swap:
        said.append(_unsupported("swap limit", "Memory limited without swap."))
        kept = replace(kept, memory_swap=UNLIMITED)
    if kept.memory_swappiness is not None and not facts.memory_swappiness:
        said.append(_unsupported("memory swappiness", "Memory swappiness discarded."))
        kept = replace(kept, memory_swappiness=None)
    if kept.memory_reservation > 0 and not facts.memory_reservation:
        said.append(_unsupported("memory soft limit", "Limitation discarded."))
        kept = replace(kept, memory_reservation=0)
    if kept.oom_kill_disable is not None and not facts.oom_kill_disable:
        if kept.oom_kill_disable:
            said.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        kept = replace(kept, oom_kill_disable=None)
    if kept.oom_kill_disable and kept.memory == 0:
        said.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can "
            "result in the system running out of resources."
        )
    if kept.pids_limit is not None and not facts.pids:
        if kept.pids_limit > 0:
            said.append(_unsupported("PIDs limit", "PIDs limit discarded."))
        kept = replace(kept, pids_limit=None)
    return Supported(kept, said)


def _cpu_supported(asked: Resources, facts: HostFacts) -> Supported:
    said = []
    kept = asked
    _refuse_if(
        kept.nano_cpus > 0 and not facts.cpu_cfs,
        "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the "
        "cgroup is not mounted",
    )
    if kept.cpu_shares > 0 and not facts.cpu_shares:
        said.append(
            "Your kernel does not support CPU shares or the cgroup is not mounted. "
            "Shares discarded."
        )
        kept = replace(kept, cpu_shares=0)
    if (kept.cpu_period_us or kept.cpu_quota_us) and not facts.cpu_cfs:
        said.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
        kept = replace(kept, cpu_period_us=0, cpu_quota_us=0)
    if (kept.cpuset_cpus or kept.cpuset_mems) and not facts.cpuset:
        said.append(
            "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."
        )
        kept = replace(kept, cpuset_cpus="", cpuset_mems="")
    return Supported(kept, said)


def _blkio_supported(asked: Resources, facts: HostFacts) -> Supported:
    said = []
    kept = asked
    if kept.blkio_weight > 0 and not facts.blkio_weight:
        said.append(_no_blkio("weight", "Weight discarded."))
        kept = replace(kept, blkio_weight=0)
    if kept.blkio_weight_device and not facts.blkio_weight_device:
        said.append(_no_blkio("weight_device", "Weight-device discarded."))
        kept = replace(kept, blkio_weight_device=())
    if facts.blkio_throttle:
        return Supported(kept, said)
    if kept.device_read_bps or kept.device_write_bps:
        said.append(_no_blkio("BPS limit", "Block I/O BPS limit discarded."))
    if kept.device_read_iops or kept.device_write_iops:
        said.append(_no_blkio("IOPS limit", "Block I/O IOPS limit discarded."))
    without = replace(
        kept, device_read_bps=(), device_write_bps=(), device_read_iops=(), device_write_iops=()
    )
    return Supported(without, said)


def _unsupported(what: str, then: str) -> str:
    return f"Your kernel does not support {what} capabilities or the cgroup is not mounted. {then}"


def _no_blkio(what: str, then: str) -> str:
    return f"Your kernel does not support Block I/O {what} or the cgroup is not mounted. {then}"


def _check_memory(asked: Resources, *, update: bool) -> None:
    memory, swap = asked.memory, asked.memory_swap
    _refuse_if(memory != 0 and memory < MINIMUM_MEMORY, "Minimum memory limit allowed is 6MB")
    _refuse_if(
        memory > 0 and 0 < swap < memory,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    )
    _refuse_if(
        memory == 0 and swap > 0 and not update,
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    )
    reservation = asked.memory_reservation
    _refuse_if(0 < reservation < MINIMUM_MEMORY, "Minimum memory reservation allowed is 6MB")
    _refuse_if(
        0 < memory < reservation,
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    )
    swappiness = asked.memory_swappiness
    _refuse_if(
        swappiness is not None and not 0 <= swappiness <= 100,
        f"Invalid value: {swappiness}, valid memory swappiness range is 0-100",
    )


def _check_cpu(asked: Resources, facts: HostFacts) -> None:
    both = "Conflicting options: Nano CPUs and CPU {} cannot both be set"
    _refuse_if(asked.nano_cpus > 0 and asked.cpu_period_us > 0, both.format("Period"))
    _refuse_if(asked.nano_cpus > 0 and asked.cpu_quota_us > 0, both.format("Quota"))
    _refuse_if(
        not 0 <= asked.nano_cpus <= facts.cpus * NANO,
        f"range of CPUs is from 0.01 to {facts.cpus}.00, as there are only {facts.cpus} CPUs "
        "available",
    )
    _refuse_if(
        asked.cpu_shares < 0,
        f"invalid CPU shares ({asked.cpu_shares}): value must be a positive integer",
    )
    _refuse_if(
        asked.cpu_period_us != 0 and asked.cpu_period_us not in _PERIOD_US,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )
    _refuse_if(
        0 < asked.cpu_quota_us < _PERIOD_US.start,
        "CPU cfs quota can not be less than 1ms (i.e. 1000)",
    )
    _check_realtime(asked, facts)
    _check_list("cpus", "CPUs", asked.cpuset_cpus, facts.cpuset_cpus)
    _check_list("mems", "memory nodes", asked.cpuset_mems, facts.cpuset_mems)


def _check_realtime(asked: Resources, facts: HostFacts) -> None:
    period, runtime = asked.cpu_rt_period_us, asked.cpu_rt_runtime_us
    _refuse_if(
        bool(period or runtime) and not facts.cpu_realtime,
        "Your kernel does not support CPU real-time scheduler",
    )
    _refuse_if(
        period != 0 and runtime != 0 and runtime > period,
        "cpu real-time runtime cannot be higher than cpu real-time period",
    )


def _check_list(kind: str, things: str, asked: str, available: str) -> None:
    if not asked:
        return
    try:
        missing = parse_list(asked) - parse_list(available or asked)
    except ValueError as error:
        raise InvalidResource(f"Invalid value {asked} for cpuset {kind}: {error}") from None
    _refuse_if(
        bool(missing),
        f"Requested {things} are not available - requested {asked}, available: {available}",
    )


def parse_list(text: str) -> frozenset[int]:
    """Numbers as the kernel writes sets of them, "0-3,8". Raises ValueError, with the reason."""
    numbers: set[int] = set()
    if text and not _CPU_LIST.fullmatch(text):
        raise ValueError(f"invalid format: {text}")
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if low > high:
            raise ValueError(f"invalid format: {text}")
        if high > _LARGEST_NUMBER:
            raise ValueError(f"value of out range, maximum is {_LARGEST_NUMBER}")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def _check_blkio(asked: Resources) -> None:
    _refuse_if(
        asked.blkio_weight != 0 and asked.blkio_weight not in _WEIGHTS,
        "Range of blkio weight is from 10 to 1000",
    )
    for device in asked.blkio_weight_device:
        _refuse_if(
            device.rate not in _WEIGHTS, f"Range of blkio weight is from 10 to 1000: {device.path}"
        )


def resources_to_oci(
    resources: Resources, devices: Mapping[str, DeviceNumber] | None = None
) -> OciObject:
    """OCI `linux.resources`, without device rules: what `create` and `update` have in common.

    `devices` holds the numbers of the block devices that the limits name. What was not asked is
    left out, so an update changes nothing else. So are limits that end: a new group has none, and
    for one that is there see `limits_ended`. `resources` comes from `supported`.
    """
    parts = {
        "cpu": _cpu_to_oci(resources),
        "memory": _memory_to_oci(resources),
        "pids": _pids_to_oci(resources),
        "blockIO": _blkio_to_oci(resources, devices or {}),
    }
    return {name: part for name, part in parts.items() if part}


def _cpu_to_oci(asked: Resources) -> OciObject:
    period, quota = asked.cpu_period_us, asked.cpu_quota_us
    if asked.nano_cpus:
        period = NANO_CPU_PERIOD_US
        quota = asked.nano_cpus * NANO_CPU_PERIOD_US // NANO
    return _without_zeros(
        {
            "shares": asked.cpu_shares,
            "period": period,
            "quota": max(quota, 0),  # crun 1.8 writes -1 as 2^64-1
            "realtimePeriod": asked.cpu_rt_period_us,
            "realtimeRuntime": asked.cpu_rt_runtime_us,
            "cpus": asked.cpuset_cpus,
            "mems": asked.cpuset_mems,
        }
    )


def _memory_to_oci(asked: Resources) -> OciObject:
    part = _without_zeros(
        {
            "limit": asked.memory,
            "reservation": asked.memory_reservation,
            "swap": asked.memory_swap,
        }
    )
    if asked.memory_swappiness is not None:
        part["swappiness"] = asked.memory_swappiness
    if asked.oom_kill_disable:
        part["disableOOMKiller"] = True
    return part


def _pids_to_oci(asked: Resources) -> OciObject:
    return {"limit": asked.pids_limit} if asked.pids_limit else {}


def limits_ended(changes: Mapping[str, object], *, cgroup_version: int) -> list[FileWrite]:
    """What takes away the limits that an update asks to end; crun 1.8 has no word for it.

    changes: fields of Resources that were asked for, by name.
    """
    writes = []
    pids, quota = changes.get("pids_limit"), changes.get("cpu_quota_us")
    if isinstance(pids, int) and pids <= 0:
        writes.append(FileWrite("pids", "pids.max", "max"))
    if isinstance(quota, int) and quota < 0:
        if cgroup_version == 2:
            writes.append(FileWrite("cpu", "cpu.max", "max"))
        else:
            writes.append(FileWrite("cpu", "cpu.cfs_quota_us", "-1"))
    return writes


def _blkio_to_oci(asked: Resources, devices: Mapping[str, DeviceNumber]) -> OciObject:
    lists = {
        "throttleReadBpsDevice": asked.device_read_bps,
        "throttleWriteBpsDevice": asked.device_write_bps,
        "throttleReadIOPSDevice": asked.device_read_iops,
        "throttleWriteIOPSDevice": asked.device_write_iops,
    }
    return _without_zeros(
        {
            "weight": asked.blkio_weight,
            "weightDevice": _rates(asked.blkio_weight_device, devices, "weight"),
            **{name: _rates(rates, devices, "rate") for name, rates in lists.items()},
        }
    )


def _rates(
    rates: Sequence[DeviceRate], devices: Mapping[str, DeviceNumber], word: str
) -> list[OciObject]:
    return [
        {
            "major": devices[rate.path].major,
            "minor": devices[rate.path].minor,
            word: rate.rate,
        }
        for rate in rates
    ]


def _without_zeros(part: OciObject) -> OciObject:
    return {name: value for name, value in part.items() if value}
