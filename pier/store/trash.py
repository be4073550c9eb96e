"""Where directory trees go to be removed, off the path of whoever no longer wants them.

`put` renames, which is immediate; one thread removes. What a crash leaves in the trash directory
goes at the next start. A removed name can be used again at once.
"""

import contextlib
import logging
import os
import queue
import threading
import uuid
from pathlib import Path

from pier.linux.trees import remove_tree

log = logging.getLogger(__name__)


class Trash:
    """The trash directory `root`, on the file system of what is put into it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, path: Path) -> None:
        """Take the tree at `path` away; nothing there is fine."""
        name = uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            path.rename(self._root / name)
            self._remove_later(name)

    def sweep(self) -> None:
        """Remove what an earlier run left."""
        for path in self._root.iterdir():
            self._remove_later(path.name)

    def close(self) -> None:
        """Wait until everything put so far is gone."""
        thread, self._thread = self._thread, None
        if thread:
            self._queue.put(None)
            thread.join()

    def _remove_later(self, name: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="trash", daemon=True)
            self._thread.start()
        self._queue.put(name)

    def _run(self) -> None:
        root_fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while (name := self._queue.get()) is not None:
                self._remove(name, root_fd)
        finally:
            os.close(root_fd)

    def _remove(self, name: str, root_fd: int) -> None:
        try:
            remove_tree(name, dir_fd=root_fd)
        except OSError as error:
            log.warning("a removed tree could not be deleted: %s", error)
