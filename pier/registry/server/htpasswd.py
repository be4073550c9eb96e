"""Basic authentication against an htpasswd file, bcrypt entries only, as docker-registry does.

bcrypt is meant to be slow, so it runs in a thread and what was right is remembered for a while,
as a keyed hash. The file is read again when it changes.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from pathlib import Path

from pier.errors import InvalidArgument, NotSupported
from pier.registry.credentials import parse_basic

_REMEMBERED_S = 300.0
_MAX_REMEMBERED = 1000


class NoBcrypt(NotSupported):
    def __init__(self) -> None:
        super().__init__("htpasswd needs the package bcrypt: pip install 'pier[registry]'")


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
        self._right: dict[bytes, float] = {}
        self._nobody = bcrypt.hashpw(b"", bcrypt.gensalt(rounds=10))
        self._read()

    async def user(self, authorization: str) -> str | None:
        """Who an Authorization header proves to be, or None."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        username, password = parse_basic(value.strip())
        self._read()
        # Somebody else's hash costs what this one would: time tells nothing about who exists.
        somebody = next(iter(self._hashes.values()), self._nobody)
        known = self._hashes.get(username, somebody)
        mark = hmac.new(self._key, f"{username}\0{password}\0".encode() + known, hashlib.sha256)
        if self._right.get(mark.digest(), 0.0) > time.monotonic():
            return username
        right = await asyncio.to_thread(self._matches, password, known)
        if not right or username not in self._hashes:
            return None
        if len(self._right) >= _MAX_REMEMBERED:
            self._right.clear()
        self._right[mark.digest()] = time.monotonic() + _REMEMBERED_S
        return username

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
