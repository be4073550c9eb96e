"""What of a container's root is the runtime's own, and no place for others' mounts. Pure."""

from pier.errors import InvalidArgument

MADE_BY_RUNTIME = ("/dev", "/proc", "/sys")
_HARMLESS = ("/dev/shm", "/dev/mqueue", "/dev/stdin", "/dev/stdout", "/dev/stderr")  # noqa: S108
"""No runtime works there. Logs of many images are links to /dev/stdout, and are mounted over."""


class TargetReserved(InvalidArgument):
    """For mounts an image or a Dockerfile asks for, nobody at the machine."""

    def __init__(self, target: str, who: str) -> None:
        super().__init__(
            f"{who} asks for a mount at {target}, which is among the runtime's own; "
            "only who starts a container may mount something there"
        )


def is_reserved(path: str) -> bool:
    """Whether a clean, absolute path is the runtime's own, or below."""
    return any(holds(own, path) for own in MADE_BY_RUNTIME) and not any(
        holds(free, path) for free in _HARMLESS
    )


def holds(above: str, path: str) -> bool:
    return path == above or path.startswith(above + "/")
