"""How a command fails: a sentence for stderr and an exit code."""

from __future__ import annotations

from pier.errors import PierError


class Fault(PierError):
    """The command failed; `text` goes to stderr as it is, unless it is empty."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class UsageFault(Fault):
    """The command line itself is wrong: the message is followed by the usage line."""

    def __init__(self, text: str, code: int = 125, *, hint: str = "Run") -> None:
        super().__init__(text, code)
        self.hint = hint


class ApiFault(Fault):
    """The daemon answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status
        self.message = message


class NoDaemon(Fault):
    """Nothing answers at the endpoint."""

    def __init__(self, address: str, reason: str = "") -> None:
        text = f"Cannot connect to the Docker daemon at {address}. Is the docker daemon running?"
        if reason:
            text = f"error during connect: {reason}"
        super().__init__(text)


class ForcedExit(KeyboardInterrupt):
    """Asked to end for the third time: whatever is being waited for is left."""

    def __init__(self) -> None:
        super().__init__("got 3 SIGTERM/SIGINTs, forcefully exiting")
