"""What the daemon asks of a monitor, and what it hears back: values, the same on both sides.

Spawner and monitors load this too, so records are NamedTuples: dataclasses and pathlib cost
every container memory. An order crosses the socket as JSON (`to_json`, `monitor_order`).
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from pier.linux.mount import Overlay

AnyPath = str | os.PathLike[str]
DEFAULT_DETACH_KEYS = b"\x10\x11"  # ctrl-p, ctrl-q
STALL_S = 60.0


class RuntimeInfo(NamedTuple):
    """An OCI runtime that was probed and works here.

    hide_v2: it must not see the cgroup2 mount of this (hybrid) host: crun refuses otherwise.
    """

    name: str
    path: str
    root: str
    arguments: tuple[str, ...] = ()
    hide_v2: bool = False
    version: str = ""


class LogOrder(NamedTuple):
    """Where output is kept. driver: "json-file" or "local"; for "none" give no LogOrder at all.

    max_size_bytes <= 0: never rotate. attributes: the constant `attrs` of each json-file line.
    Rotated files are path.1 (the newest) to path.<max_files - 1>, with .gz where compressed.
    """

    driver: str
    path: str
    attributes: Mapping[str, str] = {}
    max_size_bytes: int = -1
    max_files: int = 1
    compress: bool = False


class ConsoleSize(NamedTuple):
    """Rows and columns, in the order of Docker's API. 0: not asked."""

    height: int = 0
    width: int = 0


class MonitorOrder(NamedTuple):
    """One container's process, with its config.json already in `bundle`.

    overlay is mounted on <bundle>/rootfs where only the monitor and the runtime see it; None:
    config.json names a root that exists. cgroup: config.json's cgroupsPath ("/pier/<id>"), for
    OOM. stdin False: /dev/null. stall_s: how long a late client may hold output back.
    """

    container_id: str
    bundle: AnyPath
    runtime: RuntimeInfo
    overlay: Overlay | None = None
    terminal: bool = False
    console_size: ConsoleSize = ConsoleSize()
    stdin: bool = False
    stdin_once: bool = False
    log: LogOrder | None = None
    cgroup: str = ""
    stall_s: float = STALL_S


class NativeExec(NamedTuple):
    """What it takes to start an exec's process without the runtime.

    pid: the container's first process. keyring: the name of its session's. filter: a file with
    its compiled seccomp filter, "" for none; filter_flags: of seccomp(2).
    """

    pid: int
    keyring: str
    filter: str = ""
    filter_flags: int = 0


class ExecOrder(NamedTuple):
    """One more process in a running container; `directory` is made for it and holds its files.

    process: an OCI process object. capture_bytes > 0: keep that much of the output (both
    streams as they come) for Exit.output. A client's end of input ends the process's stdin.
    native None: by the runtime's own exec. Otherwise with cgroup, the container's.
    """

    exec_id: str
    container_id: str
    directory: AnyPath
    runtime: RuntimeInfo
    process: Mapping[str, Any]  # OCI process object: foreign JSON by nature
    terminal: bool = False
    console_size: ConsoleSize = ConsoleSize()
    stdin: bool = False
    capture_bytes: int = 0
    cgroup: str = ""
    stall_s: float = STALL_S
    native: NativeExec | None = None


class AttachOptions(NamedTuple):
    """How a client is served. mux: stdcopy frames. early: bytes it sent before the hand-over.

    detach_keys empty: no sequence detaches. client_id comes back in the "detached" notice.
    """

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    mux: bool = True
    detach_keys: bytes = b""
    early: bytes = b""
    client_id: str = ""


class Exit(NamedTuple):
    """How a process ended. code: 128 + n for signal n. output: of an exec with capture_bytes."""

    code: int
    oom_killed: bool
    finished_ns: int
    error: str = ""
    output: bytes = b""
    output_truncated: bool = False


class Captured(NamedTuple):
    """How a command ended that was run for its output. exit None: nothing is known of its end."""

    exit: Exit | None
    in_time: bool
