"""The files in /etc a container is given: hosts, hostname, resolv.conf.

They lie in the container's directory and are bound into it, so they are written in place: a new
file of the same name would not be seen by a container that runs.
"""

from collections.abc import Mapping
from dataclasses import replace

from pier.containers.links import Links, host_entries
from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.parts import Parts
from pier.containers.requests_for_networks import sandbox_request

_NAMES = ("hosts", "hostname", "resolv.conf")


class EtcFiles:
    def __init__(self, parts: Parts, links: Links) -> None:
        self._parts = parts
        self._links = links

    def write(self, container: Container) -> None:
        """As the container's networks are now. Who joins another's network has that one's."""
        if joined_container(container.spec.host.network_mode):
            return
        request = sandbox_request(container)
        linked = host_entries(self._links.of(container))
        texts = self._parts.networks.files(
            replace(request, extra_hosts=(*request.extra_hosts, *linked))
        )
        directory = self._parts.directory(container.id)
        (directory / "hosts").write_text(texts.hosts)
        (directory / "resolv.conf").write_text(texts.resolv_conf)
        (directory / "hostname").write_text(container.spec.hostname + "\n")

    def write_users(self, container: Container) -> None:
        """Those of running containers that are linked to this one, which has come up."""
        for user in self._links.users(container):
            self.write(user)


def sources(parts: Parts, container: Container) -> Mapping[str, str]:
    """Path in the container: path on the host."""
    owner = container
    while other := joined_container(owner.spec.host.network_mode):
        owner = parts.store.get(other)
    directory = parts.directory(owner.id)
    return {f"/etc/{name}": str(directory / name) for name in _NAMES if (directory / name).exists()}
