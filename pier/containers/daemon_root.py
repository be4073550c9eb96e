"""Binding what the daemon keeps, or a directory above it, into a container. Pure.

Docker mounts file systems below its root, so it lets only binds have it that the unmounting of
those reaches too: rslave, which is their default, or rshared. Clients see it in inspect, so it is
the same here.
"""

from dataclasses import replace

from pier.containers.model import MountPoint
from pier.errors import InvalidArgument

RSLAVE = "rslave"
_ALLOWED = (RSLAVE, "rshared")


class WrongPropagation(InvalidArgument):
    def __init__(self, daemon_root: str, source: str, propagation: str) -> None:
        super().__init__(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when '
            f'mount source is within the daemon root, daemon root: "{daemon_root}", bind mount '
            f'source: "{source}", propagation: "{propagation}"'
        )


def holds(source: str, daemon_root: str) -> bool:
    """Whether the bind `source` is the daemon's root, below it or above it, by its letters."""
    return _is_below(source, daemon_root) or _is_below(daemon_root, source)


def _is_below(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def checked(point: MountPoint, asked: str, daemon_root: str) -> MountPoint:
    """`point` with its propagation; asked: what the client wrote. Raises WrongPropagation."""
    if point.kind != "bind" or not holds(point.source, daemon_root):
        return point
    if asked and asked not in _ALLOWED:
        raise WrongPropagation(daemon_root, point.source, asked)
    return replace(point, propagation=asked or RSLAVE)
