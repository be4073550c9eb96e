"""`--link` on the default bridge: another container's name in /etc/hosts, and variables about it.

Kept in the spec as "<ID>:<alias>", so a link survives a renaming. On users' networks a link is
a name of the embedded DNS instead (pier.networks). surface.md g.3; daemon/links of Moby.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pier.containers.exposed import parse_exposed
from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.parts import Parts
from pier.containers.spec import ContainerSpec
from pier.containers.state import State
from pier.containers.store import NoSuchContainer
from pier.errors import Conflict, InvalidArgument

_UNTOLD = ("HOME", "PATH")


class InvalidLink(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"bad format for links: {text}" if text else "empty string specified for links"
        )


class NothingToLink(InvalidArgument):
    """Not a NotFound: a client would take it for a missing image, and pull."""

    def __init__(self, name: str) -> None:
        super().__init__(f"could not get container for {name}: No such container: {name}")


class HostCannotLink(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )


class LinkedNotRunning(Conflict):
    def __init__(self, other: Container, container: Container, alias: str) -> None:
        super().__init__(
            f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}"
        )


class DefaultLink(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"Conflict, cannot remove the default link name of the container: {name}")


class NoSuchLink(NoSuchContainer):
    pass


@dataclass(frozen=True, slots=True)
class Link:
    """A container as its user calls it, and its address on the default bridge."""

    other: Container
    alias: str
    address: str


def parse_link(text: str) -> tuple[str, str]:
    """Name and alias of "name", "name:alias", "name:/alias", or inspect's "/name:/user/alias"."""
    name, colon, alias = text.partition(":")
    if not name or ":" in alias or (colon and not alias):
        raise InvalidLink(text)
    alias = alias.rpartition("/")[2]
    name = name.removeprefix("/")
    return name, alias or name


class Links:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._users: dict[str, set[str]] | None = None

    def resolved(self, spec: ContainerSpec) -> ContainerSpec:
        """`spec` with the containers' IDs. Raises InvalidArgument kinds."""
        if not spec.host.links:
            return spec
        if spec.host.network_mode == "host":
            raise HostCannotLink
        return replace(
            spec, host=replace(spec.host, links=tuple(map(self._resolved, spec.host.links)))
        )

    def _resolved(self, text: str) -> str:
        name, alias = parse_link(text)
        try:
            other = self._parts.store.get(name)
            while joined := joined_container(other.spec.host.network_mode):
                other = self._parts.store.get(joined)
        except NoSuchContainer:
            raise NothingToLink(name) from None
        if other.spec.host.network_mode == "host":
            raise HostCannotLink
        self._users = None  # counted again when somebody asks
        return f"{other.id}:{alias}"

    def of(self, container: Container) -> list[Link]:
        """Its links to containers that run on the default bridge; others have no address."""
        return [
            Link(other, alias, endpoint.ipv4)
            for other, alias in self._pairs(container)
            for endpoint in self._parts.networks.endpoints(other.id)
            if endpoint.network.name == "bridge" and endpoint.ipv4
        ]

    def check_running(self, container: Container) -> None:
        """Raises LinkedNotRunning. A container that was removed is linked no more."""
        for other, alias in self._pairs(container):
            if other.state not in (State.RUNNING, State.PAUSED):
                raise LinkedNotRunning(other, container, alias)

    def _pairs(self, container: Container) -> Iterator[tuple[Container, str]]:
        if container.spec.host.network_mode != "bridge":
            return
        for text in container.spec.host.links:
            other_id, alias = parse_link(text)
            if other := self._parts.store.find(other_id):
                yield other, alias

    def users(self, container: Container) -> list[Container]:
        """The running containers that are linked to this one, whose files name its address."""
        if self._users is None:
            self._users = defaultdict(set)
            for each in self._parts.store.list_():
                for text in each.spec.host.links:
                    self._users[parse_link(text)[0]].add(each.id)
        found = map(self._parts.store.find, sorted(self._users.get(container.id, ())))
        running = (State.RUNNING, State.PAUSED)
        return [each for each in found if each is not None and each.state in running]

    def removed(self, name: str) -> Container:
        """The container of "user/alias", without that link. Raises DefaultLink, NoSuchLink."""
        user, _, alias = name.strip("/").rpartition("/")
        if not user:
            self._parts.store.get(name)
            raise DefaultLink(name)
        container = self._parts.store.get(user)
        left = [text for text in container.spec.host.links if parse_link(text)[1] != alias]
        if len(left) == len(container.spec.host.links):
            raise NoSuchLink(name)
        host = replace(container.spec.host, links=tuple(left))
        return replace(container, spec=replace(container.spec, host=host))


def host_entries(links: Iterable[Link]) -> tuple[str, ...]:
    """As extra hosts, "names:address"."""
    entries = []
    for link in links:
        names = dict.fromkeys((link.alias, link.other.spec.hostname, link.other.name))
        entries.append(f"{' '.join(filter(None, names))}:{link.address}")
    return tuple(entries)


def environment(container: Container, links: Iterable[Link]) -> tuple[str, ...]:
    """What the container's process is told about those it is linked to."""
    return tuple(entry for link in links for entry in _variables(container, link))


def _variables(container: Container, link: Link) -> Iterator[str]:
    prefix = link.alias.upper().replace("-", "_")
    ports = parse_exposed(link.other.spec.exposed_ports)
    for number, protocol in ports[:1]:
        yield f"{prefix}_PORT={protocol}://{link.address}:{number}"
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{name}={protocol}://{link.address}:{number}"
        yield f"{name}_ADDR={link.address}"
        yield f"{name}_PORT={number}"
        yield f"{name}_PROTO={protocol}"
    yield f"{prefix}_NAME=/{container.name}/{link.alias}"
    for entry in link.other.spec.env:
        key, equals, value = entry.partition("=")
        if equals and key not in _UNTOLD:
            yield f"{prefix}_ENV_{key}={value}"
