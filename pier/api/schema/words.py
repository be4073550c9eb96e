"""Times and states as Docker's clients show them, and times as clients ask for them. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pier.containers.model import Container, Health
from pier.containers.state import State
from pier.errors import InvalidArgument
from pier.oci.timestamp import format_time, parse_time

SECOND_NS = 1_000_000_000

_UNIX = re.compile(r"(-?[0-9]{1,18})(?:\.([0-9]{1,9})[0-9]*)?")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}
_LAYOUTS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d")


class InvalidTime(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f'failed to parse value as time or duration: "{text}"')


def rfc3339(time_ns: int) -> str:
    """RFC 3339 in UTC with as many digits as there are; Go's zero time for 0."""
    return format_time(time_ns)


def parse_moment(text: str, now_ns: int) -> int:
    """A moment as Unix time, RFC 3339, or a duration before now; 0 for "" and "0"."""
    if not text:
        return 0
    if unix := _UNIX.fullmatch(text):
        return int(unix[1]) * SECOND_NS + int((unix[2] or "").ljust(9, "0"))
    if _DURATION.fullmatch(text):
        return now_ns - parse_duration(text)
    return parse_time(text) or _parse_local(text)


def parse_duration(text: str) -> int:
    """Go's durations, in nanoseconds: "1h30m"."""
    parts = _DURATION_PART.findall(text)
    return sum(int(float(number) * _UNIT_NS[unit]) for number, unit in parts)


def _parse_local(text: str) -> int:
    """A time without a zone, or a date; taken as UTC."""
    for layout in _LAYOUTS:
        try:
            moment = datetime.strptime(text.removesuffix("Z"), layout).replace(tzinfo=UTC)
        except ValueError:
            continue
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    raise InvalidTime(text)


@dataclass(frozen=True, slots=True)
class _Step:
    """Up to `below` seconds, durations are counted in `unit_s`."""

    below: int
    unit_s: int
    unit: str


_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS = (
    _Step(48 * _HOUR, _HOUR, "hours"),
    _Step(14 * _DAY, _DAY, "days"),
    _Step(60 * _DAY, 7 * _DAY, "weeks"),
    _Step(730 * _DAY, 30 * _DAY, "months"),
)


def human_duration(duration_ns: int) -> str:
    """A duration as `docker ps` shows it: "3 minutes", "About an hour"."""
    seconds = max(duration_ns, 0) // SECOND_NS
    if seconds < 1:
        return "Less than a second"
    if seconds < _MINUTE:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if seconds < _HOUR:
        return "About a minute" if seconds < 2 * _MINUTE else f"{seconds // _MINUTE} minutes"
    hours = (seconds + _HOUR // 2) // _HOUR
    return "About an hour" if hours == 1 else _human_hours(hours)


def _human_hours(hours: int) -> str:
    seconds = hours * _HOUR
    for step in _STEPS:
        if seconds < step.below:
            return f"{seconds // step.unit_s} {step.unit}"
    return f"{seconds // (365 * _DAY)} years"


def _health(health: Health) -> str:
    return "health: starting" if health.status == "starting" else health.status


def state_text(container: Container, now_ns: int) -> str:
    """The Status column of `docker ps`."""
    status = container.status
    up = f"Up {human_duration(now_ns - status.started_ns)}"
    ended = f"({status.exit_code}) {human_duration(now_ns - status.finished_ns)} ago"
    match container.state:
        case State.PAUSED:
            return f"{up} (Paused)"
        case State.RESTARTING:
            return f"Restarting {ended}"
        case State.RUNNING:
            return f"{up} ({_health(status.health)})" if status.health else up
        case State.REMOVING:
            return "Removal In Progress"
        case State.DEAD:
            return "Dead"
    if not status.started_ns and not status.finished_ns:
        return "Created"
    return f"Exited {ended}" if status.finished_ns else ""
