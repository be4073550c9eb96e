"""RFC 3339 times as nanoseconds since the epoch, as Go writes and reads them.

Python's datetime stops at microseconds; images carry nanoseconds.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))"
)
GO_ZERO = "0001-01-01T00:00:00Z"


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch; 0 for "", Go's zero time and anything that is no time.

    A config with a bad date still runs, so a date is never a reason to refuse one.
    """
    match = _RFC3339.fullmatch(text)
    if not match or text == GO_ZERO:
        return 0
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    try:
        zone = _zone(match[8], match[9], match[10])
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        return 0
    fraction = int((match[7] or "0").ljust(9, "0"))
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + fraction


def _zone(sign: str | None, hours: str, minutes: str) -> timezone:
    if not sign:
        return UTC
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(offset if sign == "+" else -offset)


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC with as many digits as needed; Go's zero time for 0."""
    if time_ns == 0:
        return GO_ZERO
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{digits}Z"
