"""A container as Pier remembers it: identity, what was asked, what happened.

Times are nanoseconds since the epoch; 0 is "never". `Container` is immutable: a change makes a
new value with `dataclasses.replace` and stores it.
"""

from dataclasses import dataclass, field

from pier.containers.spec import ContainerSpec
from pier.containers.state import State

SHORT_ID = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """A mount as decided at create; shown by inspect, carried out at every start.

    source is a host path (bind), a volume's `_data` directory (volume), "" (tmpfs) or an image's
    ID (image). name is a volume's, or an image's as it was asked for; driver is a volume's.
    """

    kind: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    options: str = ""
    """tmpfs options, comma-joined, as mount(8) takes them."""
    subpath: str = ""
    chain_id: str = ""
    """Of an image's layers: they are kept for the container when the image has gone."""
    no_copy: bool = False
    non_recursive: bool = False
    readonly_non_recursive: bool = False
    create_source: bool = False
    anonymous: bool = False
    """Its volume goes with the container on `rm -v` and `--rm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One run of the health check. exit_code -1: it timed out."""

    started_ns: int
    ended_ns: int
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """status: starting, healthy, unhealthy. The newest five probes, oldest first."""

    status: str = "starting"
    failing_streak: int = 0
    log: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What happened to the container so far."""

    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    restart_delay_s: float = 0.0
    """The back-off that was last used; see state.restart."""
    stopped_by_user: bool = False
    health: Health | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    id: str
    name: str
    """Without the leading slash Docker shows."""
    image_id: str
    """Digest of the image config."""
    state: State = State.CREATED
    spec: ContainerSpec
    status: Status = Status()
    mounts: tuple[MountPoint, ...] = ()
    created_ns: int = 0
    warnings: tuple[str, ...] = field(default=())

    @property
    def short_id(self) -> str:
        return self.id[:SHORT_ID]

    @property
    def images(self) -> frozenset[str]:
        """IDs of the images it needs: its own, and those it mounts."""
        return frozenset(
            (self.image_id, *(point.source for point in self.mounts if point.kind == "image"))
        )

    @property
    def path_and_args(self) -> tuple[str, ...]:
        """The command line of process 1: entrypoint, then cmd."""
        return (self.spec.entrypoint or ()) + (self.spec.cmd or ())
