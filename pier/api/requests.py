"""Values between the API and the engine that belong to no part below: builds, pulls, facts.

They know nothing of Docker's JSON. What is asked of containers is in `pier.containers.requests`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """One step of a pull, push, load or build, on its way to the client.

    `error` ends the operation. `aux` is a mapping for machines: {"ID": ...}, {"Tag": ...}.
    """

    stream: str = ""
    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    error: str = ""
    error_code: int = 0
    aux: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAuth:
    username: str = ""
    password: str = ""
    server: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What `POST /build` asks, apart from the context. None as a build argument: from nowhere."""

    tags: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    remote: str = ""
    target: str = ""
    platform: str = ""
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    network_mode: str = ""
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False
    remove: bool = True
    force_remove: bool = False
    squash: bool = False
    shm_size: int = 0
    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    security_opt: tuple[str, ...] = ()
    auths: Mapping[str, RegistryAuth] = field(default_factory=dict)
    """By registry host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    name: str
    path: str
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What /info and /version tell about the machine and the daemon."""

    id: str = ""
    hostname: str = ""
    kernel_version: str = ""
    operating_system: str = ""
    os_version: str = ""
    machine: str = "x86_64"
    """As `uname -m` writes it."""
    cpus: int = 1
    memory_bytes: int = 0
    open_files: int = 0
    tasks: int = 0
    data_root: str = "/var/lib/pier"
    backing_filesystem: str = ""
    cgroup_version: str = "1"
    cgroup_driver: str = "cgroupfs"
    memory_limit: bool = True
    swap_limit: bool = True
    cpu_cfs: bool = True
    cpu_shares: bool = True
    cpuset: bool = True
    pids_limit: bool = True
    oom_kill_disable: bool = False
    ipv4_forwarding: bool = True
    security_options: tuple[str, ...] = ("name=seccomp,profile=builtin",)
    runtimes: tuple[RuntimeFacts, ...] = ()
    default_runtime: str = "runc"
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    """"": host with cgroup v1, private with v2."""
    log_driver: str = "json-file"
    init_binary: str = ""
    labels: tuple[str, ...] = ()
    debug: bool = False
    live_restore: bool = False
    experimental: bool = False
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    warnings: tuple[str, ...] = ()
