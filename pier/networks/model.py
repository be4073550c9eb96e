"""Networks, endpoints and published ports as values. Addresses are text, in canonical form.

Fields are only ever added, and have defaults: specs are stored as JSON by msgspec.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DEFAULT_MTU = 1500
DEFAULT_BRIDGE = "pier0"
PREDEFINED = ("bridge", "host", "none")
SHORT_ID = 12

_BRIDGE = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_PREFIX = "com.docker.network.container_iface_prefix"


@dataclass(frozen=True, slots=True)
class AddressPool:
    """A range that is cut into subnets of prefix length `size`."""

    base: str
    size: int


DEFAULT_ADDRESS_POOLS = (
    AddressPool("172.17.0.0/16", 16),
    AddressPool("172.18.0.0/16", 16),
    AddressPool("172.19.0.0/16", 16),
    AddressPool("172.20.0.0/14", 16),
    AddressPool("172.24.0.0/14", 16),
    AddressPool("172.28.0.0/14", 16),
    AddressPool("192.168.0.0/16", 20),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What the daemon was told about networks; dockerd's keys, without its JSON."""

    bridge: str = DEFAULT_BRIDGE
    """Device of the network `bridge`. Also names the instance: table, aliases."""
    bip: str = ""
    """Address and prefix of that device, "10.1.0.1/16"; "": the first free pool."""
    fixed_cidr: str = ""
    address_pools: tuple[AddressPool, ...] = DEFAULT_ADDRESS_POOLS
    ipv6: bool = False
    fixed_cidr_v6: str = ""
    mtu: int = DEFAULT_MTU
    icc: bool = True
    ip_masquerade: bool = True
    ip_forward: bool = True
    bind_ip: str = ""
    """Where ports are published when nothing is said; "": every address."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_gateway_ips: tuple[str, ...] = ()
    ready_sandboxes: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One subnet of a network. As asked, each may be ""; as decided, only ip_range may."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What is asked of a network; in a record, what was decided."""

    name: str
    driver: str = "bridge"
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam_driver: str = "default"
    ipam_options: Mapping[str, str] | None = None
    """None: not asked for, which an answer tells from none of them."""
    pools: tuple[Pool, ...] = ()
    chosen_subnet: bool = False
    """The user chose a subnet, so a user may choose addresses in it too."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The driver's, under Docker's names (com.docker.network.…): users write them."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    id: str
    spec: NetworkSpec
    created_ns: int = 0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def driver(self) -> str:
        return self.spec.driver

    @property
    def predefined(self) -> bool:
        return self.spec.name in PREDEFINED

    @property
    def serves_names(self) -> bool:
        """Containers on it find each other by name, at 127.0.0.11."""
        return self.spec.driver == "bridge" and not self.predefined

    @property
    def bridge(self) -> str:
        """The name of its device; "" without one."""
        if self.spec.driver != "bridge":
            return ""
        return self.spec.options.get(_BRIDGE + "name") or f"br-{self.id[:SHORT_ID]}"

    @property
    def mtu(self) -> int:
        return int(self.spec.options.get(_MTU) or DEFAULT_MTU)

    @property
    def interface_prefix(self) -> str:
        return self.spec.options.get(_PREFIX) or "eth"

    @property
    def icc(self) -> bool:
        return self._flag("enable_icc")

    @property
    def masquerades(self) -> bool:
        return self._flag("enable_ip_masquerade") and not self.spec.internal

    @property
    def gateway_withheld(self) -> bool:
        """The host has no address on the bridge: another machine is the gateway."""
        return self._flag("inhibit_ipv4", default="false")

    @property
    def bind_ip(self) -> str:
        """Where its containers' ports are published when nothing is said; "": the daemon's."""
        return self.spec.options.get(_BRIDGE + "host_binding_ipv4", "")

    @property
    def pool4(self) -> Pool | None:
        return next((p for p in self.spec.pools if ":" not in p.subnet), None)

    @property
    def pool6(self) -> Pool | None:
        return next((p for p in self.spec.pools if ":" in p.subnet), None)

    def _flag(self, name: str, *, default: str = "true") -> bool:
        return self.spec.options.get(_BRIDGE + name, default).lower() in ("true", "1", "t")


def bridge_options(settings: NetworkSettings) -> Mapping[str, str]:
    """The options of the predefined network `bridge`, as Docker writes them."""
    return {
        _BRIDGE + "default_bridge": "true",
        _BRIDGE + "enable_icc": str(settings.icc).lower(),
        _BRIDGE + "enable_ip_masquerade": str(settings.ip_masquerade).lower(),
        _BRIDGE + "host_binding_ipv4": settings.bind_ip or "0.0.0.0",  # noqa: S104  (Docker's default)
        _BRIDGE + "name": settings.bridge,
        _MTU: str(settings.mtu),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequest:
    """What is asked of a container's attachment to one network."""

    ipv4: str = ""
    ipv6: str = ""
    mac_address: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    link_local_ips: tuple[str, ...] = ()
    gateway_priority: int = 0
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolving:
    """A container's `--dns`, `--dns-search`, `--dns-option`."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running container's attachment to one network. Prefixes are 0 without an address."""

    id: str
    container_id: str
    network: Network
    interface: str = ""
    ipv4: str = ""
    prefix4: int = 0
    gateway4: str = ""
    ipv6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    mac: str = ""
    dns_names: tuple[str, ...] = ()
    request: EndpointRequest = EndpointRequest()
    resolving: Resolving = Resolving()

    @property
    def veth(self) -> str:
        """The host's end, as Docker names it: 7 hex digits, here the endpoint's own."""
        return f"veth{self.id[:7]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """One port to publish. host_port is "", a number, or a range "8000-8010"."""

    port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PublishedPort:
    port: int
    protocol: str
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """What a container that is about to run needs of networks.

    `endpoints` is by network name, as asked; the predefined `host` stands alone.
    """

    container_id: str
    name: str
    hostname: str = ""
    domainname: str = ""
    endpoints: Mapping[str, EndpointRequest] = field(default_factory=dict)
    ports: Sequence[PortRequest] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    """ "name:address", or "name:host-gateway"."""
    sysctls: Mapping[str, str] = field(default_factory=dict)

    @property
    def resolving(self) -> Resolving:
        return Resolving(servers=self.dns, search=self.dns_search, options=self.dns_options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A container's network namespace. The descriptor belongs to Networks, until `take_down`.

    netns_fd -1 and netns_path "": the host's own.
    """

    container_id: str
    netns_fd: int = -1
    netns_path: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    warnings: tuple[str, ...] = ()


def gateway_order(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Best way out first: priority, then not internal, then most families, then name."""

    def rank(endpoint: Endpoint) -> tuple[int, bool, int, str]:
        ways = bool(endpoint.gateway4) + bool(endpoint.gateway6)
        network = endpoint.network
        return -endpoint.request.gateway_priority, network.spec.internal, -ways, network.name

    return sorted(endpoints, key=rank)
