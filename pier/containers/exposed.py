"""Exposed ports as images and requests write them: "80", "53/udp", "8000-8010/tcp". Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pier.errors import InvalidArgument

_EXPOSED = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_PORTS = range(1, 65536)


class InvalidExposedPort(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"invalid port specification: {text!r}")


class ExposedPort(NamedTuple):
    number: int
    protocol: str


def parse_exposed(texts: Iterable[str]) -> Iterator[ExposedPort]:
    """Each port of each range. Raises InvalidExposedPort: an image's config may say anything."""
    for text in texts:
        match = _EXPOSED.fullmatch(text)
        if match is None:
            raise InvalidExposedPort(text)
        first = int(match[1])
        last = int(match[2] or first)
        if first not in _PORTS or last not in _PORTS or first > last:
            raise InvalidExposedPort(text)
        protocol = (match[3] or "tcp").lower()
        yield from (ExposedPort(number, protocol) for number in range(first, last + 1))
