"""Bringing a container up, and taking it down.

What a running container needs is a list of steps: volumes, sandbox, files, bundle, monitor,
process. A step can go up, and can come down again given nothing but the container's ID, any number
of times. So a failed start, a normal exit and the sweep after a crash of the daemon are one and the
same piece of code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pier.containers.model import Container
from pier.errors import PierError, Unavailable
from pier.linux import descriptors
from pier.linux.mount import Overlay
from pier.runtime.monitors import Monitor


@dataclass(slots=True, kw_only=True)
class Launch:
    """One start in progress: what is known so far."""

    container: Container
    overlay: Overlay
    netns_path: str | None = None
    """None: the host's namespace."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.json: foreign JSON by nature."""
    monitor: Monitor | None = None
    pid: int = 0
    warnings: list[str] = field(default_factory=list)


class Step(Protocol):
    """One thing a running container needs."""

    async def up(self, launch: Launch) -> None:
        """Provide it. May raise, leaving it half done."""

    async def down(self, container_id: str) -> None:
        """Remove whatever there is of it; nothing is fine.

        Raises OSError or PierError if stuck.
        """


class TooFewDescriptors(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "the daemon has nearly as many open files as it may have: stop containers, or raise "
            "its limit (LimitNOFILE of its service)"
        )


def check_descriptors() -> None:
    """Raise TooFewDescriptors: a container that runs takes four, and the API needs some."""
    if descriptors.scarce():
        raise TooFewDescriptors


async def bring_up(steps: Sequence[Step], launch: Launch) -> None:
    """Take every step, or none: on failure what was begun is taken down.

    Raises TooFewDescriptors before anything else.
    """
    check_descriptors()
    for number, step in enumerate(steps, start=1):
        try:
            await step.up(launch)
        except BaseException:
            await take_down(steps[:number], launch.container.id)
            raise


async def take_down(steps: Sequence[Step], container_id: str) -> None:
    """Undo `steps`, last first. One that is stuck does not keep the others."""
    stuck: list[Exception] = []
    for step in reversed(steps):
        try:
            await step.down(container_id)
        except (OSError, PierError) as error:
            stuck.append(error)
    if stuck:
        raise ExceptionGroup(f"container {container_id}: could not clean up", stuck)
