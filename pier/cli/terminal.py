"""The terminal this program runs in: raw mode, its size, the keys that detach. termios(3)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size(fd: int = 1) -> tuple[int, int]:
    """Return (height, width); zeros where there is no terminal."""
    try:
        width, height = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return height, width


class Raw:
    """A terminal passed through byte by byte for as long as the block lasts.

    Output processing is off too: the container's own terminal has already done it.
    """

    def __init__(self, fd: int, *, output: bool = True) -> None:
        self._fd = fd
        self._output = output
        self._saved: list[object] | None = None

    def __enter__(self) -> None:
        if not is_terminal(self._fd):
            return
        import termios

        self._saved = termios.tcgetattr(self._fd)
        iflag, oflag, cflag, lflag, ispeed, ospeed, characters = termios.tcgetattr(self._fd)
        iflag &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        if self._output:
            oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cflag = (cflag & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        raw = [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]
        termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type] # as tcgetattr gave it


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes that `ctrl-p,ctrl-q` stands for; raise ValueError."""
    keys = bytearray()
    for key in text.split(",") if text else []:
        if len(key) == 1:
            keys.append(ord(key))
            continue
        letter = key[5:] if key.lower().startswith("ctrl-") else ""
        if len(letter) == 1 and "a" <= letter.lower() <= "z":
            keys.append(ord(letter.lower()) - ord("a") + 1)
        elif letter in _CONTROL:
            keys.append(_CONTROL[letter])
        else:
            raise ValueError(f"unknown character: '{key}'")
    return bytes(keys)


class DetachWatch:
    """Looks for the detach keys in what is typed, across reads."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.detached = False

    def pass_on(self, data: bytes) -> bytes:
        """Return what the container should see; set `detached` once the keys are complete."""
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    return bytes(passed)
                continue
            passed += self._keys[: self._matched]
            self._matched = int(byte == self._keys[0])
            if not self._matched:
                passed.append(byte)
        return bytes(passed)
