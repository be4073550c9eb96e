"""One mount as mount(8) is asked for it: a type, a device, and a text of options. mount(2)."""

from pier.linux import syscalls
from pier.linux.addresses import resolve_addresses
from pier.linux.mount_options import parse_mount_options

_NETWORK_TYPES = frozenset(("nfs", "nfs4", "cifs"))


def mount_as_asked(kind: str, device: str, target: str, text: str) -> None:
    """Mount `device` on `target`. Names of servers in the options become addresses."""
    options = parse_mount_options(resolve_addresses(text) if kind in _NETWORK_TYPES else text)
    syscalls.mount(device, target, kind, options.flags, options.data)
    if options.flags & syscalls.MS_BIND and options.flags & ~(syscalls.MS_BIND | syscalls.MS_REC):
        # The flags of a bind mount take effect by a second call only.
        syscalls.mount("", target, flags=options.flags | syscalls.MS_REMOUNT)
    if options.propagation:
        syscalls.mount("", target, flags=options.propagation)
