"""Go's durations and the points in time that `--since` and `--until` understand. Pure.

Go, time.ParseDuration; Docker CLI reference, `docker logs --since`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_ZONE = re.compile(r"(Z|[+-]\d\d:\d\d)$")
_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9})\d*)?)?)?)?$"
)
_EPOCH = re.compile(r"-?\d+(?:\.\d+)?$")


def parse_duration(text: str) -> int:
    """Return the nanoseconds in `1h30m`; raise ValueError in Go's words."""
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total, position = 0.0, 0
    exact = 0
    while match := _PART.match(rest, position):
        number, unit = match.groups()
        scale = _UNITS_NS[unit]
        whole, _, fraction = number.partition(".")
        exact += int(whole or 0) * scale
        total += float(f"0.{fraction or 0}") * scale
        position = match.end()
    if not rest or position != len(rest):
        raise ValueError(_bad_duration(text, rest, position))
    return sign * (exact + int(total))


def _bad_duration(text: str, rest: str, position: int) -> str:
    tail = rest[position:]
    if tail and tail.replace(".", "", 1).isdigit():
        return f'time: missing unit in duration "{text}"'
    match = re.match(r"[\d.]+([^\d.]+)", tail)
    if match:
        return f'time: unknown unit "{match[1]}" in duration "{text}"'
    return f'time: invalid duration "{text}"'


def parse_moment(text: str, now_ns: int) -> str:
    """Return a point in time as the API takes it: seconds since the epoch, with a fraction.

    `text` is a duration before `now_ns`, seconds since the epoch, or a date with or without a
    time and a zone (the local one if there is none).
    """
    if text in ("", "0"):
        return text
    try:
        return str((now_ns - parse_duration(text)) // 1_000_000_000)
    except ValueError:
        pass
    if _EPOCH.match(text):
        whole, _, fraction = text.partition(".")
        return f"{whole}.{fraction:0<9}" if fraction else whole
    zone = _ZONE.search(text) if len(text) > 10 else None
    match = _STAMP.match(text[: zone.start()] if zone else text)
    if not match:
        raise ValueError(f"failed to parse value as time or duration: {text!r}".replace("'", '"'))
    year, month, day, hour, minute, second, fraction = match.groups()
    moment = datetime(  # noqa: DTZ001 - given its zone below
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
    )
    moment = moment.replace(tzinfo=_zone(zone[1])) if zone else moment.astimezone()
    return f"{int(moment.timestamp())}.{fraction or '':0<9}"


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def parse_stamp(text: str) -> float:
    """Return the seconds since the epoch of an RFC 3339 timestamp, 0 if it is none."""
    zone = _ZONE.search(text)
    match = _STAMP.match(text[: zone.start()] if zone else text)
    if not match or not zone:
        return 0.0
    try:
        whole = datetime.fromisoformat(f"{text[:19]}{zone[1].replace('Z', '+00:00')}")
    except ValueError:
        return 0.0
    return whole.timestamp() + float(f"0.{match[7] or 0}")


def format_go_time(seconds: float) -> str:
    """Return a point in time as Go prints a time.Time: `2024-05-01 12:00:00 +0000 UTC`."""
    moment = datetime.fromtimestamp(int(seconds)).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S %z %Z")


def format_rfc3339(seconds: int, nanoseconds: int | None = None) -> str:
    """Return a local RFC 3339 timestamp, with nine digits of fraction if they are given."""
    moment = datetime.fromtimestamp(seconds).astimezone()
    fraction = "" if nanoseconds is None else f".{nanoseconds % 1_000_000_000:09d}"
    zone = moment.strftime("%z")
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + shown


def go_time_of(text: str) -> str:
    """Return an RFC 3339 timestamp in the form Go prints a time.Time, with its fraction."""
    if not text or text.startswith("0001-01-01"):
        return "0001-01-01 00:00:00 +0000 UTC"
    zone = _ZONE.search(text)
    offset = "+0000 UTC"
    if zone and zone[1] != "Z":
        offset = f"{zone[1].replace(':', '')} {zone[1].replace(':', '')}"
    return f"{text[:10]} {text[11 : zone.start() if zone else None]} {offset}"
