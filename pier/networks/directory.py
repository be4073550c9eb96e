"""The names on a network: the containers that are on it, by name and by address. Pure.

A name is a container's, an alias, a short ID or a hostname, or one of these with the network's
name behind a dot.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pier.networks.model import Endpoint


@dataclass(slots=True)
class Directory:
    """The names on one network: lower case, without the last dot."""

    addresses: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """By address: the first name, with the network's behind it."""


def directory(network: str, endpoints: Iterable[Endpoint]) -> Directory:
    """Of everybody on the network called `network`."""
    made = Directory()
    for endpoint in endpoints:
        addresses = [address for address in (endpoint.ipv4, endpoint.ipv6) if address]
        for name in endpoint.dns_names:
            for form in (name.lower(), f"{name}.{network}".lower()):
                made.addresses.setdefault(form, []).extend(addresses)
        for address in addresses if endpoint.dns_names else ():
            made.names[address] = f"{endpoint.dns_names[0]}.{network}"
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one container's DNS is to know, at the time of a question."""

    directories: Sequence[Directory]
    links: dict[str, str]
    servers: tuple[str, ...] = ()
    """Given by the user; () means the host's."""
    options: tuple[str, ...] = ()
    goes_out: bool = True
    """False on internal networks only: nothing is asked outside."""
