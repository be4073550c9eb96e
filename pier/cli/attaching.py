"""Being attached to a container's process: streams, signals, size of the terminal, exit code.

Shared by `run`, `start`, `attach` and `exec`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` without its enums: 4 ms less
import time

from pier.cli.faults import ApiFault, Fault, ForcedExit
from pier.cli.streams import Hijacked, Output
from pier.cli.terminal import (
    DEFAULT_DETACH_KEYS,
    DetachWatch,
    Raw,
    is_terminal,
    parse_detach_keys,
    size,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TypeVar

    from pier.cli.client import Client
    from pier.cli.session import Session
    from pier.cli.transport import Response

    Answer = TypeVar("Answer")

AWAY_S = 30.0
"""How long a daemon may be away that was there before: the container goes on without it."""
AGAIN_S = 0.1
ENGINE_FAILED = 125
_ENOUGH = 3
_NOT_FORWARDED = ("CHLD", "CLD", "PIPE", "URG", "WINCH", "KILL", "STOP", "RTMIN", "RTMAX")
_FORWARDED: dict[int, str] = {
    getattr(_signal, name): name
    for name in dir(_signal)
    if name.startswith("SIG") and name[3] != "_" and name[3:] not in _NOT_FORWARDED
}


_ENDING = (_signal.SIGINT, _signal.SIGTERM)


def detach_keys(session: Session, flag: str) -> str:
    """Return the detach keys in force, '' for the daemon's default."""
    return flag or session.settings.text("detachKeys")


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Raise Fault if a terminal is wanted and our input is none."""
    if stdin and tty and not is_terminal(0):
        raise Fault("the input device is not a TTY")


class Conversation:
    """An attached stream and what the user's end of it is made of."""

    def __init__(self, response: Response, *, streams: list[str], tty: bool, keys: str) -> None:
        output = Output(
            terminal=tty, stdout="stdout" in streams, stderr="stderr" in streams and not tty
        )
        stdin = "stdin" in streams
        self._raw = Raw(0 if stdin else 1) if tty else None
        watch = None
        if tty and stdin:
            watch = DetachWatch(parse_detach_keys(keys or DEFAULT_DETACH_KEYS))
        self.stream = Hijacked(response.connection, output, stdin=0 if stdin else -1, watch=watch)

    def __enter__(self) -> Conversation:
        """Make our terminal raw, so that what is typed early is not echoed here as well."""
        if self._raw:
            self._raw.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw:
            self._raw.__exit__(None, None, None)

    def run(self) -> bool:
        """Converse to the end; return whether the user detached."""
        self.stream.run()
        return self.stream.detached


def follow_size(client: Client, path: str) -> None:
    """Keep the terminal at `path` (`/containers/x`, `/exec/x`) as large as ours."""

    def resize(_number: int = 0, _frame: FrameType | None = None) -> None:
        height, width = size()
        if height or width:
            try:
                client.post(f"{path}/resize", {"h": height, "w": width})
            except Fault:
                return  # it has exited, or has not started yet

    _signal.signal(_signal.SIGWINCH, resize)
    resize()


class SignalProxy:
    """While the block lasts, signals we get go to the container instead, where that is `enabled`.

    The third SIGINT or SIGTERM raises ForcedExit in any case, as Docker's client leaves then.
    """

    def __init__(self, client: Client, container_id: str, *, enabled: bool) -> None:
        self._client = client
        self._path = f"/containers/{container_id}/kill"
        self._saved: dict[int, object] = {}
        self._enabled = enabled
        self._asked = 0

    def __enter__(self) -> None:
        for number in _FORWARDED if self._enabled else _ENDING:
            try:
                self._saved[number] = _signal.signal(number, self._on_signal)
            except (OSError, ValueError):
                continue

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            _signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING:
            self._asked += 1
        if self._asked == _ENOUGH:
            raise ForcedExit
        if not self._enabled:
            return
        try:
            self._client.post(self._path, {"signal": _FORWARDED[number]})
        except (Fault, OSError):
            return  # it has exited: its exit code is on its way


class ExitWait:
    """Waits for a container's end, asked for at once; asked again if the daemon is restarted."""

    def __init__(self, client: Client, container_id: str, condition: str) -> None:
        self._client = client
        self._path = f"/containers/{container_id}/wait"
        self._again = "removed" if condition == "removed" else "not-running"
        self._waiting = self._ask(condition)

    def _ask(self, condition: str) -> Response:
        return self._client.request("POST", self._path, {"condition": condition or None})

    def exit_status(self) -> int:
        """Return the container's exit code, once there is one."""
        from pier.cli.jsonlite import parse_json
        from pier.cli.transport import CutOff

        try:
            data = self._waiting.read()
        except CutOff:
            data = when_back(lambda: self._ask(self._again).read())
        try:
            answer = parse_json(data)
        except ValueError as error:
            raise Fault(f"error waiting for container: {error}", ENGINE_FAILED) from error
        problem = (answer.get("Error") or {}).get("Message")
        if problem:
            raise Fault(f"error waiting for container: {problem}", ENGINE_FAILED)
        return int(answer["StatusCode"])

    def close(self) -> None:
        self._waiting.close()


def when_back(ask: Callable[[], Answer]) -> Answer:
    """Return what the daemon answers, asked again while it is away; raise Fault after AWAY_S."""
    left_s = AWAY_S
    while True:
        begun = time.monotonic()
        try:
            return ask()
        except ApiFault:
            raise
        except Fault:
            took_s = time.monotonic() - begun
            # One that was there for a while has gone once more.
            left_s = AWAY_S if took_s > AWAY_S else left_s - took_s - AGAIN_S
            if left_s < 0:
                raise
        time.sleep(AGAIN_S)
