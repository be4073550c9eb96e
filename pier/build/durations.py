"""Go's durations ("1h30m", "1.5s") and byte sizes ("64m"), as flags and options write them."""

import re
from fractions import Fraction

from pier.errors import InvalidArgument

_UNITS_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_PART = re.compile(r"(\d{1,18}\.?\d{0,18}|\.\d{1,18})(ns|us|µs|μs|ms|s|m|h)")
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_MAX_NS = 2**63 - 1


class BadDuration(InvalidArgument):
    def __init__(self, text: str, why: str = "invalid duration") -> None:
        super().__init__(f'time: {why} "{text}"')


def parse_duration_ns(text: str) -> int:
    """`text` in nanoseconds, as Go's time.ParseDuration reads it."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total = Fraction(0)
    position = 0
    while position < len(rest) or position == 0:
        found = _PART.match(rest, position)
        if found is None and _NUMBER.fullmatch(rest, position):
            raise BadDuration(text, "missing unit in duration")
        if found is None:
            raise BadDuration(text)
        total += Fraction(found[1].rstrip(".")) * _UNITS_NS[found[2]]
        position = found.end()
    if total > _MAX_NS:
        raise BadDuration(text)
    return sign * int(total)


def parse_size_bytes(text: str) -> int | None:
    """`64m` in bytes (powers of 1024), or None when it is not a size."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    power = " kmgtp".index(found[2].lower() or " ")
    return int(Fraction(found[1]) * 1024**power)
