"""`config.json` in ~/.docker: the file that Pier shares with Docker's client.

Docker CLI reference, "Configuration files". Unknown keys are kept when the file is written.
"""

from __future__ import annotations

import os

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def default_directory() -> str:
    home = os.environ.get("HOME") or os.path.expanduser("~")
    return os.environ.get("DOCKER_CONFIG") or f"{home}/.docker"


class SettingsFile:
    """The parsed file. A missing file is an empty one."""

    __slots__ = ("directory", "values")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.values: dict[str, Any] = {}  # Any: other programs' keys
        try:
            with open(self.path, encoding="utf-8") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        self.values = _parse(text, self.path)

    @property
    def path(self) -> str:
        return f"{self.directory}/config.json"

    def text(self, key: str) -> str:
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key)
        return value if isinstance(value, dict) else {}

    def save(self) -> None:
        """Write the file, readable by its owner only, all or nothing."""
        from pier.cli.jsonlite import format_json

        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        temporary = f"{self.path}.{os.getpid()}"
        target = os.path.realpath(self.path)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(format_json(self.values, indent=4).replace("    ", "\t"))
        os.replace(temporary, target)


def _parse(text: str, path: str) -> dict[str, Any]:
    from pier.cli.jsonlite import parse_json

    if not text.strip():
        return {}
    try:
        values = parse_json(text)
    except ValueError as error:
        raise Fault(f"Error loading config file: {path}: {error}") from error
    if not isinstance(values, dict):
        raise Fault(f"Error loading config file: {path}: not a JSON object")
    return values
