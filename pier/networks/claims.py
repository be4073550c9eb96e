"""Which addresses, names and interface an endpoint gets, written down before anything is done.

A claim is a row: from then on nobody else gets these addresses, until the row goes.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pier.errors import Forbidden, in_context
from pier.networks import bridge, ipam
from pier.networks.model import (
    SHORT_ID,
    Endpoint,
    EndpointRequest,
    Network,
    SandboxRequest,
)
from pier.networks.store import Records, with_addresses


class AlreadyConnected(Forbidden):
    def __init__(self, container: str, network: str) -> None:
        super().__init__(f"endpoint with name {container} already exists in network {network}")


class CannotConnect(Forbidden):
    def __init__(self, kind: str) -> None:
        reasons = {
            "host": "container sharing network namespace with another container or host "
            "cannot be connected to any other network",
            "null": "container cannot be connected to multiple networks with one of the "
            "networks in private (none) mode",
        }
        super().__init__(reasons[kind])


class Claims:
    """Remembers the address each network gave last, to go on from there."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._last: dict[tuple[str, int], str] = {}

    def claim(self, request: SandboxRequest, networks: Mapping[str, Network]) -> list[Endpoint]:
        """All endpoints of `request`, or none."""
        with self._records.transaction():
            claimed: list[Endpoint] = []
            for name, wanted in request.endpoints.items():
                if any(endpoint.network.id == networks[name].id for endpoint in claimed):
                    raise AlreadyConnected(request.name, networks[name].name)
                try:
                    ipam.check_request(networks[name], wanted)
                except ipam.InvalidEndpoint as error:
                    raise in_context(error, f"invalid config for network {name}") from error
                taken = {endpoint.interface for endpoint in claimed}
                claimed.append(self.claim_one(request, networks[name], wanted, taken))
            return claimed

    def claim_one(
        self,
        request: SandboxRequest,
        network: Network,
        wanted: EndpointRequest,
        taken: set[str],
    ) -> Endpoint:
        """A row of its own: nobody else gets these addresses from now on."""
        endpoint = Endpoint(
            id=secrets.token_hex(32),
            container_id=request.container_id,
            network=network,
            request=wanted,
            resolving=request.resolving,
        )
        if network.driver == "bridge":
            endpoint = replace(
                with_addresses(
                    endpoint,
                    self._address(network, 4, wanted.ipv4),
                    self._address(network, 6, wanted.ipv6),
                ),
                interface=_interface(network, wanted, taken),
                mac=wanted.mac_address or bridge.random_mac(),
                dns_names=dns_names(request, network, wanted),
            )
        self._records.insert_endpoint(endpoint)
        return endpoint

    def _address(self, network: Network, version: int, wanted: str) -> str:
        pool = network.pool4 if version == 4 else network.pool6
        if pool is None:
            return ""
        used = self._records.used_addresses(network.id)
        if wanted:
            return ipam.claim(pool, wanted, used)
        last = self._last.get((network.id, version), "")
        address = ipam.allocate(network, pool, used, last)
        self._last[network.id, version] = address
        return address


def _interface(network: Network, wanted: EndpointRequest, taken: set[str]) -> str:
    chosen = wanted.driver_options.get("com.docker.network.endpoint.ifname", "")
    if chosen and chosen not in taken:
        return chosen
    numbers = range(len(taken) + 1)
    return next(name for n in numbers if (name := f"{network.interface_prefix}{n}") not in taken)


def dns_names(
    request: SandboxRequest, network: Network, wanted: EndpointRequest
) -> tuple[str, ...]:
    """By which other containers find it; the first is also what its address is called."""
    if not network.serves_names:
        return ()
    names = (request.name, *wanted.aliases, request.container_id[:SHORT_ID], request.hostname)
    return tuple(dict.fromkeys(name for name in names if name))


def check_connect(name: str, network: Network, present: Sequence[Endpoint]) -> None:
    """Raise AlreadyConnected or CannotConnect for a container that is on `present`."""
    for endpoint in present:
        if endpoint.network.id == network.id:
            raise AlreadyConnected(name, network.name)
    for driver in (network.driver, *(endpoint.network.driver for endpoint in present)):
        if driver != "bridge":
            raise CannotConnect(driver)
