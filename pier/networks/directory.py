"""The names on a network: the containers that are on it, by name and by address. Pure.

A name is a container's, an alias, a short ID or a hostname, or one of these with the network's
name behind a dot.
"""

from collections.abc import Iterable, Mapping, Sequence
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


def links_by_alias(links: Iterable[str]) -> dict[str, list[str]]:
    """Of "name:alias" or "name": alias to the names it means, as they come. Lower case."""
    found: dict[str, list[str]] = {}
    for text in links:
        name, _, alias = text.lower().removeprefix("/").partition(":")
        found.setdefault(alias or name, []).append(name)
    return found


def links_after_rename(links: Sequence[str], old: str, new: str) -> tuple[str, ...]:
    """`links` of a container to one that is called `new` from now on.

    The name that was given stays the first meaning of its alias: another container may get it,
    as with a compose that replaces one. The newest name is the second.
    """
    followed: list[str] = []
    for alias, names in links_by_alias(links).items():
        kept = [names[0], new] if old in names else names
        followed += [f"{name}:{alias}" for name in dict.fromkeys(kept)]
    changed = any(old in names for names in links_by_alias(links).values())
    return tuple(followed) if changed else tuple(links)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one container's DNS is to know, at the time of a question."""

    directories: Sequence[Directory]
    links: Mapping[str, Sequence[str]]
    servers: tuple[str, ...] = ()
    """Given by the user; () means the host's."""
    options: tuple[str, ...] = ()
    goes_out: bool = True
    """False on internal networks only: nothing is asked outside."""
