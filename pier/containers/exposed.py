"""Exposed ports as images and requests write them: "80", "53/udp", "8000-8010/tcp". Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from typing_extensions import override

_EXPOSED = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_LARGEST = 65535


class ExposedPort(NamedTuple):
    number: int
    protocol: str

    @override
    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


class _Range(NamedTuple):
    first: int
    last: int
    protocol: str


def parse_exposed(texts: Iterable[str]) -> list[ExposedPort]:
    """Each port once, sorted. What is no port is left out: an image's config may say anything.

    A hundred thousand ranges of all ports cost no more than marks in a table.
    """
    marks: dict[str, bytearray] = {}
    for text in texts:
        if found := _range(text):
            table = marks.setdefault(found.protocol, bytearray(_LARGEST + 1))
            table[found.first : found.last + 1] = b"\1" * (found.last + 1 - found.first)
    return sorted(
        ExposedPort(number, protocol)
        for protocol, table in marks.items()
        for number, marked in enumerate(table)
        if marked
    )


def is_exposed_port(text: str) -> bool:
    """Whether it is understood: a port, or a range of ports."""
    return _range(text) is not None


def _range(text: str) -> _Range | None:
    match = _EXPOSED.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2] or first)
    if not 0 < first <= last <= _LARGEST:
        return None
    return _Range(first, last, (match[3] or "tcp").lower())
