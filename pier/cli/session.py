"""One run of the program: its settings, its endpoint, its client, its streams."""

from __future__ import annotations

import sys

from pier.cli.endpoint import find_endpoint
from pier.cli.settings_file import SettingsFile, default_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.address import Endpoint
    from pier.cli.client import Client
    from pier.cli.endpoint import GlobalFlags


class Session:
    """Made by `main` for one command. `path` is the command as typed: `pier container ls`."""

    def __init__(self, flags: GlobalFlags, directory: str = "", path: str = "pier") -> None:
        self.flags = flags
        self.path = path
        self.debug = False
        self.settings = SettingsFile(directory or default_directory())
        self._client: Client | None = None

    @property
    def endpoint(self) -> Endpoint:
        return find_endpoint(self.flags, self.settings)

    @property
    def client(self) -> Client:
        if self._client is None:
            from pier.cli.client import Client

            headers = self.settings.table("HttpHeaders")
            self._client = Client(self.endpoint, {k: str(v) for k, v in headers.items()})
        return self._client

    def format(self, options_format: str, key: str) -> str:
        """Return the format to use: the flag's, or the one in config.json under `key`."""
        return options_format or self.settings.text(key)


def out(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def err(text: str) -> None:
    """Write a line to stderr, after what stdout still holds."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def confirmed(question: str) -> bool:
    """Ask a yes/no question on the terminal; anything but yes is no."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
