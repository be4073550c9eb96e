"""Directories of `RUN --mount=type=cache`: they outlive builds, and several may use one.

    <root>/<name>/        name: hash of the mount's id, "-n" for a private copy in use
                 data/    what the RUN sees
                 id       whose it is, for people

The directory that is mounted is ours, and so is the one above it: whatever builds put inside, no
path is ever looked up through it. Sharing: `shared` gives everyone the same one, `locked` one
after the other, `private` a further one to whoever comes while it is in use.
"""

import asyncio
import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pier.build.pruning import MOUNT, CacheRecord
from pier.linux.trees import remove_tree, tree_size

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class NewDirectory:
    """How a cache directory is made when it is not there."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class CacheMounts:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: defaultdict[str, int] = defaultdict(int)

    @contextlib.asynccontextmanager
    async def borrow(self, identity: str, sharing: str, new: NewDirectory) -> AsyncIterator[Path]:
        """The directory to mount, until the block ends. It is new if it is empty."""
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        async with contextlib.AsyncExitStack() as stack:
            if sharing == "locked":
                await stack.enter_async_context(self._locks[name])
            elif sharing == "private":
                name = self._free(name)
            self._users[name] += 1
            stack.callback(self._leave, name)
            yield self._made(name, identity, new)

    def _free(self, name: str) -> str:
        number = 0
        candidate = name
        while self._users[candidate]:
            number += 1
            candidate = f"{name}-{number}"
        return candidate

    def _leave(self, name: str) -> None:
        self._users[name] -= 1
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._root / name)

    def _made(self, name: str, identity: str, new: NewDirectory) -> Path:
        data = self._root / name / "data"
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.parent.mkdir(mode=0o700, exist_ok=True)
        (data.parent / "id").write_text(identity.strip("\0"), errors="replace")
        try:
            data.mkdir(mode=0o700)
        except FileExistsError:
            return data
        os.chown(data, new.uid, new.gid)
        data.chmod(new.mode)
        return data

    def list_(self) -> list[CacheRecord]:
        """Counts the files: off the loop."""
        if not self._root.is_dir():
            return []
        return [self._record(path) for path in sorted(self._root.iterdir())]

    def _record(self, path: Path) -> CacheRecord:
        try:
            identity = (path / "id").read_text(errors="replace")
        except FileNotFoundError:
            identity = ""
        used_ns = path.stat().st_mtime_ns
        return CacheRecord(
            key=path.name,
            kind=MOUNT,
            description=f"cached mount {identity}",
            size=tree_size(path / "data"),
            created_ns=used_ns,
            used_ns=used_ns,
            in_use=self._users[path.name] > 0,
        )

    def remove(self, name: str) -> bool:
        """Remove one that nobody uses; blocking. Whether it went."""
        if self._users[name]:
            return False
        fd = os.open(self._root, _DIRECTORY)
        try:
            remove_tree(name, dir_fd=fd)
        finally:
            os.close(fd)
        return True
