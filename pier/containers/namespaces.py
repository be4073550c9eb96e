"""Which namespaces a container has to itself, shares with the host, or joins. Pure.

A namespace is PRIVATE (a new one), HOST, or the path of one to join. The modes of the spec are
parsed here; who `container:<id>` is, and where its namespaces are, is the caller's to know.
"""

from dataclasses import dataclass

from pier.containers.spec import HostSpec
from pier.errors import InvalidArgument

PRIVATE = ""
HOST = "host"
CONTAINER = "container:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """PRIVATE, HOST or a path, each. The mount namespace is always private."""

    network: str = PRIVATE
    pid: str = PRIVATE
    ipc: str = PRIVATE
    uts: str = PRIVATE
    cgroup: str = PRIVATE


class InvalidMode(InvalidArgument):
    def __init__(self, what: str, mode: str) -> None:
        super().__init__(f"invalid {what} mode: {mode}")


def joined_container(mode: str) -> str | None:
    """The container named by `container:<name or id>`, or None."""
    return mode.removeprefix(CONTAINER) if mode.startswith(CONTAINER) else None


def check_modes(host: HostSpec) -> None:
    """Raise InvalidMode for a mode Docker does not know."""
    _check("IPC", host.ipc_mode, ("", "none", "private", "shareable", "host"), joins=True)
    _check("PID", host.pid_mode, ("", "host"), joins=True)
    _check("UTS", host.uts_mode, ("", "host"), joins=False)
    _check("user namespace", host.userns_mode, ("", "host"), joins=False)
    _check("cgroup namespace", host.cgroupns_mode, ("", "private", "host"), joins=False)


def _check(what: str, mode: str, known: tuple[str, ...], *, joins: bool) -> None:
    if mode in known or (joins and joined_container(mode)):
        return
    raise InvalidMode(what, mode)


def host_or_private(mode: str) -> str:
    """For modes that join nothing: "host", or anything else for a namespace of its own."""
    return HOST if mode == "host" else PRIVATE


def cgroup_mode(host: HostSpec, *, cgroup_version: int) -> str:
    """PRIVATE or HOST: by default private with cgroup v2, the host's with v1 as Docker has it."""
    if host.cgroupns_mode:
        return host_or_private(host.cgroupns_mode)
    return PRIVATE if cgroup_version == 2 else HOST


def namespaces_to_oci(namespaces: Namespaces) -> list[dict[str, str]]:
    wanted = {
        "network": namespaces.network,
        "pid": namespaces.pid,
        "ipc": namespaces.ipc,
        "uts": namespaces.uts,
        "cgroup": namespaces.cgroup,
    }
    entries = [{"type": "mount"}]
    for kind, where in wanted.items():
        if where == PRIVATE:
            entries.append({"type": kind})
        elif where != HOST:
            entries.append({"type": kind, "path": where})
    return entries
