"""Resource limits of a container's processes (`--ulimit`): setrlimit(2). Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pier.containers.spec import Ulimit
from pier.errors import InvalidArgument

NAMES = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending"
    " stack as".split()
)
UNLIMITED = -1
_INFINITY = 2**64 - 1
"""RLIM_INFINITY as a 64-bit number, which is what the runtimes hand to the kernel."""


class Clamped(NamedTuple):
    ulimits: tuple[Ulimit, ...]
    warnings: list[str]


class InvalidUlimit(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


def check(ulimit: Ulimit) -> None:
    """Raise InvalidUlimit if the kernel has no such limit or soft exceeds hard."""
    if ulimit.name not in NAMES:
        raise InvalidUlimit(f"invalid ulimit type: {ulimit.name}")
    if _size(ulimit.soft) > _size(ulimit.hard):
        raise InvalidUlimit(
            "ulimit soft limit must be less than or equal to hard limit: "
            f"{ulimit.soft} > {ulimit.hard}"
        )


def merge(asked: Sequence[Ulimit], defaults: Sequence[Ulimit]) -> tuple[Ulimit, ...]:
    """The daemon's default limits, replaced by name by those asked."""
    chosen = {ulimit.name: ulimit for ulimit in (*defaults, *asked)}
    return tuple(chosen.values())


def clamp(
    ulimits: Sequence[Ulimit], *, hard_limits: Mapping[str, int], raises_limits: bool
) -> Clamped:
    """Lower what this daemon may not grant, and say so.

    Without CAP_SYS_RESOURCE (a daemon that runs inside a container) the runtime would fail to
    start the container; fewer open files are better than none.
    """
    if raises_limits:
        return Clamped(tuple(ulimits), [])
    clamped, warnings = [], []
    for ulimit in ulimits:
        limit = hard_limits.get(ulimit.name, UNLIMITED)
        lowered = _lowered(ulimit, limit)
        clamped.append(lowered)
        if lowered != ulimit:
            warnings.append(
                f"ulimit {ulimit.name}={ulimit.soft}:{ulimit.hard} is above the limit of this "
                f"daemon, which lacks CAP_SYS_RESOURCE: lowered to {lowered.soft}:{lowered.hard}."
            )
    return Clamped(tuple(clamped), warnings)


def rlimits_to_oci(ulimits: Sequence[Ulimit]) -> list[dict[str, object]]:
    return [
        {
            "type": f"RLIMIT_{ulimit.name.upper()}",
            "soft": _size(ulimit.soft),
            "hard": _size(ulimit.hard),
        }
        for ulimit in ulimits
    ]


def _lowered(ulimit: Ulimit, limit: int) -> Ulimit:
    hard = min(ulimit.hard, limit, key=_size)
    return Ulimit(name=ulimit.name, soft=min(ulimit.soft, hard, key=_size), hard=hard)


def _size(value: int) -> int:
    return _INFINITY if value == UNLIMITED else value
