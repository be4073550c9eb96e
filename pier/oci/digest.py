"""Digests and descriptors: how content is named.

OCI image spec, descriptor.md: `algorithm ":" encoded`. Pier knows sha256 only.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NewType

from pier.errors import InvalidArgument

Digest = NewType("Digest", str)
"""A checked `sha256:<64 lowercase hex>`. Only this module makes one."""

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidDigest(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"invalid digest: {text!r}")


class DigestMismatch(InvalidArgument):
    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(f"content has digest {actual}, expected {expected}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Points at content: its type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int


def parse_digest(text: str) -> Digest:
    """Return `text` as a Digest, or raise InvalidDigest."""
    if not _SHA256.fullmatch(text):
        raise InvalidDigest(text)
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def encoded(digest: Digest) -> str:
    """The hex part: a file name in the content store."""
    return digest.partition(":")[2]


def verified(chunks: Iterable[bytes], expected: Digest) -> Iterator[bytes]:
    """Pass `chunks` through; raise DigestMismatch after the last one if they were wrong.

    The caller must not act on the content before the iteration has ended.
    """
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    actual = Digest("sha256:" + hasher.hexdigest())
    if actual != expected:
        raise DigestMismatch(expected, actual)
