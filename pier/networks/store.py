"""Networks, endpoints and published ports as rows of the daemon's database.

An endpoint has a row only while its container runs (or is about to): what a stopped container
asked for is in its own spec. So rows say who holds which address and port, and nothing else does.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Protocol

import msgspec

from pier.networks.directory import Directory, directory
from pier.networks.firewall import Forward
from pier.networks.model import (
    Endpoint,
    EndpointRequest,
    Network,
    NetworkSpec,
    Pool,
    PublishedPort,
    Resolving,
)
from pier.store.rows import RowReader


class Database(Protocol):
    """What is used of pier.store.database.Database."""

    def execute(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), /
    ) -> sqlite3.Cursor: ...

    def transaction(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An endpoint, seen from its network."""

    container_id: str
    container_name: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Details:
    """endpoints.spec_json."""

    interface: str = ""
    dns_names: tuple[str, ...] = ()
    request: EndpointRequest = field(default_factory=EndpointRequest)
    resolving: Resolving = field(default_factory=Resolving)


_NETWORKS = "SELECT n.id AS network_id, n.spec_json AS network_json, n.created_ns FROM networks n"
_ENDPOINTS = (
    "SELECT e.id, e.container, e.ipv4, e.ipv6, e.mac, e.spec_json,"
    " coalesce(c.name, '') AS container_name,"
    " n.id AS network_id, n.spec_json AS network_json, n.created_ns"
    " FROM endpoints e JOIN networks n ON n.id = e.network"
    " LEFT JOIN containers c ON c.id = e.container"
)
_FORWARDS = (
    "SELECT p.protocol, p.host_ip, p.host_port, p.port, e.ipv4, e.ipv6"
    " FROM published_ports p JOIN endpoints e ON e.id = p.endpoint"
)


class Records:
    """The rows. Every method is one statement; callers put several into a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transaction = database.transaction
        self.changes = 0
        """Grows with every change of endpoints, so that what is derived can be kept meanwhile."""
        self._networks = RowReader("network", "network_id", _network)
        self._endpoints = RowReader("endpoint", "id", _endpoint)
        self._members = RowReader("endpoint", "id", _member)

    def networks(self) -> list[Network]:
        rows = self._database.execute(_NETWORKS + " ORDER BY created_ns, id")
        return self._networks.read_all(rows)

    def find_network(self, name: str) -> Network | None:
        """By full name. Raises DamagedRecord."""
        row = self._database.execute(_NETWORKS + " WHERE n.name = ?", (name,)).fetchone()
        return self._networks.read(row) if row else None

    def find_id(self, name: str) -> str | None:
        """A network's, whether the rest of its record can be read or not."""
        row = self._database.execute("SELECT id FROM networks WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["id"])

    def save_network(self, network: Network) -> None:
        self._database.execute(
            "INSERT INTO networks (id, name, driver, spec_json, created_ns) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET spec_json = excluded.spec_json",
            (
                network.id,
                network.name,
                network.driver,
                msgspec.json.encode(network.spec).decode(),
                network.created_ns,
            ),
        )

    def delete_network(self, network_id: str) -> None:
        self._database.execute("DELETE FROM networks WHERE id = ?", (network_id,))

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """Of one container, in the order of their interfaces."""
        rows = self._database.execute(
            _ENDPOINTS + " WHERE e.container = ? ORDER BY e.rowid",
            (container_id,),
        )
        return self._endpoints.read_all(rows)

    def all_endpoints(self) -> list[Endpoint]:
        return self._endpoints.read_all(self._database.execute(_ENDPOINTS))

    def members(self, network_id: str) -> list[Member]:
        rows = self._database.execute(
            _ENDPOINTS + " WHERE e.network = ? ORDER BY e.rowid", (network_id,)
        )
        return self._members.read_all(rows)

    def used_addresses(self, network_id: str) -> set[str]:
        rows = self._database.execute(
            "SELECT ipv4, ipv6 FROM endpoints WHERE network = ?", (network_id,)
        )
        return {address for row in rows for address in row if address}

    def insert_endpoint(self, endpoint: Endpoint) -> None:
        self.changes += 1
        self._database.execute(
            "INSERT INTO endpoints (id, container, network, ipv4, ipv6, mac, spec_json)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                endpoint.id,
                endpoint.container_id,
                endpoint.network.id,
                endpoint.ipv4 or None,
                endpoint.ipv6 or None,
                endpoint.mac or None,
                _details(endpoint),
            ),
        )

    def update_endpoint(self, endpoint: Endpoint) -> None:
        """Its names may have changed; who it is and its addresses never do."""
        self.changes += 1
        self._database.execute(
            "UPDATE endpoints SET spec_json = ? WHERE id = ?", (_details(endpoint), endpoint.id)
        )

    def delete_endpoint(self, endpoint_id: str) -> None:
        self.changes += 1
        self._database.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))

    def delete_endpoints(self, container_id: str) -> None:
        self.changes += 1
        self._database.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))

    def insert_port(self, endpoint_id: str, port: PublishedPort) -> None:
        self._database.execute(
            "INSERT INTO published_ports (protocol, host_ip, host_port, endpoint, port)"
            " VALUES (?, ?, ?, ?, ?)",
            (port.protocol, port.host_ip, port.host_port, endpoint_id, port.port),
        )

    def ports(self, container_id: str) -> list[PublishedPort]:
        rows = self._database.execute(
            "SELECT p.port, p.protocol, p.host_ip, p.host_port FROM published_ports p"
            " JOIN endpoints e ON e.id = p.endpoint WHERE e.container = ?"
            " ORDER BY p.port, p.protocol, p.host_ip",
            (container_id,),
        )
        return [PublishedPort(**dict(row)) for row in rows]

    def publishing_endpoint(self, container_id: str) -> str:
        """The endpoint that the container's published ports lead to; "" if there are none."""
        row = self._database.execute(
            "SELECT p.endpoint FROM published_ports p JOIN endpoints e ON e.id = p.endpoint"
            " WHERE e.container = ? LIMIT 1",
            (container_id,),
        ).fetchone()
        return str(row["endpoint"]) if row else ""

    def delete_ports(self, container_id: str) -> None:
        self._database.execute(
            "DELETE FROM published_ports WHERE endpoint IN"
            " (SELECT id FROM endpoints WHERE container = ?)",
            (container_id,),
        )

    def port_holders(self, protocol: str, host_port: int) -> set[str]:
        """The host addresses on which that port is published."""
        rows = self._database.execute(
            "SELECT host_ip FROM published_ports WHERE protocol = ? AND host_port = ?",
            (protocol, host_port),
        )
        return {row["host_ip"] for row in rows}

    def forwards(self, container_id: str = "") -> list[Forward]:
        """What the firewall has to forward: for one container, or for all of them."""
        condition, parameters = (
            (" WHERE e.container = ?", (container_id,)) if container_id else ("", ())
        )
        rows = self._database.execute(_FORWARDS + condition, parameters)
        return [forward for row in rows for forward in _forward(row)]


class Directories:
    """The names on each network, read again only after endpoints have changed."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._as_of = -1
        self._known: dict[str, Directory] = {}

    def of(self, network: Network) -> Directory:
        if self._as_of != self._records.changes:
            self._known.clear()
            self._as_of = self._records.changes
        if network.id not in self._known:
            endpoints = [member.endpoint for member in self._records.members(network.id)]
            self._known[network.id] = directory(network.name, endpoints)
        return self._known[network.id]


def _forward(row: sqlite3.Row) -> Iterator[Forward]:
    """One for the address of the same family, if there is one; else a proxy has to help."""
    address = row["ipv6"] if ":" in row["host_ip"] else row["ipv4"]
    if address:
        yield Forward(
            protocol=row["protocol"],
            host_ip=row["host_ip"],
            host_port=row["host_port"],
            address=address,
            port=row["port"],
        )


def _network(row: sqlite3.Row) -> Network:
    """Raises ValueError too: a subnet that is none would fail whoever makes another network."""
    spec = msgspec.json.decode(row["network_json"], type=NetworkSpec)
    for pool in spec.pools:
        ip_network(pool.subnet)
    return Network(id=row["network_id"], spec=spec, created_ns=row["created_ns"])


def _details(endpoint: Endpoint) -> str:
    details = _Details(
        interface=endpoint.interface,
        dns_names=endpoint.dns_names,
        request=endpoint.request,
        resolving=endpoint.resolving,
    )
    return msgspec.json.encode(details).decode()


def _endpoint(row: sqlite3.Row) -> Endpoint:
    network = _network(row)
    details = msgspec.json.decode(row["spec_json"], type=_Details)
    return with_addresses(
        Endpoint(
            id=row["id"],
            container_id=row["container"],
            network=network,
            interface=details.interface,
            mac=row["mac"] or "",
            dns_names=details.dns_names,
            request=details.request,
            resolving=details.resolving,
        ),
        row["ipv4"] or "",
        row["ipv6"] or "",
    )


def _member(row: sqlite3.Row) -> Member:
    return Member(
        container_id=row["container"],
        container_name=row["container_name"],
        endpoint=_endpoint(row),
    )


def with_addresses(endpoint: Endpoint, ipv4: str, ipv6: str) -> Endpoint:
    """`endpoint` with these addresses, and the prefixes and gateways its network has for them."""
    prefix4, gateway4 = _way(endpoint.network, endpoint.network.pool4 if ipv4 else None)
    prefix6, gateway6 = _way(endpoint.network, endpoint.network.pool6 if ipv6 else None)
    return replace(
        endpoint,
        ipv4=ipv4,
        prefix4=prefix4,
        gateway4=gateway4,
        ipv6=ipv6,
        prefix6=prefix6,
        gateway6=gateway6,
    )


def _way(network: Network, pool: Pool | None) -> tuple[int, str]:
    """Prefix length and way out; an internal network has no way out."""
    if pool is None:
        return 0, ""
    return ip_network(pool.subnet).prefixlen, "" if network.spec.internal else pool.gateway
