"""Durations in Go's form, as Docker's messages have them. Pure."""


def format_duration(duration_ns: int) -> str:
    """Return nanoseconds as Go prints a time.Duration: `1m30s`."""
    if duration_ns == 0:
        return "0s"
    sign = "-" if duration_ns < 0 else ""
    left = abs(duration_ns)
    if left < 1_000_000_000:
        for unit, scale in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if left >= scale:
                return f"{sign}{left / scale:g}{unit}"
    minutes, rest = divmod(left, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 1_000_000_000}.{rest % 1_000_000_000:09d}".rstrip("0").rstrip(".")
    text = f"{seconds}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text
