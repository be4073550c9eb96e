"""`docker network connect`, `disconnect`, `rename`, `rm --link`: at once where the container runs.

What is asked is kept in the container's spec, so a restart attaches to the same networks.
"""

import contextlib
from dataclasses import replace

from pier.containers.etc_files import EtcFiles
from pier.containers.links import Links
from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.parts import Parts
from pier.containers.requests_for_networks import endpoint_requests, sandbox_request
from pier.containers.spec import ContainerSpec, EndpointSpec
from pier.containers.state import State
from pier.containers.store import InvalidName, NameInUse, checked_name
from pier.errors import Conflict, Forbidden, InvalidArgument, NotFound
from pier.networks.directory import links_after_rename


class NotConnected(Forbidden):
    def __init__(self, container: Container, network: str) -> None:
        super().__init__(f"container {container.id} is not connected to network {network}")


class SameName(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("Renaming a container with the same name as its current name")


class NewNameInvalid(InvalidArgument):
    def __init__(self, why: InvalidName) -> None:
        super().__init__(f"Error when allocating new name: {why}")


class NewNameInUse(Conflict):
    def __init__(self, why: NameInUse) -> None:
        super().__init__(f"Error when allocating new name: {why}")


class Connections:
    def __init__(self, parts: Parts, etc: EtcFiles, links: Links) -> None:
        self._parts = parts
        self._links = links
        self._etc = etc

    async def connect(self, network: str, name: str, asked: EndpointSpec) -> None:
        """Raises NotFound, Forbidden (host, none, already attached), InvalidArgument."""
        found = self._parts.networks.get(network)
        container = self._parts.store.get(name)
        async with self._parts.live[container.id].lock:
            container = self._parts.store.get(container.id)
            self._check(container, found.name)
            spec = with_endpoint(container.spec, found.name, asked)
            if container.state in (State.RUNNING, State.PAUSED):
                request = sandbox_request(replace(container, spec=spec))
                await self._parts.networks.connect(request, found.name)
                self._parts.hold_names(container.id)
                self._etc.write(replace(container, spec=spec))
            self._parts.store.update(replace(container, spec=spec))

    async def disconnect(self, network: str, name: str, *, force: bool) -> None:
        """Raises NotFound, NotConnected, Forbidden."""
        found = self._parts.networks.get(network)
        container = self._parts.store.get(name)
        async with self._parts.live[container.id].lock:
            container = self._parts.store.get(container.id)
            if container.spec.host.network_mode == "host":
                raise Forbidden(
                    "container cannot be disconnected from host network or connected to "
                    "host network"
                )
            attached = endpoint_requests(container.spec)
            if found.name not in attached and found.id not in attached:
                raise NotConnected(container, found.name)
            if container.state in (State.RUNNING, State.PAUSED):
                await self._parts.networks.disconnect(sandbox_request(container), found.name)
                self._etc.write(container)
            spec = without_endpoint(container.spec, found.name)
            self._parts.store.update(replace(container, spec=spec))

    async def settle(self, container: Container) -> None:
        """Of a running container after a crash: what was half connected or disconnected is not.

        An endpoint comes before the spec names it, and goes before the spec forgets it.
        """
        networks = self._parts.networks
        spec = container.spec
        present = {endpoint.network.name for endpoint in networks.endpoints(container.id)}
        attached = {}
        for name in spec.endpoints:
            with contextlib.suppress(NotFound):
                attached[networks.get(name).name] = name
        for name in present - set(attached):
            await networks.disconnect(sandbox_request(container), name)
        for name in set(attached) - present:
            if networks.get(name).bridge:
                spec = without_endpoint(spec, attached[name])
        if spec != container.spec or present - set(attached):
            container = replace(container, spec=spec)
            self._etc.write(container)
            self._parts.store.update(container)

    def _check(self, container: Container, network: str) -> None:
        mode = container.spec.host.network_mode
        if container.state in (State.REMOVING, State.DEAD):
            raise Conflict(
                f"container {container.id} is marked for removal and cannot be connected or "
                "disconnected to the network"
            )
        if network == "host" and mode != "host":
            raise Forbidden(
                "cannot connect container to host network - container must be created in host "
                "network mode"
            )
        if mode == "host":
            raise Forbidden(
                "container cannot be disconnected from host network or connected to host network"
            )
        if network == "none" or "none" in container.spec.endpoints:
            raise Forbidden(
                "container cannot be connected to multiple networks with one of the networks "
                "in private (none) mode"
            )
        if joined_container(mode):
            raise Forbidden(
                "container sharing network namespace with another container or host cannot be "
                "connected to any other network"
            )
        if network in endpoint_requests(container.spec):
            raise Forbidden(
                f"endpoint with name {container.name} already exists in network {network}"
            )

    async def remove_link(self, name: str) -> None:
        """`rm --link user/alias`. Raises NotFound, DefaultLink."""
        user = self._links.removed(name).id
        async with self._parts.live[user].lock:
            container = self._links.removed(name)
            self._parts.store.update(container)
            if container.state in (State.RUNNING, State.PAUSED):
                self._etc.write(container)

    async def rename(self, name: str, new_name: str) -> None:
        """At once for those who ask the DNS, and in the files of those linked to it.

        Raises SameName, NewNameInvalid, NewNameInUse.
        """
        container = self._parts.store.get(name)
        chosen = self._chosen(container, new_name)
        async with self._parts.live[container.id].lock:
            with self._parts.database.transaction():
                self._parts.store.rename(container, chosen)
                renamed = self._parts.store.get(container.id)
                self._parts.networks.rename(sandbox_request(renamed))
                self._relink(container, chosen)
            self._etc.write_users(renamed)
        self._parts.announce(renamed, "rename", oldName=f"/{container.name}")

    def _relink(self, container: Container, new_name: str) -> None:
        """Links to it, on networks of users, mean it by its new name too."""
        for user in self._parts.store.list_():
            links = {}
            for network, asked in user.spec.endpoints.items():
                followed = links_after_rename(asked.links, container.name.lower(), new_name)
                if followed != asked.links and network in container.spec.endpoints:
                    links[network] = followed
            if links:
                endpoints = {
                    network: replace(asked, links=links.get(network, asked.links))
                    for network, asked in user.spec.endpoints.items()
                }
                spec = replace(user.spec, endpoints=endpoints)
                self._parts.store.update(replace(user, spec=spec))
                self._parts.networks.relink(user.id, links)

    def _chosen(self, container: Container, new_name: str) -> str:
        try:
            chosen = checked_name(f"/{new_name}")
        except InvalidName as error:
            raise NewNameInvalid(error) from error
        if chosen == container.name:
            raise SameName
        if holder := self._parts.store.holder(chosen):
            raise NewNameInUse(NameInUse(chosen, holder))
        return chosen


def with_endpoint(spec: ContainerSpec, network: str, asked: EndpointSpec) -> ContainerSpec:
    return replace(spec, endpoints={**spec.endpoints, network: asked})


def without_endpoint(spec: ContainerSpec, network: str) -> ContainerSpec:
    """The mode stays what it was: it names the network that ports are published on."""
    left = {name: asked for name, asked in spec.endpoints.items() if name != network}
    return replace(spec, endpoints=left)
