"""HostConfig both ways: what a container asks of the host. Pure.

Coming in, what no host could do is refused in Docker's words; the rest is for those who know the
host (`pier.containers.validate`). Going out, the nulls and empty lists are Docker's own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.mounts import MountJson, from_mount, to_mount
from pier.api.schema.resources import ResourcesJson, fill_resources, to_resources
from pier.containers.security import MASKED_PATHS, READONLY_PATHS
from pier.containers.spec import (
    DEFAULT_SHM_BYTES,
    HostSpec,
    LogSpec,
    PortBinding,
    RestartPolicy,
)
from pier.errors import InvalidArgument

_POLICIES = ("no", "always", "unless-stopped", "on-failure")
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SCOPE = re.compile(r"%[A-Za-z0-9_.-]{1,15}\Z")
_PROTOCOLS = ("tcp", "udp", "sctp")
_LARGEST_PORT = 65535
_LISTS = (
    "binds", "blkio_weight_device", "cap_add", "cap_drop", "device_cgroup_rules", "device_read_bps",
    "device_read_iops", "device_requests", "device_write_bps", "device_write_iops", "devices",
    "dns", "dns_options", "dns_search", "extra_hosts", "group_add", "port_bindings", "security_opt",
    "ulimits", "volumes_from",
)  # fmt: skip
"""What is null in an answer if nobody asked for it, and empty if it was asked for as empty."""


class InvalidPort(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"invalid port specification: {text}")


class InvalidRestartPolicy(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(f"invalid restart policy: {why}")


class AutoRemoveAndRestart(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("can't create 'AutoRemove' container with restart policy")


class InvalidHostSetting(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


class LogConfig(msgspec.Struct, rename="pascal"):
    type: str = ""
    config: dict[str, str] = {}


class PortBindingJson(msgspec.Struct, rename="pascal"):
    host_ip: str = ""
    host_port: str = ""


class RestartPolicyJson(msgspec.Struct, rename="pascal"):
    GO_TYPE: ClassVar[str] = "container.RestartPolicy"
    name: str = ""
    maximum_retry_count: int = 0


class HostConfig(ResourcesJson, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "container.HostConfig"
    binds: list[str] | None = None
    container_id_file: str = field(default="", name="ContainerIDFile")
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBindingJson] | None] | None = None
    restart_policy: RestartPolicyJson = field(default_factory=RestartPolicyJson)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[MountJson] | UnsetType = UNSET
    console_size: tuple[int, int] = (0, 0)
    annotations: dict[str, str] | UnsetType = UNSET
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | UnsetType = UNSET
    tmpfs: dict[str, str] | UnsetType = UNSET
    uts_mode: str = field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | UnsetType = UNSET
    runtime: str = ""
    isolation: str = ""
    init: bool | UnsetType | None = UNSET
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None


def to_host(json: HostConfig) -> HostSpec:
    """What is asked of the host. Raises InvalidArgument."""
    restart = to_restart(json.restart_policy)
    if json.auto_remove and restart.name != "no":
        raise AutoRemoveAndRestart
    _check_addresses(json)
    return HostSpec(
        binds=tuple(json.binds or ()),
        mounts=tuple(to_mount(mount) for mount in json.mounts or ()),
        volumes_from=tuple(json.volumes_from or ()),
        volume_driver=json.volume_driver,
        tmpfs=json.tmpfs or {},
        container_id_file=json.container_id_file,
        log=LogSpec(driver=json.log_config.type, options=json.log_config.config),
        network_mode=json.network_mode or "default",
        port_bindings=to_port_bindings(json.port_bindings or {}),
        publish_all_ports=json.publish_all_ports,
        restart=restart,
        auto_remove=json.auto_remove,
        links=tuple(json.links or ()),
        dns=tuple(json.dns or ()),
        dns_options=tuple(json.dns_options or ()),
        dns_search=tuple(json.dns_search or ()),
        extra_hosts=tuple(json.extra_hosts or ()),
        cap_add=tuple(json.cap_add or ()),
        cap_drop=tuple(json.cap_drop or ()),
        privileged=json.privileged,
        readonly_rootfs=json.readonly_rootfs,
        security_opt=tuple(json.security_opt or ()),
        masked_paths=_optional(json.masked_paths),
        readonly_paths=_optional(json.readonly_paths),
        ipc_mode=json.ipc_mode,
        pid_mode=json.pid_mode,
        uts_mode=json.uts_mode,
        userns_mode=json.userns_mode,
        cgroupns_mode=json.cgroupns_mode,
        cgroup=json.cgroup,
        group_add=tuple(json.group_add or ()),
        shm_size=json.shm_size,
        sysctls=json.sysctls or {},
        init=None if json.init is UNSET else json.init,
        runtime=json.runtime,
        annotations=json.annotations or {},
        console_size=json.console_size,
        storage_options=json.storage_opt or {},
        oom_score_adj=json.oom_score_adj,
        isolation=json.isolation,
        resources=to_resources(json),
        empty=tuple(name for name in _LISTS if _is_empty(getattr(json, name))),
    )


def _is_empty(value: Sequence[object] | Mapping[str, object] | None) -> bool:
    return value is not None and not value


def _optional(items: list[str] | None) -> tuple[str, ...] | None:
    return None if items is None else tuple(items)


def to_restart(json: RestartPolicyJson) -> RestartPolicy:
    """Raises InvalidRestartPolicy."""
    name, retries = json.name or "no", json.maximum_retry_count
    if name not in _POLICIES:
        raise InvalidRestartPolicy(
            f"unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if retries and name != "on-failure":
        raise InvalidRestartPolicy("maximum retry count can only be used with 'on-failure'")
    if retries < 0:
        raise InvalidRestartPolicy("maximum retry count cannot be negative")
    return RestartPolicy(name=name, max_retries=retries)


def to_port_bindings(
    bindings: Mapping[str, Iterable[PortBindingJson] | None],
) -> tuple[PortBinding, ...]:
    """Raises InvalidPort. A port with an empty list gets one binding to any port, as in Docker."""
    found = []
    for text, items in bindings.items():
        port, protocol = parse_port(text)
        for item in tuple(items or ()) or (PortBindingJson(),):
            _check_binding(item)
            found.append(
                PortBinding(
                    port=port, protocol=protocol, host_ip=item.host_ip, host_port=item.host_port
                )
            )
    return tuple(found)


def _check_binding(item: PortBindingJson) -> None:
    if item.host_port:
        first, last = _port_range(item.host_port)
        if first > last:
            raise InvalidPort(item.host_port)
    if item.host_ip and not _is_address(item.host_ip):
        raise InvalidHostSetting(f"invalid host IP address: {item.host_ip}")


def _port_range(text: str) -> tuple[int, int]:
    match = _PORT.fullmatch(text)
    if not match or int(match[1]) > _LARGEST_PORT or int(match[2] or 0) > _LARGEST_PORT:
        raise InvalidPort(text)
    return int(match[1]), int(match[2] or match[1])


def parse_port(text: str) -> tuple[int, str]:
    """A port such as "80/tcp" or "80". Raises InvalidPort."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    first, last = _port_range(number)
    if first != last or first == 0 or protocol not in _PROTOCOLS:
        raise InvalidPort(text)
    return first, protocol


def _is_address(text: str) -> bool:
    """Not with a scope: ipaddress lets it be any text, and these end up in files and rules."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return "%" not in str(address)


def _check_addresses(json: HostConfig) -> None:
    for server in json.dns or ():
        if not _is_address(_SCOPE.sub("", server)):
            raise InvalidHostSetting(f"invalid DNS address: {server}")
    for line in json.extra_hosts or ():
        name, colon, address = line.partition(":")
        if not name or not colon or not address or not name.isprintable() or " " in name:
            raise InvalidHostSetting(f'bad format for add-host: "{line}"')
        if address != "host-gateway" and not _is_address(address.strip("[]")):
            raise InvalidHostSetting(f'invalid IP address in add-host: "{address}"')
    for path in json.tmpfs or {}:
        if not path.startswith("/"):
            raise InvalidHostSetting(f"invalid mount path: '{path}' mount path must be absolute")


def from_restart(policy: RestartPolicy) -> RestartPolicyJson:
    return RestartPolicyJson(policy.name, policy.max_retries)


def from_host(host: HostSpec) -> HostConfig:
    """The HostConfig of an answer."""
    json = HostConfig(
        binds=list(host.binds),
        container_id_file=host.container_id_file,
        log_config=LogConfig(host.log.driver or "json-file", dict(host.log.options)),
        network_mode="bridge" if host.network_mode == "default" else host.network_mode,
        port_bindings=from_port_bindings(host.port_bindings),
        restart_policy=from_restart(host.restart),
        auto_remove=host.auto_remove,
        volume_driver=host.volume_driver,
        volumes_from=list(host.volumes_from),
        mounts=[from_mount(mount) for mount in host.mounts] or UNSET,
        console_size=host.console_size,
        annotations=dict(host.annotations) or UNSET,
        dns=list(host.dns),
        dns_options=list(host.dns_options),
        dns_search=list(host.dns_search),
        extra_hosts=list(host.extra_hosts),
        group_add=list(host.group_add),
        links=list(host.links) or None,
        publish_all_ports=host.publish_all_ports,
        shm_size=host.shm_size or DEFAULT_SHM_BYTES,
        storage_opt=dict(host.storage_options) or UNSET,
        tmpfs=dict(host.tmpfs) or UNSET,
        runtime=host.runtime,
        isolation=host.isolation,
        init=UNSET if host.init is None else host.init,
    )
    _fill_isolation(json, host)
    fill_resources(json, host.resources)
    for name in _LISTS:
        if not getattr(json, name) and name not in host.empty:
            setattr(json, name, None)
    return json


def _fill_isolation(json: HostConfig, host: HostSpec) -> None:
    json.cap_add = list(host.cap_add)
    json.cap_drop = list(host.cap_drop)
    json.cgroupns_mode = host.cgroupns_mode
    json.ipc_mode = host.ipc_mode
    json.cgroup = host.cgroup
    json.oom_score_adj = host.oom_score_adj
    json.pid_mode = host.pid_mode
    json.privileged = host.privileged
    json.readonly_rootfs = host.readonly_rootfs
    json.security_opt = list(host.security_opt)
    json.uts_mode = host.uts_mode
    json.userns_mode = host.userns_mode
    json.sysctls = dict(host.sysctls) or UNSET
    json.masked_paths = _list(host.masked_paths, host, MASKED_PATHS)
    json.readonly_paths = _list(host.readonly_paths, host, READONLY_PATHS)


def _list(
    paths: tuple[str, ...] | None, host: HostSpec, default: tuple[str, ...]
) -> list[str] | None:
    """Docker writes the defaults out; a privileged container has none."""
    if paths is not None:
        return list(paths)
    return None if host.privileged else list(default)


def from_port_bindings(
    bindings: Iterable[PortBinding],
) -> dict[str, list[PortBindingJson] | None]:
    found: dict[str, list[PortBindingJson] | None] = {}
    for binding in bindings:
        items = found.setdefault(f"{binding.port}/{binding.protocol}", [])
        assert items is not None
        items.append(PortBindingJson(binding.host_ip, binding.host_port))
    return found
