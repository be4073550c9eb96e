"""Options of mount(8) as mount(2) wants them: flags, propagation, and the rest as text. Pure."""

from typing import NamedTuple

from pier.linux import syscalls

_MS_SYNCHRONOUS = 0x10
_MS_MANDLOCK = 0x40
_MS_DIRSYNC = 0x80
_MS_NOATIME = 0x400
_MS_NODIRATIME = 0x800
_MS_RELATIME = 0x200000
_MS_STRICTATIME = 0x1000000

_SET = {
    "ro": syscalls.MS_RDONLY,
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "sync": _MS_SYNCHRONOUS,
    "mand": _MS_MANDLOCK,
    "dirsync": _MS_DIRSYNC,
    "noatime": _MS_NOATIME,
    "nodiratime": _MS_NODIRATIME,
    "relatime": _MS_RELATIME,
    "strictatime": _MS_STRICTATIME,
    "remount": syscalls.MS_REMOUNT,
    "bind": syscalls.MS_BIND,
    "rbind": syscalls.MS_BIND | syscalls.MS_REC,
}
_CLEARED = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "async": "sync",
    "nomand": "mand",
    "atime": "noatime",
    "diratime": "nodiratime",
    "norelatime": "relatime",
    "nostrictatime": "strictatime",
}
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "slave": syscalls.MS_SLAVE,
    "shared": syscalls.MS_SHARED,
    "unbindable": syscalls.MS_UNBINDABLE,
}
_NOTHING = frozenset(("", "defaults", "nofail", "_netdev", "auto", "noauto"))


class MountOptions(NamedTuple):
    flags: int
    propagation: int
    """Of a second mount(2), or 0."""
    data: str


def parse_mount_options(text: str) -> MountOptions:
    """The words of `text`, comma-separated; what mount(2) has no flag for goes to the driver."""
    flags = propagation = 0
    data = []
    for word in text.split(","):
        kind = word.removeprefix("r")
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEARED:
            flags &= ~_SET[_CLEARED[word]]
        elif kind in _PROPAGATION:
            propagation |= _PROPAGATION[kind]
            propagation |= syscalls.MS_REC if kind != word else 0
        elif word not in _NOTHING:
            data.append(word)
    return MountOptions(flags, propagation, ",".join(data))
