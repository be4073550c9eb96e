"""What was asked of a container, in Pier's words: it never changes, save by `update`.

One field for each thing Docker's API can ask (surface.md b); `pier.api.schema` translates both
ways, so nothing here has a name or a quirk of the JSON. Units: bytes, nanoseconds (`_ns`),
seconds (`_s`). None means "not asked", where that differs from a zero. A spec is stored as JSON
by msgspec, so every field has a default and fields are only ever added.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pier.oci.image import Healthcheck as Healthcheck  # the image says it in the same words
from pier.runtime.resources import Device as Device  # and a RUN is limited in the same
from pier.runtime.resources import DeviceRate as DeviceRate
from pier.runtime.resources import DeviceRequest as DeviceRequest
from pier.runtime.resources import Resources as Resources
from pier.runtime.resources import Ulimit as Ulimit

MIB = 1024 * 1024
DEFAULT_SHM_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """name: "no" (also ""), "always", "unless-stopped" or "on-failure"."""

    name: str = "no"
    max_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSpec:
    """driver "" means the daemon's default."""

    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """One `-p`. host_port is "", a number, or a range "8000-8010"."""

    port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRequest:
    """One `--mount`. kind: bind, volume, tmpfs or image."""

    kind: str
    target: str
    source: str = ""
    readonly: bool = False
    consistency: str = ""
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    readonly_non_recursive: bool = False
    readonly_force_recursive: bool = False
    no_copy: bool = False
    subpath: str = ""
    volume_labels: Mapping[str, str] = field(default_factory=dict)
    volume_driver: str = ""
    volume_options: Mapping[str, str] = field(default_factory=dict)
    tmpfs_size: int = 0
    tmpfs_mode: int = 0
    tmpfs_options: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """What was asked of the attachment to one network."""

    ipv4: str = ""
    ipv6: str = ""
    link_local_ips: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    mac_address: str = ""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    gateway_priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """What the host is asked to provide: Docker's HostConfig."""

    binds: tuple[str, ...] = ()
    readonly_binds_non_recursive: bool = False
    """What `ro` means to clients older than 1.44: mounts below stay writable."""
    mounts: tuple[MountRequest, ...] = ()
    volumes_from: tuple[str, ...] = ()
    volume_driver: str = ""
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    container_id_file: str = ""
    log: LogSpec = LogSpec()
    network_mode: str = "default"
    """default, bridge, host, none, container:<id>, or a network's name."""
    port_bindings: tuple[PortBinding, ...] = ()
    publish_all_ports: bool = False
    restart: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    links: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    readonly_rootfs: bool = False
    security_opt: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    ipc_mode: str = ""
    pid_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroupns_mode: str = ""
    cgroup: str = ""
    group_add: tuple[str, ...] = ()
    shm_size: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    init: bool | None = None
    runtime: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    console_size: tuple[int, int] = (0, 0)
    """Rows, columns."""
    storage_options: Mapping[str, str] = field(default_factory=dict)
    oom_score_adj: int = 0
    isolation: str = ""
    resources: Resources = field(default_factory=Resources)
    empty: tuple[str, ...] = ()
    """Fields, here and in resources, that were asked for as empty: not the same as not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What to run, and where. After `merge` it holds the image's defaults too."""

    image: str = ""
    """As the user wrote it; the image's ID is in the record."""
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    exposed_ports: tuple[str, ...] = ()
    """ "80/tcp", sorted."""
    volumes: tuple[str, ...] = ()
    """Paths that get an anonymous volume."""
    working_dir: str = ""
    network_disabled: bool = False
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    args_escaped: bool = False
    host: HostSpec = HostSpec()
    endpoints: Mapping[str, EndpointSpec] = field(default_factory=dict)
    """By network name, as asked at create; connect and disconnect change it."""
