"""The subnets this daemon has for its networks: those of `bridge`, and where others come from."""

import hashlib
from ipaddress import ip_interface, ip_network

from pier.networks.model import AddressPool, Network, NetworkSettings, Pool


def default_pools(settings: NetworkSettings, known: Network | None) -> tuple[Pool, ...]:
    """Of the network `bridge`: as set, else as it was, else to be found."""
    pools = list(known.spec.pools) if known else []
    if settings.bip:
        interface = ip_interface(settings.bip)
        pool = Pool(
            subnet=str(interface.network),
            gateway=str(interface.ip),
            ip_range=settings.fixed_cidr,
        )
        pools = [pool, *(p for p in pools if ":" in p.subnet)]
    if settings.fixed_cidr_v6:
        pools = [p for p in pools if ":" not in p.subnet]
        pools.append(Pool(subnet=str(ip_network(settings.fixed_cidr_v6))))
    return tuple(pools)


def local_ipv6(instance: str) -> AddressPool:
    """A /48 of unique local addresses (RFC 4193) that is always the same on this host."""
    try:
        with open("/etc/machine-id", "rb") as file:
            machine = file.read()
    except FileNotFoundError:
        machine = b""
    digest = hashlib.sha256(machine + instance.encode()).hexdigest()
    return AddressPool(f"fd{digest[:2]}:{digest[2:6]}:{digest[6:10]}::/48", 64)
