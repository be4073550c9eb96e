"""ContainerConfig: what runs. Docker's JSON to `ContainerSpec` and back. Pure."""

import posixpath
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.endpoints import EndpointSettings, InvalidEndpoint, to_endpoints, to_mac
from pier.api.schema.host import HostConfig, InvalidPort, parse_port, to_host
from pier.api.schema.shaping import shaped
from pier.api.versions import ApiVersion
from pier.containers.merge import NoCommand
from pier.containers.spec import ContainerSpec, EndpointSpec, Healthcheck
from pier.errors import InvalidArgument
from pier.oci import image as oci

Empty = dict[str, str]
"""The `{}` of a set written as a map."""

_MS_NS = 1_000_000
MAC_ADDRESS_MOVED = (
    "The container-wide MacAddress field is now deprecated. "
    "It should be specified in EndpointsConfig instead."
)


class InvalidHealthcheck(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(why)


class TwoMacAddresses(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(
            "the container-wide MAC address must match the endpoint-specific MAC address "
            "for the main network, or be left empty"
        )


class MacOfSharedNetwork(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("conflicting options: mac-address and the network mode")


class InvalidVolumePath(InvalidArgument):
    def __init__(self, path: str) -> None:
        super().__init__(f"invalid volume specification: '{path}'")


class Healthconfig(msgspec.Struct, rename="pascal", omit_defaults=True):
    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "container.Config"
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Empty] | UnsetType = UNSET
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    healthcheck: Healthconfig | UnsetType = UNSET
    args_escaped: bool | UnsetType = UNSET
    image: str = ""
    volumes: dict[str, Empty] | None = None
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool | UnsetType = UNSET
    mac_address: str | UnsetType = UNSET
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | UnsetType = UNSET
    stop_timeout: int | UnsetType = UNSET
    shell: list[str] | UnsetType = UNSET


class NetworkingConfig(msgspec.Struct, rename="pascal"):
    endpoints_config: dict[str, EndpointSettings | None] = {}


class CreateBody(ContainerConfig, kw_only=True, rename="pascal"):
    """The body of `POST /containers/create`: the config, and two more objects beside its fields."""

    GO_TYPE: ClassVar[str] = "container.CreateRequest"
    host_config: HostConfig = field(default_factory=HostConfig)
    networking_config: NetworkingConfig = field(default_factory=NetworkingConfig)


def to_spec(body: CreateBody, version: ApiVersion) -> ContainerSpec:
    """What a create asks for. Raises InvalidArgument with Docker's sentence."""
    spec = config_to_spec(body)
    if not spec.image and not spec.cmd and not spec.entrypoint:
        raise NoCommand
    host = to_host(body.host_config)
    endpoints = to_endpoints(body.networking_config.endpoints_config)
    if body.mac_address:
        endpoints = _with_mac(endpoints, host.network_mode, body.mac_address, version)
    return shaped(replace(spec, host=host, endpoints=endpoints), version)


def _with_mac(
    endpoints: dict[str, EndpointSpec], mode: str, mac: str, version: ApiVersion
) -> dict[str, EndpointSpec]:
    """A container's MAC address is its main network's; since 1.44 the endpoint's own is meant."""
    if mode in ("host", "none") or mode.startswith("container:"):
        if version.at_least(44):
            return endpoints
        raise MacOfSharedNetwork
    name = _main_network(mode)
    endpoint = endpoints.get(name, EndpointSpec())
    try:
        address = to_mac(mac)
    except InvalidArgument as error:
        raise InvalidEndpoint(name, error) from error
    if version.at_least(44) and endpoint.mac_address not in ("", address):
        raise TwoMacAddresses
    return {**endpoints, name: replace(endpoint, mac_address=address)}


def _main_network(mode: str) -> str:
    return "bridge" if mode == "default" else mode


def deprecations(body: CreateBody, version: ApiVersion) -> list[str]:
    """Warnings about what the version takes, and newer ones will not."""
    return [MAC_ADDRESS_MOVED] if body.mac_address and version.at_least(44) else []


def config_to_spec(config: ContainerConfig) -> ContainerSpec:
    """Raises InvalidArgument."""
    return ContainerSpec(
        image=config.image,
        hostname=config.hostname,
        domainname=config.domainname,
        user=config.user,
        attach_stdin=config.attach_stdin,
        attach_stdout=config.attach_stdout,
        attach_stderr=config.attach_stderr,
        tty=config.tty,
        open_stdin=config.open_stdin,
        stdin_once=config.stdin_once,
        env=tuple(config.env or ()),
        cmd=_words(config.cmd),
        entrypoint=_words(config.entrypoint),
        healthcheck=_to_healthcheck(config.healthcheck),
        exposed_ports=_ports(config.exposed_ports or {}),
        volumes=_volumes(config.volumes or {}),
        working_dir=config.working_dir,
        network_disabled=config.network_disabled is True,
        on_build=tuple(config.on_build or ()),
        shell=tuple(config.shell or ()),
        labels=config.labels or {},
        stop_signal=config.stop_signal or "",
        stop_timeout_s=None if config.stop_timeout is UNSET else config.stop_timeout,
        args_escaped=config.args_escaped is True,
    )


def _words(value: list[str] | str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _ports(ports: Iterable[str]) -> tuple[str, ...]:
    """Ports such as "80", "80/tcp" and "8000-8010/udp" as single ports, sorted."""
    found = set()
    for text in ports:
        numbers, slash, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        start, kind = parse_port(f"{first}{slash}{protocol}")
        end, _ = parse_port(f"{last or first}{slash}{protocol}")
        if end < start:
            raise InvalidPort(text)
        found |= {(number, kind) for number in range(start, end + 1)}
    return tuple(f"{number}/{kind}" for number, kind in sorted(found))


def _volumes(paths: Iterable[str]) -> tuple[str, ...]:
    for path in paths:
        if not path or posixpath.normpath(path) in ("/", "//"):
            raise InvalidVolumePath(path)
    return tuple(sorted(paths))


def _to_healthcheck(json: Healthconfig | UnsetType) -> Healthcheck | None:
    if json is UNSET:
        return None
    for what, duration in (
        ("Interval", json.interval),
        ("Timeout", json.timeout),
        ("StartPeriod", json.start_period),
        ("StartInterval", json.start_interval),
    ):
        if duration and duration < _MS_NS:
            raise InvalidHealthcheck(f"{what} in Healthcheck cannot be less than 1ms")
    if json.retries < 0:
        raise InvalidHealthcheck("Retries in Healthcheck cannot be negative")
    return Healthcheck(
        test=tuple(json.test),
        interval_ns=json.interval,
        timeout_ns=json.timeout,
        start_period_ns=json.start_period,
        start_interval_ns=json.start_interval,
        retries=json.retries,
    )


def from_healthcheck(check: Healthcheck | oci.Healthcheck) -> Healthconfig:
    return Healthconfig(
        list(check.test),
        check.interval_ns,
        check.timeout_ns,
        check.start_period_ns,
        check.start_interval_ns,
        check.retries,
    )


def from_spec(spec: ContainerSpec) -> ContainerConfig:
    """The Config of a container's inspect."""
    main = spec.endpoints.get(_main_network(spec.host.network_mode), EndpointSpec())
    return ContainerConfig(
        hostname=spec.hostname,
        domainname=spec.domainname,
        user=spec.user,
        attach_stdin=spec.attach_stdin,
        attach_stdout=spec.attach_stdout,
        attach_stderr=spec.attach_stderr,
        exposed_ports={port: {} for port in spec.exposed_ports} or UNSET,
        tty=spec.tty,
        open_stdin=spec.open_stdin,
        stdin_once=spec.stdin_once,
        env=list(spec.env),
        cmd=list_or_none(spec.cmd),
        healthcheck=UNSET if spec.healthcheck is None else from_healthcheck(spec.healthcheck),
        args_escaped=spec.args_escaped or UNSET,
        image=spec.image,
        volumes={path: {} for path in spec.volumes} or None,
        working_dir=spec.working_dir,
        entrypoint=list_or_none(spec.entrypoint),
        network_disabled=spec.network_disabled or UNSET,
        mac_address=main.mac_address or UNSET,
        on_build=list(spec.on_build) or None,
        labels=dict(spec.labels),
        stop_signal=spec.stop_signal or UNSET,
        stop_timeout=UNSET if spec.stop_timeout_s is None else spec.stop_timeout_s,
        shell=list(spec.shell) or UNSET,
    )


def list_or_none(words: tuple[str, ...] | None) -> list[str] | None:
    return list(words) if words else None
