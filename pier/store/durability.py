"""What a loss of power may take: blobs and snapshots that were made a moment ago.

New content is used at once and reaches the disk later. Some seconds after it was made, one
syncfs(2) takes all of it there, and its rows are marked `durable`. After a loss of power only
these rows are believed; the files of the others are looked at first (`images.recovery`). A killed
daemon has lost nothing: the kernel still has what was written.

The call is made in a process of its own (`sync --file-system`): it cannot be interrupted, and a
daemon that is killed in it would hold its lock until the disk has done everything.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from pier.linux import process
from pier.store.database import Database, NoSpace, Parameters

log = logging.getLogger(__name__)

_DELAY_S = 3.0
"""So that the steps of a build, or the layers of a pull, share one call."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Starts a task of the daemon's. Any: a coroutine's other types."""


def nobody_asks() -> None:
    """For a store whose content nobody makes durable."""


class Durability:
    """The marks on a database's rows, for files below `roots`, which may be on several disks."""

    def __init__(self, database: Database, *roots: Path) -> None:
        self._database = database
        self._roots = {root.stat().st_dev: root for root in roots}
        self._spawn: Spawn | None = None
        self._pending = False
        self._running = False

    def lost_power(self) -> bool:
        """Whether files may have been lost since `settle_in`: another boot, or another disk."""
        row = self._database.execute("SELECT place FROM last_run").fetchone()
        return row is None or row["place"] != self._place()

    def settle_in(self) -> None:
        """What is not durable now was looked at, or made since the machine was started."""
        place = self._place()
        row = self._database.execute("SELECT place FROM last_run").fetchone()
        if row is None or row["place"] != place:
            with self._database.transaction():
                self._database.execute("DELETE FROM last_run")
                self._database.execute("INSERT INTO last_run (place) VALUES (?)", (place,))

    def _place(self) -> str:
        disks = " ".join(str(device) for device in self._roots)
        return f"{_BOOT_ID.read_text().strip()} {disks}"

    def start(self, spawn: Spawn) -> None:
        """Make content durable from now on; also what an earlier daemon did not come to."""
        self._spawn = spawn
        self.soon()

    def soon(self) -> None:
        """There is new content."""
        self._pending = True
        if self._spawn is not None and not self._running:
            self._running = True
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._pending:
                await asyncio.sleep(_DELAY_S)
                self._pending = False
                await self.sync()
        finally:
            self._running = False

    async def sync(self) -> None:
        """Wait until all content is on the disk, and mark what there was at the beginning."""
        blobs = self._database.execute(
            "SELECT digest, created_ns FROM blobs WHERE durable = 0"
        ).fetchall()
        snapshots = self._database.execute(
            "SELECT id FROM snapshots WHERE durable = 0 AND kind = 'committed'"
        ).fetchall()
        if not blobs and not snapshots:
            return
        try:
            roots = [str(root) for root in self._roots.values()]
            code = await process.exit_code(["sync", "--file-system", *roots])
            if code:
                raise ChildProcessError(f"sync(1) ended with {code}")
            self._mark([tuple(row) for row in blobs], [tuple(row) for row in snapshots])
        except (OSError, NoSpace) as error:
            log.warning("content is not marked as durable: %s", error)

    def _mark(self, blobs: Sequence[Parameters], snapshots: Sequence[Parameters]) -> None:
        """A blob that was removed and made again meanwhile is another one; numbers are not."""
        with self._database.transaction():
            self._database.executemany(
                "UPDATE blobs SET durable = 1 WHERE digest = ? AND created_ns = ?", blobs
            )
            self._database.executemany("UPDATE snapshots SET durable = 1 WHERE id = ?", snapshots)
