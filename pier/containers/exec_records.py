"""The execs there are, and for a while those that were.

In memory, and beside its monitor while an exec runs: its process and who is attached to it outlive
the daemon, and then ask the next one for the exit code.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from pier.containers.requests import ExecRecord
from pier.errors import NotFound
from pier.runtime.monitors import Monitor

KEPT_NS = 5 * 60 * 1_000_000_000
"""How long an exec that ended can still be inspected."""
KEPT = 4096
"""How many of those at most: an exec may end every millisecond."""


class NoSuchExec(NotFound):
    def __init__(self, exec_id: str) -> None:
        super().__init__(f"No such exec instance: {exec_id}")


@dataclass(slots=True)
class Exec:
    record: ExecRecord
    process: dict[str, object]
    """The OCI process object; empty once it has ended."""
    monitor: Monitor | None = None


class _Ended(NamedTuple):
    at_ns: int
    exec_id: str


@dataclass(slots=True)
class ExecRecords:
    execs: dict[str, Exec] = field(default_factory=dict)
    _ended: deque[_Ended] = field(default_factory=deque)

    def add(self, record: ExecRecord, process: dict[str, object]) -> None:
        self.execs[record.id] = Exec(record, process)

    def get(self, exec_id: str) -> Exec:
        """Raises NoSuchExec."""
        try:
            return self.execs[exec_id]
        except KeyError:
            raise NoSuchExec(exec_id) from None

    def end(self, found: Exec, code: int, now_ns: int) -> None:
        """The first code counts. What it took to run it is let go."""
        if found.record.exit_code is not None:
            return
        found.record = replace(found.record, running=False, exit_code=code)
        found.monitor = None
        found.process = {}
        self._ended.append(_Ended(now_ns, found.record.id))

    def drop(self, exec_id: str) -> None:
        self.execs.pop(exec_id, None)

    def forget(self, now_ns: int, runs: Callable[[str], bool]) -> Sequence[ExecRecord]:
        """Drop what ended long ago, and what was never started in a container that ended.

        runs: whether the container of an ID does. Returns what was dropped.
        """
        before = now_ns - KEPT_NS
        forgotten = []
        while self._ended and (self._ended[0].at_ns <= before or len(self._ended) > KEPT):
            forgotten.append(self._ended.popleft().exec_id)
        forgotten += [
            exec_id
            for exec_id, found in self.execs.items()
            if not found.record.started and not runs(found.record.container_id)
        ]
        dropped = (self.execs.pop(exec_id, None) for exec_id in forgotten)
        return [found.record for found in dropped if found is not None]


_RECORD = "record.json"


def keep_record(directory: Path, record: ExecRecord) -> None:
    """Write `record` into its exec's directory, which is made."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(UnicodeEncodeError):  # half a character in its words
        (directory / _RECORD).write_bytes(msgspec.json.encode(record))


def find_record(directory: Path) -> ExecRecord | None:
    """What `keep_record` wrote; None for a probe's directory, and for one that is damaged."""
    try:
        return msgspec.json.decode((directory / _RECORD).read_bytes(), type=ExecRecord)
    except (OSError, msgspec.DecodeError):
        return None
