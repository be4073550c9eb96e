"""Sizes and spans of time in words, and sizes and CPUs out of words. Pure.

The wordings are those of Docker's go-units, which scripts compare literally.
"""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_POWERS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DIGITS = frozenset("0123456789.")
MINUTE, HOUR, DAY = 60, 3600, 86400


def format_size(size_bytes: float, precision: int = 4) -> str:
    """Return a decimal size: `1.23MB`."""
    return _scaled(size_bytes, 1000.0, _DECIMAL, precision)


def format_binary_size(size_bytes: float) -> str:
    """Return a binary size: `1.234MiB`."""
    return _scaled(size_bytes, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, names: tuple[str, ...], precision: int) -> str:
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return format_g(size, precision) + names[index]


def format_g(value: float, precision: int) -> str:
    """Format as C's `%.*g`."""
    return f"{value:.{precision}g}"


def format_span(seconds: float) -> str:
    """Return a span of time as people say it: `About a minute`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < MINUTE:
        return f"{whole} seconds"
    minutes = int(seconds / MINUTE)
    if minutes == 1:
        return "About a minute"
    if minutes < MINUTE:
        return f"{minutes} minutes"
    return _format_hours(int(seconds / HOUR + 0.5))


def _format_hours(hours: int) -> str:
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def parse_bytes(text: str) -> int:
    """Return the bytes in `512m`, `1.5GiB`, `10`; raise ValueError. Units are powers of 1024."""
    end = 0
    while end < len(text) and text[end] in _DIGITS:
        end += 1
    number, unit = text[:end], text[end:].strip().lower()
    power = 0
    if unit:
        power = _POWERS.get(unit[0], -1)
        if unit[1:] not in ("", "b", "ib") or (unit[0] == "b" and len(unit) > 1):
            power = -1
    try:
        if power < 0 or not number:
            raise ValueError
        return int(float(number) * 1024**power)
    except ValueError:
        raise ValueError(_bad_size(text, number, unit, power)) from None


def _bad_size(text: str, number: str, unit: str, power: int) -> str:
    if number and unit and power < 0:
        return f"invalid suffix: '{unit}'"
    return f"invalid size: '{text}'"


def parse_nano(text: str) -> int:
    """Return the billionths in a decimal such as `1.5` CPUs; raise ValueError."""
    from fractions import Fraction

    try:
        nano = Fraction(text) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return nano.numerator
