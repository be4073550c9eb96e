"""What the daemon tells of itself and of the machine, as values. Pure."""

from dataclasses import dataclass


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
    log_driver: str = "json-file"
    init_binary: str = ""
    init_version: str = ""
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
