"""What the daemon tells about itself: version, info, disk usage. Pure."""

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.versions import MAX_VERSION, PIER_VERSION, SERVER_VERSION, ApiVersion
from pier.engine.model import EngineFacts, RuntimeFacts

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_GRAPH_NAMES = {"ext4": "extfs"}  # where Docker's name for a file system is another
_BUILD_TIME = "2026-01-01T00:00:00.000000000+00:00"


class ComponentJson(msgspec.Struct, rename="pascal"):
    name: str
    version: str
    details: dict[str, str] = {}


class PlatformJson(msgspec.Struct, rename="pascal"):
    name: str


class VersionJson(msgspec.Struct, rename="pascal", kw_only=True):
    platform: PlatformJson
    components: list[ComponentJson]
    version: str
    api_version: str
    min_api_version: str = field(name="MinAPIVersion")
    git_commit: str
    go_version: str
    os: str
    arch: str
    kernel_version: str
    experimental: bool | UnsetType = UNSET
    build_time: str


class RuntimeJson(msgspec.Struct, omit_defaults=True):
    path: str = ""
    status: dict[str, str] | UnsetType = UNSET


class CommitJson(msgspec.Struct):
    id: str = field(name="ID")
    expected: str | UnsetType = field(default=UNSET, name="Expected")


class PluginsJson(msgspec.Struct, rename="pascal"):
    volume: list[str]
    network: list[str]
    authorization: list[str] | None
    log: list[str]


class IndexJson(msgspec.Struct, rename="pascal"):
    name: str
    mirrors: list[str]
    secure: bool
    official: bool


class RegistryJson(msgspec.Struct, rename="pascal"):
    insecure_registry_cidrs: list[str] = field(name="InsecureRegistryCIDRs")
    index_configs: dict[str, IndexJson]
    mirrors: list[str]
    allow_nondistributable_artifacts_cidrs: None = field(
        default=None, name="AllowNondistributableArtifactsCIDRs"
    )
    allow_nondistributable_artifacts_hostnames: None = None


class SwarmJson(msgspec.Struct, rename="pascal"):
    node_id: str = field(default="", name="NodeID")
    node_addr: str = ""
    local_node_state: str = "inactive"
    control_available: bool = False
    error: str = ""
    remote_managers: None = None


class FirewallJson(msgspec.Struct, rename="pascal"):
    driver: str = "nftables"


class InfoJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str = field(name="ID")
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str = "overlay2"
    driver_status: list[tuple[str, str]]
    plugins: PluginsJson
    memory_limit: bool
    swap_limit: bool
    kernel_memory: bool = False
    kernel_memory_tcp: bool = field(default=False, name="KernelMemoryTCP")
    cpu_cfs_period: bool
    cpu_cfs_quota: bool
    cpu_shares: bool = field(name="CPUShares")
    cpu_set: bool = field(name="CPUSet")
    pids_limit: bool
    ipv4_forwarding: bool = field(name="IPv4Forwarding")
    bridge_nf_iptables: bool = False
    bridge_nf_ip6tables: bool = field(default=False, name="BridgeNfIp6tables")
    debug: bool
    n_fd: int = field(name="NFd")
    oom_kill_disable: bool
    n_goroutines: int = field(name="NGoroutines")
    system_time: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    n_events_listener: int = field(name="NEventsListener")
    kernel_version: str
    operating_system: str
    os_version: str = field(name="OSVersion")
    os_type: str = field(default="linux", name="OSType")
    architecture: str
    index_server_address: str = "https://index.docker.io/v1/"
    registry_config: RegistryJson
    n_cpu: int = field(name="NCPU")
    mem_total: int
    generic_resources: None = None
    docker_root_dir: str
    http_proxy: str
    https_proxy: str
    no_proxy: str
    name: str
    labels: list[str]
    experimental_build: bool
    server_version: str = SERVER_VERSION
    runtimes: dict[str, RuntimeJson]
    default_runtime: str
    swarm: SwarmJson = field(default_factory=SwarmJson)
    live_restore_enabled: bool
    isolation: str = ""
    init_binary: str
    containerd_commit: CommitJson
    runc_commit: CommitJson
    init_commit: CommitJson
    security_options: list[str]
    firewall_backend: FirewallJson | UnsetType = UNSET
    """Since 1.49."""
    cdi_spec_dirs: list[str] = field(default_factory=list, name="CDISpecDirs")
    warnings: list[str]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    running: int = 0
    paused: int = 0
    stopped: int = 0
    images: int = 0
    listeners: int = 0


def architecture(machine: str) -> str:
    """Go's name for what `uname -m` says."""
    return ARCHITECTURES.get(machine, machine)


def version_json(facts: EngineFacts, minimum: ApiVersion) -> VersionJson:
    arch = architecture(facts.machine)
    details = {
        "ApiVersion": str(MAX_VERSION),
        "Arch": arch,
        "BuildTime": _BUILD_TIME,
        "Experimental": str(facts.experimental).lower(),
        "GitCommit": f"pier-{PIER_VERSION}",
        "GoVersion": "none",
        "KernelVersion": facts.kernel_version,
        "MinAPIVersion": str(minimum),
        "Os": "linux",
    }
    engine = ComponentJson("Engine", SERVER_VERSION, details)
    return VersionJson(
        platform=PlatformJson(f"Pier {PIER_VERSION}"),
        components=[engine, *(_component(runtime) for runtime in facts.runtimes), *_init(facts)],
        version=SERVER_VERSION,
        api_version=str(MAX_VERSION),
        min_api_version=str(minimum),
        git_commit=f"pier-{PIER_VERSION}",
        go_version="none",
        os="linux",
        arch=arch,
        kernel_version=facts.kernel_version,
        experimental=facts.experimental or UNSET,
        build_time=_BUILD_TIME,
    )


def _component(runtime: RuntimeFacts) -> ComponentJson:
    return ComponentJson(runtime.name, runtime.version or "unknown", {"GitCommit": ""})


def _init(facts: EngineFacts) -> list[ComponentJson]:
    """Under Docker's name, whatever program it is."""
    if not facts.init_version:
        return []
    details = {"GitCommit": ""}
    return [ComponentJson("docker-init", facts.init_version.split()[-1], details)]


def info_json(
    facts: EngineFacts, counts: Counts, system_time: str, version: ApiVersion
) -> InfoJson:
    return InfoJson(
        firewall_backend=FirewallJson() if version.at_least(49) else UNSET,
        id=facts.id,
        containers=counts.running + counts.paused + counts.stopped,
        containers_running=counts.running,
        containers_paused=counts.paused,
        containers_stopped=counts.stopped,
        images=counts.images,
        driver_status=[
            (
                "Backing Filesystem",
                _GRAPH_NAMES.get(facts.backing_filesystem, facts.backing_filesystem) or "unknown",
            ),
            ("Supports d_type", "true"),
            ("Using metacopy", "false"),
            ("Native Overlay Diff", "true"),
            ("userxattr", "false"),
        ],
        plugins=PluginsJson(["local"], ["bridge", "host", "null"], None, ["json-file", "local"]),
        memory_limit=facts.memory_limit,
        swap_limit=facts.swap_limit,
        cpu_cfs_period=facts.cpu_cfs,
        cpu_cfs_quota=facts.cpu_cfs,
        cpu_shares=facts.cpu_shares,
        cpu_set=facts.cpuset,
        pids_limit=facts.pids_limit,
        ipv4_forwarding=facts.ipv4_forwarding,
        debug=facts.debug,
        n_fd=facts.open_files,
        oom_kill_disable=facts.oom_kill_disable,
        n_goroutines=facts.tasks,
        system_time=system_time,
        logging_driver=facts.log_driver,
        cgroup_driver=facts.cgroup_driver,
        cgroup_version=facts.cgroup_version,
        n_events_listener=counts.listeners,
        kernel_version=facts.kernel_version,
        operating_system=facts.operating_system,
        os_version=facts.os_version,
        architecture=facts.machine,
        registry_config=_registry(facts),
        n_cpu=facts.cpus,
        mem_total=facts.memory_bytes,
        docker_root_dir=facts.data_root,
        http_proxy=facts.http_proxy,
        https_proxy=facts.https_proxy,
        no_proxy=facts.no_proxy,
        name=facts.hostname,
        labels=list(facts.labels),
        experimental_build=facts.experimental,
        runtimes={runtime.name: RuntimeJson(runtime.path) for runtime in facts.runtimes},
        default_runtime=facts.default_runtime,
        live_restore_enabled=facts.live_restore,
        init_binary=facts.init_binary,
        containerd_commit=CommitJson("", ""),
        runc_commit=_commit(_default_runtime(facts)),
        init_commit=_commit(facts.init_version),
        security_options=list(facts.security_options),
        warnings=list(facts.warnings),
    )


def _default_runtime(facts: EngineFacts) -> str:
    versions = {runtime.name: runtime.version for runtime in facts.runtimes}
    return f"{facts.default_runtime} {versions.get(facts.default_runtime, '')}".strip()


def _commit(text: str) -> CommitJson:
    return CommitJson(text, text)


def _registry(facts: EngineFacts) -> RegistryJson:
    mirrors = list(facts.registry_mirrors)
    official = IndexJson("docker.io", mirrors, secure=True, official=True)
    hosts = [name for name in facts.insecure_registries if "/" not in name]
    indexes = {name: IndexJson(name, [], secure=False, official=False) for name in hosts}
    cidrs = [name for name in facts.insecure_registries if "/" in name]
    return RegistryJson(
        [*cidrs, "::1/128", "127.0.0.0/8"], {"docker.io": official, **indexes}, mirrors
    )


class BuildCacheJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str = field(name="ID")
    parents: list[str] | UnsetType = UNSET
    type: str = "regular"
    description: str
    in_use: bool
    shared: bool
    size: int
    created_at: str
    last_used_at: str | None
    usage_count: int
