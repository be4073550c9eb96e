"""Which capabilities a container gets: capabilities(7), and Docker's rules for adding and dropping.

Pure. Names are the kernel's, "CAP_NET_RAW"; users may leave out the prefix and write small letters.
"""

from collections.abc import Iterable, Sequence

from pier.errors import InvalidArgument
from pier.oci.capabilities import NAMES

KERNEL = NAMES

DEFAULT = frozenset(
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP"
        " NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    ).split()
)

ALL = "ALL"


class UnknownCapability(InvalidArgument):
    def __init__(self, option: str, name: str) -> None:
        super().__init__(f'invalid {option}: unknown capability: "{name}"')


def capabilities(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool, known: Sequence[str]
) -> tuple[str, ...]:
    """What a container holds, in the kernel's order. Raises UnknownCapability.

    "ALL" means every capability this machine has (`known`), never one it lacks.
    """
    added, dropped = parse(add, option="CapAdd"), parse(drop, option="CapDrop")
    if privileged:
        return tuple(known)
    wanted: frozenset[str]
    if ALL in added:
        wanted = frozenset(known) - dropped
    elif ALL in dropped:
        wanted = added
    else:
        wanted = (DEFAULT - dropped) | added
    return tuple(name for name in known if name in wanted)


def parse(names: Iterable[str], *, option: str) -> frozenset[str]:
    """Names as users write them; ALL stays as it is. Raises UnknownCapability."""
    return frozenset(_parse_one(name, option) for name in names)


def _parse_one(name: str, option: str) -> str:
    upper = name.strip().upper()
    if upper == ALL:
        return ALL
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in KERNEL:
        raise UnknownCapability(option, full)
    return full
