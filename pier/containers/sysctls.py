"""Which kernel parameters a container may set: only those that belong to its namespaces. Pure."""

from collections.abc import Mapping

from pier.errors import InvalidArgument

_IPC = frozenset(
    f"kernel.{name}"
    for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)


class SysctlRefused(InvalidArgument):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(f'sysctl "{name}" {why}')


def check(sysctls: Mapping[str, str], *, host_network: bool, host_ipc: bool) -> None:
    """Raise SysctlRefused for one that would reach beyond the container."""
    for name in sysctls:
        dotted = name.replace("/", ".")
        if dotted.startswith("net."):
            if host_network:
                raise SysctlRefused(name, "not allowed in host network namespace")
        elif dotted in _IPC or dotted.startswith("fs.mqueue."):
            if host_ipc:
                raise SysctlRefused(name, "is not allowed in the hosts ipc namespace")
        else:
            raise SysctlRefused(name, "is not in a separate kernel namespace")


def defaults(*, host_network: bool) -> dict[str, str]:
    """What Docker sets in a network namespace of the container's own: ports below 1024 and ping
    need no privilege there.
    """
    if host_network:
        return {}
    return {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
