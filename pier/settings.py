"""Settings and paths of one daemon: the defaults, then daemon.json, then the flags.

The keys of daemon.json are dockerd's (dockerd reference, "Daemon configuration file"), and each
is also a flag. A key that Docker has and Pier has not is refused by name, never ignored; so is a
directive that is given both as a flag and in the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pier.errors import InvalidArgument

DEFAULT_CONFIG_FILE = Path("/etc/pier/daemon.json")
_DROP_IN = {
    "hosts": ["unix:///run/docker.sock"],
    "bridge": "docker0",
    "group": "docker",
}
RELOADABLE = frozenset(
    {
        "debug", "log-level", "labels", "registry-mirrors", "insecure-registries",
        "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts",
        "default-runtime", "runtimes", "default-shm-size", "shutdown-timeout",
        "default-stop-timeout", "live-restore", "features",
    }
)  # fmt: skip
"""What SIGHUP takes over without a restart, as dockerd does."""

_NOT_SUPPORTED = frozenset(
    """allow-direct-routing api-cors-header authorization-plugins bip6 bridge-accept-fwmark
    cdi-spec-dirs cluster-advertise containerd containerd-namespace containerd-plugin-namespace
    cpu-rt-period cpu-rt-runtime cri-containerd default-gateway-v6 default-network-opts
    firewall-backend fixed-cidr-v6 ip-forward-no-drop ipv6 metrics-addr network-control-plane-mtu
    network-diagnostic-port node-generic-resources nri-opts raw-logs resolv-conf rootless
    selinux-enabled swarm-default-advertise-addr swarm-raft-election-tick
    swarm-raft-heartbeat-tick userland-proxy-path userns-remap""".split()
)


class InvalidSettings(InvalidArgument):
    """The daemon cannot start, or reload, with these settings."""


class AddressPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base: str
    size: int


class RuntimeSettings(msgspec.Struct, frozen=True, rename="camel"):
    path: str
    runtime_args: list[str] = []


class UlimitSettings(msgspec.Struct, frozen=True, rename="pascal"):
    name: str
    soft: int
    hard: int


class BuilderGC(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool = True
    default_keep_storage: str | int = ""
    default_reserved_space: str | int = ""
    default_max_used_space: str | int = ""


class BuilderSettings(msgspec.Struct, frozen=True):
    gc: BuilderGC = BuilderGC()
    entitlements: dict[str, bool] = {}


class Settings(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """One daemon's settings, under dockerd's names and with its defaults. Sizes may be "64M"."""

    data_root: str = "/var/lib/pier"
    exec_root: str = "/run/pier"
    pidfile: str = ""
    hosts: list[str] = msgspec.field(default_factory=lambda: ["unix:///run/pier/pier.sock"])
    group: str = "pier"
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    debug: bool = False
    log_level: str = "info"
    log_format: str = "text"
    labels: list[str] = []
    log_driver: str = "json-file"
    log_opts: dict[str, str] = {}
    dns: list[str] = []
    dns_opts: list[str] = []
    dns_search: list[str] = []
    bridge: str = "pier0"
    bip: str = ""
    fixed_cidr: str = ""
    default_gateway: str = ""
    default_address_pools: list[AddressPool] = []
    icc: bool = True
    ip: str = "0.0.0.0"  # noqa: S104 -- Docker's default address for published ports
    iptables: bool = True
    ip6tables: bool = True
    ip_forward: bool = True
    ip_masq: bool = True
    mtu: int = 1500
    userland_proxy: bool = False
    registry_mirrors: list[str] = []
    insecure_registries: list[str] = []
    mirrors: dict[str, list[str]] = {}
    """Pier's own: mirrors for any registry, by its host name."""
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    default_ulimits: dict[str, UlimitSettings] = {}
    default_runtime: str = ""
    """"": the first of crun and runc that passes the probe."""
    runtimes: dict[str, RuntimeSettings] = {}
    exec_opts: list[str] = []
    cgroup_parent: str = ""
    init: bool = False
    init_path: str = ""
    default_shm_size: str | int = "64M"
    shutdown_timeout: int = 15
    default_stop_timeout: int = 10
    live_restore: bool = True
    features: dict[str, bool] = {}
    builder: BuilderSettings = BuilderSettings()
    proxies: dict[str, str] = {}
    min_api_version: str = "1.24"
    experimental: bool = False
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    """"": private on cgroup v2, host on v1."""
    host_gateway_ips: list[str] = []
    seccomp_profile: str = "builtin"
    no_new_privileges: bool = False
    storage_driver: str = ""
    storage_opts: list[str] = []

    @property
    def paths(self) -> "Paths":
        return Paths(Path(self.data_root), Path(self.exec_root))

    @property
    def proxy_environment(self) -> dict[str, str]:
        """`proxies` as the variables a client reads: HTTPS_PROXY and its like."""
        return {name.upper().replace("-", "_"): url for name, url in self.proxies.items()}

    @property
    def build_cache_bytes(self) -> int:
        """How large the build cache may grow; 0: nothing was said."""
        gc = self.builder.gc
        chosen = gc.default_max_used_space or gc.default_keep_storage or gc.default_reserved_space
        return parse_size(chosen or 0)

    @property
    def without_effect(self) -> list[str]:
        """Keys that were given and change nothing here: the daemon says so when it starts."""
        given = {
            "live-restore": not self.live_restore,
            "features": bool(self.features),
            "builder.gc.enabled": not self.builder.gc.enabled,
            "builder.entitlements": bool(self.builder.entitlements),
        }
        return [key for key, said in given.items() if said]

    @property
    def default_shm_bytes(self) -> int:
        return parse_size(self.default_shm_size)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where one daemon keeps things. Everything below is named after its record.

    data_root/              survives reboots
        pier.db             records (SQLite)
        content/            blobs by digest, ingests
        snapshots/<id>/     fs/ work/
        containers/<id>/    hosts hostname resolv.conf <id>-json.log
        volumes/<name>/     _data/
        tmp/
    exec_root/              lives as long as the machine is up (tmpfs)
        containers/<id>/    the bundle, and the monitor's socket and exit file
        shm/<id>/           what a container shares as /dev/shm
        mounts/<id>/        parts of volumes and images, to be bound
        runtime/<name>/     the OCI runtime's own state
        builds/ probe/      what runs for a build, what runtimes are tried with
    """

    data_root: Path
    exec_root: Path

    @property
    def database(self) -> Path:
        return self.data_root / "pier.db"

    @property
    def content(self) -> Path:
        return self.data_root / "content"

    @property
    def snapshots(self) -> Path:
        return self.data_root / "snapshots"

    @property
    def volumes(self) -> Path:
        return self.data_root / "volumes"

    @property
    def tmp(self) -> Path:
        return self.data_root / "tmp"

    def container(self, container_id: str) -> Path:
        return self.data_root / "containers" / container_id

    def bundle(self, container_id: str) -> Path:
        return self.exec_root / "containers" / container_id

    def shm(self, container_id: str) -> Path:
        return self.exec_root / "shm" / container_id

    def mounts(self, container_id: str) -> Path:
        return self.exec_root / "mounts" / container_id

    @property
    def closed(self) -> tuple[Path, ...]:
        """Directories only the daemon enters. The exec root itself is open: the socket is there."""
        below = ("containers", "shm", "mounts", "runtime", "builds", "probe")
        return (self.tmp, *(self.exec_root / name for name in below))


def parse_size(size: str | int) -> int:
    """Bytes of "64M", "1g", "512kb" or a number: powers of 1024, as the Docker CLI reads them.

    Raises InvalidSettings.
    """
    if isinstance(size, int):
        return size
    text = size.strip().lower().removesuffix("b").removesuffix("i")
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}.get(text[-1:], 1)
    try:
        return int(float(text.rstrip("kmgt")) * factor)
    except ValueError:
        raise InvalidSettings(f"invalid size: '{size}'") from None


def load(
    flags: Mapping[str, object], config_file: Path | None, *, drop_in: bool = False
) -> Settings:
    """Defaults < drop-in's defaults < `config_file` < `flags`, all by daemon.json's names.

    None: the default file, which need not exist. Raises InvalidSettings.
    """
    in_file = _read(config_file or DEFAULT_CONFIG_FILE, must_exist=config_file is not None)
    if both := sorted(flags.keys() & in_file.keys()):
        raise InvalidSettings(
            "the following directives are specified both as a flag and in the configuration "
            f"file: {', '.join(both)}"
        )
    defaults = _DROP_IN if drop_in else {}
    settings = _convert({**defaults, **in_file, **flags})
    _check(settings)
    return settings


def _read(path: Path, *, must_exist: bool) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes() or b"{}")
    except FileNotFoundError:
        if must_exist:
            raise InvalidSettings(f"no such configuration file: {path}") from None
        return {}
    except ValueError as error:
        raise InvalidSettings(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidSettings(f"{path}: not a JSON object")
    return found


def _convert(merged: Mapping[str, object]) -> Settings:
    if refused := sorted(_NOT_SUPPORTED & merged.keys()):
        raise InvalidSettings(
            f"not supported by Pier: {', '.join(refused)} (see docs/compatibility.md)"
        )
    try:
        return msgspec.convert(merged, Settings, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidSettings(f"the following directives don't match: {error}") from error


def _check(settings: Settings) -> None:
    refusals = {
        "iptables": not settings.iptables,
        "ip6tables": not settings.ip6tables,
        "userland-proxy": settings.userland_proxy,
        "default-gateway": bool(settings.default_gateway),
        "storage-driver": settings.storage_driver not in ("", "overlay2", "overlayfs"),
        "storage-opts": bool(settings.storage_opts),
        "exec-opts": any(o != "native.cgroupdriver=cgroupfs" for o in settings.exec_opts),
        "log-format": settings.log_format not in ("text", "json"),
    }
    for key, refused in refusals.items():
        if refused:
            raise InvalidSettings(f"not supported by Pier: this value of {key}")
    if settings.default_ipc_mode not in ("private", "shareable"):
        raise InvalidSettings(f'IPC mode "{settings.default_ipc_mode}" is not valid as a default')
    if settings.default_cgroupns_mode not in ("", "private", "host"):
        raise InvalidSettings(f'invalid cgroup namespace mode: "{settings.default_cgroupns_mode}"')
    if settings.tlsverify and not settings.tlscacert:
        raise InvalidSettings("tlsverify needs tlscacert: a CA whose clients are let in")
    _ = settings.default_shm_bytes, settings.build_cache_bytes
