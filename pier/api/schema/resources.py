"""The limits in a HostConfig or an update, both ways. Pure."""

from collections.abc import Iterable
from dataclasses import fields

import msgspec
from msgspec import field

from pier.api.versions import ApiVersion
from pier.containers.spec import (
    Device,
    DeviceRate,
    DeviceRequest,
    Resources,
    Ulimit,
)


class ThrottleDevice(msgspec.Struct, rename="pascal"):
    path: str = ""
    rate: int = 0


class WeightDevice(msgspec.Struct, rename="pascal"):
    path: str = ""
    weight: int = 0


class DeviceMapping(msgspec.Struct, rename="pascal"):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequestJson(msgspec.Struct, rename="pascal"):
    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class UlimitJson(msgspec.Struct, rename="pascal"):
    name: str = ""
    hard: int = 0
    soft: int = 0


class ResourcesJson(msgspec.Struct, rename="pascal", kw_only=True):
    """Docker's `Resources`, with the defaults its inspect shows."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    device_read_bps: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceReadBps")
    device_write_bps: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceWriteBps")
    device_read_iops: list[ThrottleDevice] | None = field(default=None, name="BlkioDeviceReadIOps")
    device_write_iops: list[ThrottleDevice] | None = field(
        default=None, name="BlkioDeviceWriteIOps"
    )
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequestJson] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[UlimitJson] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = field(default=0, name="IOMaximumBandwidth")


def to_resources(json: ResourcesJson) -> Resources:
    return Resources(
        cpu_shares=json.cpu_shares,
        nano_cpus=json.nano_cpus,
        cpu_period_us=json.cpu_period,
        cpu_quota_us=json.cpu_quota,
        cpu_rt_period_us=json.cpu_realtime_period,
        cpu_rt_runtime_us=json.cpu_realtime_runtime,
        cpuset_cpus=json.cpuset_cpus,
        cpuset_mems=json.cpuset_mems,
        memory=json.memory,
        memory_swap=json.memory_swap,
        memory_reservation=json.memory_reservation,
        memory_swappiness=_asked_swappiness(json.memory_swappiness),
        oom_kill_disable=json.oom_kill_disable,
        pids_limit=json.pids_limit,
        blkio_weight=json.blkio_weight,
        blkio_weight_device=tuple(
            DeviceRate(path=item.path, rate=item.weight) for item in json.blkio_weight_device or ()
        ),
        device_read_bps=_rates(json.device_read_bps),
        device_write_bps=_rates(json.device_write_bps),
        device_read_iops=_rates(json.device_read_iops),
        device_write_iops=_rates(json.device_write_iops),
        devices=tuple(_device(item) for item in json.devices or ()),
        device_cgroup_rules=tuple(json.device_cgroup_rules or ()),
        device_requests=tuple(_device_request(item) for item in json.device_requests or ()),
        ulimits=tuple(
            Ulimit(name=item.name, soft=item.soft, hard=item.hard) for item in json.ulimits or ()
        ),
        cgroup_parent=json.cgroup_parent,
        cpu_count=json.cpu_count,
        cpu_percent=json.cpu_percent,
        io_maximum_iops=json.io_maximum_iops,
        io_maximum_bandwidth=json.io_maximum_bandwidth,
    )


def _asked_swappiness(value: int | None) -> int | None:
    """The CLI always sends -1 for "not asked"."""
    return None if value == -1 else value


def _rates(items: Iterable[ThrottleDevice] | None) -> tuple[DeviceRate, ...]:
    return tuple(DeviceRate(path=item.path, rate=item.rate) for item in items or ())


def _device(item: DeviceMapping) -> Device:
    return Device(
        path_on_host=item.path_on_host,
        path_in_container=item.path_in_container,
        permissions=item.cgroup_permissions or "rwm",
    )


def _device_request(item: DeviceRequestJson) -> DeviceRequest:
    return DeviceRequest(
        driver=item.driver,
        count=item.count,
        device_ids=tuple(item.device_ids or ()),
        capabilities=tuple(tuple(group) for group in item.capabilities or ()),
        options=item.options or {},
    )


_DEVICE_LISTS = (
    "blkio_weight_device",
    "device_read_bps",
    "device_write_bps",
    "device_read_iops",
    "device_write_iops",
)


def asked_changes(resources: Resources, version: ApiVersion) -> dict[str, object]:
    """The fields of an update that were asked for: in Docker's JSON a zero means "as it is"."""
    unasked = Resources()
    ignored = set(_DEVICE_LISTS)
    if not version.at_least(40):
        ignored.add("pids_limit")
    values = {item.name: getattr(resources, item.name) for item in fields(Resources)}
    return {
        name: value
        for name, value in values.items()
        if name not in ignored and value != getattr(unasked, name)
    }


def _from_rates(rates: Iterable[DeviceRate]) -> list[ThrottleDevice]:
    return [ThrottleDevice(rate.path, rate.rate) for rate in rates]


def fill_resources(json: ResourcesJson, resources: Resources) -> None:
    """Write the limits into `json`, a HostConfig for an answer."""
    json.cpu_shares = resources.cpu_shares
    json.memory = resources.memory
    json.nano_cpus = resources.nano_cpus
    json.cgroup_parent = resources.cgroup_parent
    json.cpu_count = resources.cpu_count
    json.cpu_percent = resources.cpu_percent
    json.io_maximum_iops = resources.io_maximum_iops
    json.io_maximum_bandwidth = resources.io_maximum_bandwidth
    json.cpu_period = resources.cpu_period_us
    json.cpu_quota = resources.cpu_quota_us
    json.cpu_realtime_period = resources.cpu_rt_period_us
    json.cpu_realtime_runtime = resources.cpu_rt_runtime_us
    json.cpuset_cpus = resources.cpuset_cpus
    json.cpuset_mems = resources.cpuset_mems
    json.memory_reservation = resources.memory_reservation
    json.memory_swap = resources.memory_swap
    json.memory_swappiness = resources.memory_swappiness
    json.oom_kill_disable = bool(resources.oom_kill_disable)
    json.pids_limit = resources.pids_limit
    json.ulimits = [UlimitJson(item.name, item.hard, item.soft) for item in resources.ulimits]
    _fill_devices(json, resources)


def _fill_devices(json: ResourcesJson, resources: Resources) -> None:
    json.blkio_weight = resources.blkio_weight
    json.blkio_weight_device = [
        WeightDevice(item.path, item.rate) for item in resources.blkio_weight_device
    ]
    json.device_read_bps = _from_rates(resources.device_read_bps)
    json.device_write_bps = _from_rates(resources.device_write_bps)
    json.device_read_iops = _from_rates(resources.device_read_iops)
    json.device_write_iops = _from_rates(resources.device_write_iops)
    json.devices = [
        DeviceMapping(item.path_on_host, item.path_in_container, item.permissions)
        for item in resources.devices
    ]
    json.device_cgroup_rules = list(resources.device_cgroup_rules)
    json.device_requests = [
        DeviceRequestJson(
            item.driver,
            item.count,
            list(item.device_ids) or None,
            [list(group) for group in item.capabilities],
            dict(item.options),
        )
        for item in resources.device_requests
    ]
