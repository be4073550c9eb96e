"""Containers as inspect and ps show them. Pure.

A `View` brings together what the answer needs and the container's record does not hold; the
routes collect it from the engine's parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.config import ContainerConfig, from_spec
from pier.api.schema.endpoints import EndpointSettings
from pier.api.schema.host import HostConfig, PortBindingJson, from_host
from pier.api.schema.mounts import MountPointJson, from_mount_points
from pier.api.schema.words import rfc3339, state_text
from pier.api.versions import ApiVersion
from pier.containers.exposed import parse_exposed
from pier.containers.model import Container, Health
from pier.containers.state import State

_NO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A published port; host_port 0: exposed only."""

    port: int
    protocol: str
    host_ip: str = ""
    host_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Where the root file system's layers are, for `GraphDriver`."""

    data: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the daemon takes where a container asked for nothing."""

    runtime: str = "runc"
    ipc_mode: str = "private"
    cgroupns_mode: str = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    container: Container
    endpoints: Mapping[str, EndpointSettings] = dataclass_field(default_factory=dict)
    ports: Sequence[Port] = ()
    image_name: str = ""
    """What ps shows: the name asked for, or the image's ID if that name means another by now."""
    directory: str = ""
    """Of the container's own files: hosts, hostname, resolv.conf, log."""
    exec_ids: Sequence[str] = ()
    graph: Graph | None = None
    size_rw: int | None = None
    size_root_fs: int | None = None
    defaults: Defaults = Defaults()
    sandbox_path: str = ""
    links: Sequence[str] = ()
    """ "/other:/user/alias"."""
    names: Sequence[str] = ()
    """In a list: its own, and "/user/alias" for each link to it."""


class HealthLogJson(msgspec.Struct, rename="pascal"):
    start: str
    end: str
    exit_code: int
    output: str


class HealthJson(msgspec.Struct, rename="pascal"):
    status: str
    failing_streak: int
    log: list[HealthLogJson]


class StateJson(msgspec.Struct, rename="pascal", kw_only=True):
    status: str
    running: bool
    paused: bool
    restarting: bool
    oom_killed: bool = field(name="OOMKilled")
    dead: bool
    pid: int
    exit_code: int
    error: str
    started_at: str
    finished_at: str
    health: HealthJson | UnsetType = UNSET


class GraphDriverJson(msgspec.Struct, rename="pascal"):
    data: dict[str, str]
    name: str


class NetworkSettingsJson(msgspec.Struct, rename="pascal", kw_only=True):
    """All but `sandbox…`, `ports` and `networks` repeats the default bridge's endpoint."""

    bridge: str = ""
    sandbox_id: str = field(default="", name="SandboxID")
    sandbox_key: str = ""
    ports: dict[str, list[PortBindingJson] | None] = {}
    hairpin_mode: bool = False
    link_local_ipv6_address: str = field(default="", name="LinkLocalIPv6Address")
    link_local_ipv6_prefix_len: int = field(default=0, name="LinkLocalIPv6PrefixLen")
    secondary_ip_addresses: None = field(default=None, name="SecondaryIPAddresses")
    secondary_ipv6_addresses: None = field(default=None, name="SecondaryIPv6Addresses")
    endpoint_id: str = field(default="", name="EndpointID")
    gateway: str = ""
    global_ipv6_address: str = field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = field(default=0, name="GlobalIPv6PrefixLen")
    ip_address: str = field(default="", name="IPAddress")
    ip_prefix_len: int = field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = field(default="", name="IPv6Gateway")
    mac_address: str = ""
    networks: dict[str, EndpointSettings] = {}


class InspectJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str
    created: str
    path: str
    args: list[str]
    state: StateJson
    image: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str
    restart_count: int
    driver: str = "overlay2"
    platform: str = "linux"
    mount_label: str = ""
    process_label: str = ""
    app_armor_profile: str = ""
    exec_ids: list[str] | None = field(default=None, name="ExecIDs")
    host_config: HostConfig
    graph_driver: GraphDriverJson | UnsetType = UNSET
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountPointJson]
    config: ContainerConfig
    network_settings: NetworkSettingsJson


class PortJson(msgspec.Struct, rename="pascal", kw_only=True):
    ip: str | UnsetType = field(default=UNSET, name="IP")
    private_port: int
    public_port: int | UnsetType = UNSET
    type: str


class SummaryHostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str
    annotations: dict[str, str] | UnsetType = UNSET


class SummaryNetworks(msgspec.Struct, rename="pascal"):
    networks: dict[str, EndpointSettings]


class SummaryHealth(msgspec.Struct, rename="pascal"):
    status: str
    failing_streak: int


class SummaryJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str
    names: list[str]
    image: str
    image_id: str = field(name="ImageID")
    command: str
    created: int
    ports: list[PortJson]
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str]
    state: str
    status: str
    host_config: SummaryHostConfig
    health: SummaryHealth | UnsetType = UNSET
    network_settings: SummaryNetworks
    mounts: list[MountPointJson]


def _time(time_ns: int) -> str:
    return rfc3339(time_ns) if time_ns else _NO_TIME


def state_json(container: Container) -> StateJson:
    state, status = container.state, container.status
    return StateJson(
        status=state.value,
        running=state.active,
        paused=state is State.PAUSED,
        restarting=state is State.RESTARTING,
        oom_killed=status.oom_killed,
        dead=state is State.DEAD,
        pid=status.pid if state in (State.RUNNING, State.PAUSED) else 0,
        exit_code=status.exit_code,
        error=status.error,
        started_at=_time(status.started_ns),
        finished_at=_time(status.finished_ns),
        health=UNSET if status.health is None else _health_json(status.health),
    )


def _health_json(health: Health) -> HealthJson:
    return HealthJson(
        health.status,
        health.failing_streak,
        [
            HealthLogJson(
                _time(probe.started_ns), _time(probe.ended_ns), probe.exit_code, probe.output
            )
            for probe in health.log
        ],
    )


def inspect_json(view: View, version: ApiVersion) -> InspectJson:
    container = view.container
    spec, words = container.spec, container.path_and_args
    host = from_host(spec.host)
    host.runtime = host.runtime or view.defaults.runtime
    host.ipc_mode = host.ipc_mode or view.defaults.ipc_mode
    host.cgroupns_mode = host.cgroupns_mode or view.defaults.cgroupns_mode
    host.links = list(view.links) or host.links
    return InspectJson(
        id=container.id,
        created=_time(container.created_ns),
        path=words[0] if words else "",
        args=list(words[1:]),
        state=state_json(container),
        image=container.image_id,
        resolv_conf_path=_file(view, "resolv.conf"),
        hostname_path=_file(view, "hostname"),
        hosts_path=_file(view, "hosts"),
        log_path=_log_path(view),
        name=f"/{container.name}",
        restart_count=container.status.restart_count,
        exec_ids=list(view.exec_ids) or None,
        host_config=host,
        graph_driver=UNSET if view.graph is None else _graph(view.graph),
        size_rw=UNSET if view.size_rw is None else view.size_rw,
        size_root_fs=UNSET if view.size_root_fs is None else view.size_root_fs,
        mounts=from_mount_points(container),
        config=from_spec(spec),
        network_settings=_network_settings(view, version),
    )


def _graph(graph: Graph) -> GraphDriverJson:
    return GraphDriverJson(dict(graph.data), "overlay2")


def _file(view: View, name: str) -> str:
    return f"{view.directory}/{name}" if view.directory else ""


def _log_path(view: View) -> str:
    if view.container.spec.host.log.driver not in ("", "json-file"):
        return ""
    return _file(view, f"{view.container.id}-json.log")


def _network_settings(view: View, version: ApiVersion) -> NetworkSettingsJson:
    endpoint = view.endpoints.get("bridge", EndpointSettings())
    return NetworkSettingsJson(
        sandbox_id=view.container.id if view.sandbox_path else "",
        sandbox_key=view.sandbox_path,
        ports=_port_map(view),
        endpoint_id=endpoint.endpoint_id,
        gateway=endpoint.gateway,
        global_ipv6_address=endpoint.global_ipv6_address,
        global_ipv6_prefix_len=endpoint.global_ipv6_prefix_len,
        ip_address=endpoint.ip_address,
        ip_prefix_len=endpoint.ip_prefix_len,
        ipv6_gateway=endpoint.ipv6_gateway,
        mac_address=endpoint.mac_address,
        networks=_shaped_endpoints(view, version),
    )


def _shaped_endpoints(view: View, version: ApiVersion) -> dict[str, EndpointSettings]:
    """Before 1.45 the short ID was among the aliases of a network with names."""
    endpoints = dict(view.endpoints)
    if version.at_least(45):
        return endpoints
    for name, endpoint in endpoints.items():
        if name not in ("bridge", "host", "none"):
            aliases = [*(endpoint.aliases or ()), view.container.short_id]
            endpoints[name] = msgspec.structs.replace(endpoint, aliases=aliases)
    return endpoints


def _port_map(view: View) -> dict[str, list[PortBindingJson] | None]:
    """Only while there is a process: exposed ports are null, published ones a list."""
    if not view.container.state.active:
        return {}
    ports: dict[str, list[PortBindingJson] | None] = {}
    for port in view.ports:
        if port.host_port:
            items = ports.setdefault(f"{port.port}/{port.protocol}", [])
            assert items is not None
            items.append(PortBindingJson(port.host_ip, str(port.host_port)))
    for exposed in view.container.spec.exposed_ports:
        ports.setdefault(exposed, None)
    return ports


def summary_json(view: View, version: ApiVersion, now_ns: int) -> SummaryJson:
    container = view.container
    host, health = container.spec.host, container.status.health
    summary = SummaryJson(
        id=container.id,
        names=list(view.names) or [f"/{container.name}"],
        image=view.image_name or container.spec.image,
        image_id=container.image_id,
        command=_command(container.path_and_args),
        created=container.created_ns // 1_000_000_000,
        ports=port_list(view),
        labels=dict(container.spec.labels),
        state=container.state.value,
        status=state_text(container, now_ns),
        host_config=SummaryHostConfig(
            "bridge" if host.network_mode == "default" else host.network_mode
        ),
        network_settings=SummaryNetworks(_shaped_endpoints(view, version)),
        mounts=from_mount_points(container),
        size_rw=view.size_rw or UNSET,
        size_root_fs=UNSET if view.size_root_fs is None else view.size_root_fs,
    )
    if version.at_least(46) and host.annotations:
        summary.host_config.annotations = dict(host.annotations)
    if health is not None:
        summary.health = SummaryHealth(health.status, health.failing_streak)
    return summary


def _command(words: Sequence[str]) -> str:
    return " ".join([*words[:1], *(_quoted(word) for word in words[1:])])


def _quoted(word: str) -> str:
    """Docker quotes an argument only if it holds a space."""
    return f"'{word}'" if " " in word else word


def port_list(view: View) -> list[PortJson]:
    """Published ports, and those exposed only, while there is a process."""
    if not view.container.state.active:
        return []
    ports = [
        PortJson(
            ip=port.host_ip or UNSET,
            private_port=port.port,
            public_port=port.host_port or UNSET,
            type=port.protocol,
        )
        for port in view.ports
    ]
    published = {(port.port, port.protocol) for port in view.ports}
    ports += [
        PortJson(private_port=exposed.number, type=exposed.protocol)
        for exposed in parse_exposed(view.container.spec.exposed_ports)
        if exposed not in published
    ]
    return sorted(ports, key=lambda port: (port.private_port, port.type, str(port.ip)))
