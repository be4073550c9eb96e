"""Signals by name or number, as `docker kill -s` and STOPSIGNAL take them. signal(7)."""

import signal

from pier.errors import InvalidArgument

_BY_NAME = {name: int(number) for name, number in signal.Signals.__members__.items()} | {
    f"SIGRTMIN+{offset}": signal.SIGRTMIN + offset
    for offset in range(1, signal.SIGRTMAX - signal.SIGRTMIN + 1)
} | {
    f"SIGRTMAX-{offset}": signal.SIGRTMAX - offset
    for offset in range(1, signal.SIGRTMAX - signal.SIGRTMIN + 1)
}  # fmt: skip


class InvalidSignal(InvalidArgument):
    def __init__(self, text: str) -> None:
        unknown_number = text.isdecimal() and int(text) > signal.SIGRTMAX
        if unknown_number:
            super().__init__(f"the linux daemon does not support signal {text}")
        else:
            super().__init__(f"invalid signal: {text}")


def parse_signal(text: str) -> int:
    """The number of "KILL", "sigterm", "9" or "RTMIN+3". Raises InvalidSignal."""
    if text.isdecimal():
        number = int(text)
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise InvalidSignal(text)
    name = text.upper()
    number = _BY_NAME.get(name, _BY_NAME.get("SIG" + name, 0))
    if not number:
        raise InvalidSignal(text)
    return number
