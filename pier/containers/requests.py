"""What is asked of containers beyond their spec, and what they answer: values of the border.

The API translates Docker's JSON to these and back. Times in nanoseconds since the epoch, 0 for
none; sizes in bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pier.containers.spec import ContainerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """Which streams to connect. `logs` replays what was written before; `stream` follows."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    stream: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitResult:
    status_code: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """tail None: everything."""

    stdout: bool
    stderr: bool
    follow: bool = False
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None
    timestamps: bool = False
    details: bool = False


@dataclass(frozen=True, slots=True)
class LogChunk:
    """stream: "stdout" or "stderr"; lines: already with timestamps and details.

    A line may lack its end, where it is long or was never ended.
    """

    stream: str
    lines: Sequence[bytes]

    @property
    def data(self) -> bytes:
        return b"".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    cmd: tuple[str, ...]
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    env: tuple[str, ...] = ()
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    console_size: tuple[int, int] | None = None
    """Rows, columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRecord:
    """exit_code is None until the process has ended."""

    id: str
    container_id: str
    spec: ExecSpec
    running: bool = False
    started: bool = False
    exit_code: int | None = None
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """changes: Dockerfile instructions as text; run_config: what the body asked, if anything."""

    container: str
    reference: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()
    run_config: ContainerSpec | None = None


@dataclass(frozen=True, slots=True)
class TopRows:
    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStat:
    """mode is st_mode. link_target is absolute within the container."""

    name: str
    size: int
    mode: int
    mtime_ns: int
    link_target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIo:
    """One row of the block device counters; op: "read" or "write"."""

    major: int
    minor: int
    op: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuStats:
    """Times in nanoseconds. percpu_ns is empty with cgroup v2."""

    total_ns: int = 0
    kernel_ns: int = 0
    user_ns: int = 0
    percpu_ns: tuple[int, ...] = ()
    system_ns: int = 0
    online_cpus: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceStats:
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One sample of a running container. `memory` passes the kernel's memory.stat through."""

    read_ns: int
    cpu: CpuStats = CpuStats()
    memory_usage: int = 0
    memory_max_usage: int | None = None
    memory_failures: int = 0
    memory_limit: int = 0
    memory: Mapping[str, int] = field(default_factory=dict)
    pids: int = 0
    pids_limit: int | None = None
    block_io: tuple[BlockIo, ...] = ()
    interfaces: Mapping[str, InterfaceStats] = field(default_factory=dict)
