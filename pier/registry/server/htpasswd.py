"""Basic authentication against an htpasswd file, bcrypt entries only, as docker-registry does.

bcrypt is meant to be slow, so it has threads of its own and what it found is remembered for a
while, as a keyed hash: who tries passwords keeps nobody from reading and writing, and one client
waits behind few of another's. The file is read again when it changes.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pier.errors import InvalidArgument, NotSupported
from pier.registry.credentials import parse_basic
from pier.registry.server import faults

_REMEMBERED_S = 300.0
_MAX_REMEMBERED = 1000
_THREADS = 2
_MOST_WAITING = 256
_MOST_OF_ONE = 8
"""Passwords of one client's that are being checked, or wait for that."""


class NoBcrypt(NotSupported):
    def __init__(self) -> None:
        super().__init__("htpasswd needs the package bcrypt: pip install 'pier[registry]'")


class _Seen(NamedTuple):
    right: bool
    until_s: float


class Htpasswd:
    def __init__(self, path: Path) -> None:
        try:
            import bcrypt
        except ImportError as error:
            raise NoBcrypt from error
        self._check = bcrypt.checkpw
        self._path = path
        self._stamp = 0
        self._hashes: dict[str, bytes] = {}
        self._key = secrets.token_bytes(32)
        self._threads = ThreadPoolExecutor(_THREADS, "bcrypt")
        self._waiting: Counter[str] = Counter()
        self._seen: dict[bytes, _Seen] = {}
        self._nobody = bcrypt.hashpw(b"", bcrypt.gensalt(rounds=10))
        self._read()

    async def user(self, authorization: str, client: str) -> str | None:
        """Who an Authorization header proves to be, or None. Raises the fault TOOMANYREQUESTS.

        client: an address, or whatever tells one from another.
        """
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        username, password = parse_basic(value.strip())
        self._read()
        # Somebody else's hash costs what this one would: time tells nothing about who exists.
        somebody = next(iter(self._hashes.values()), self._nobody)
        known = self._hashes.get(username, somebody)
        mark = hmac.digest(self._key, f"{username}\0{password}\0".encode() + known, hashlib.sha256)
        seen = self._seen.get(mark)
        if seen is None or seen.until_s < time.monotonic():
            right = await self._checked(client, password, known)
            self._remember(mark, right=right and username in self._hashes)
        return username if self._seen[mark].right else None

    async def _checked(self, client: str, password: str, known: bytes) -> bool:
        if self._waiting[client] >= _MOST_OF_ONE or self._waiting.total() >= _MOST_WAITING:
            raise faults.too_many_requests("too many passwords at once")
        self._waiting[client] += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._matches, password, known)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

    def _remember(self, mark: bytes, *, right: bool) -> None:
        """Room is made by what is wrong: guesses do not push out what was proved."""
        if len(self._seen) >= _MAX_REMEMBERED:
            self._seen = {mark: seen for mark, seen in self._seen.items() if seen.right}
        if len(self._seen) >= _MAX_REMEMBERED:
            self._seen.clear()
        self._seen[mark] = _Seen(right, time.monotonic() + _REMEMBERED_S)

    def _matches(self, password: str, known: bytes) -> bool:
        """A user who does not exist takes as long as one who does."""
        try:
            return bool(self._check(password.encode()[:72], known))
        except ValueError:
            return False

    def _read(self) -> None:
        stamp = self._path.stat().st_mtime_ns
        if stamp == self._stamp:
            return
        self._hashes = parse_htpasswd(self._path.read_text(), str(self._path))
        self._stamp = stamp


def parse_htpasswd(text: str, where: str) -> dict[str, bytes]:
    """User names and bcrypt hashes; raises InvalidArgument for any other kind of hash."""
    found: dict[str, bytes] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        username, colon, value = line.partition(":")
        if not colon or not value.startswith(("$2y$", "$2b$", "$2a$")):
            raise InvalidArgument(
                f"{where}, line {number}: only bcrypt entries are taken (htpasswd -B)"
            )
        found[username] = value.encode()
    return found
