"""What a new network may ask for: refused is what cannot be made, rather than made otherwise."""

import re

from pier.errors import Forbidden, InvalidArgument, NotFound, NotSupported
from pier.networks.model import NetworkSpec

_IPV6_MTU = 1280  # RFC 8200, section 5
_DRIVERS = ("bridge", "host", "null")
_OTHERS_DRIVERS = ("macvlan", "ipvlan", "overlay")


class OnlyOne(Forbidden):
    def __init__(self, driver: str) -> None:
        super().__init__(f'only one instance of "{driver}" network is allowed')


class NoSuchDriver(NotFound):
    def __init__(self, driver: str) -> None:
        super().__init__(f'plugin "{driver}" not found')


def check_spec(spec: NetworkSpec) -> None:
    """Raises NotSupported, NoSuchDriver, OnlyOne, InvalidArgument."""
    if spec.driver in _OTHERS_DRIVERS:
        raise NotSupported(f"network driver {spec.driver} is not supported; use bridge")
    if spec.driver not in _DRIVERS:
        raise NoSuchDriver(spec.driver)
    if spec.driver != "bridge":
        raise OnlyOne(spec.driver)
    if spec.ipam_driver != "default":
        raise NoSuchDriver(spec.ipam_driver)
    if spec.config_only or spec.config_from or spec.ingress:
        raise NotSupported("networks for swarm, and configurations of networks, are not supported")
    if not spec.enable_ipv4 and not spec.enable_ipv6:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    _check_options(spec)


def _check_options(spec: NetworkSpec) -> None:
    for version in (4, 6):
        mode = spec.options.get(f"com.docker.network.bridge.gateway_mode_ipv{version}", "nat")
        if mode != "nat":
            raise NotSupported(f"gateway mode {mode} is not supported; use nat")
    mtu = spec.options.get("com.docker.network.driver.mtu") or "1500"
    if not re.fullmatch(r"[+-]?[0-9]+", mtu):
        raise InvalidArgument(
            f"failed to parse com.docker.network.driver.mtu value: {mtu} "
            f'(strconv.Atoi: parsing "{mtu}": invalid syntax)'
        )
    if not 68 <= int(mtu) <= 65535:
        raise InvalidArgument(f"invalid value {mtu!r} for com.docker.network.driver.mtu")
    if spec.enable_ipv6 and int(mtu) < _IPV6_MTU:
        raise InvalidArgument(f"an MTU of {mtu} is too small for IPv6, which needs {_IPV6_MTU}")
