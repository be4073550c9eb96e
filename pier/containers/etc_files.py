"""The files in /etc a container is given: hosts, hostname, resolv.conf.

They lie in the container's directory and are bound into it, so they are written in place: a new
file of the same name would not be seen by a container that runs.
"""

from collections.abc import Mapping

from pier.containers.model import Container
from pier.containers.namespaces import joined_container
from pier.containers.parts import Parts
from pier.containers.requests_for_networks import sandbox_request

_NAMES = ("hosts", "hostname", "resolv.conf")


class EtcFiles:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def write(self, container: Container) -> None:
        """As the container's networks are now. Who joins another's network has that one's."""
        if joined_container(container.spec.host.network_mode):
            return
        texts = self._parts.networks.files(sandbox_request(container))
        directory = self._parts.directory(container.id)
        (directory / "hosts").write_text(texts.hosts)
        (directory / "resolv.conf").write_text(texts.resolv_conf)
        (directory / "hostname").write_text(container.spec.hostname + "\n")

    def sources(self, container: Container) -> Mapping[str, str]:
        """Path in the container: path on the host."""
        other = joined_container(container.spec.host.network_mode)
        directory = self._parts.directory(other or container.id)
        return {
            f"/etc/{name}": str(directory / name) for name in _NAMES if (directory / name).exists()
        }
