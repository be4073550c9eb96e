"""What may be asked of a volume: its name, and the local driver's options. Pure."""

import re
from collections.abc import Mapping

from pier.errors import InvalidArgument

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LONGEST_NAME = 255
_OPTIONS = frozenset(("type", "device", "o", "size"))
_NEEDED_WITH = {"device": ("type",), "type": ("device",), "o": ("device", "type")}


class InvalidVolume(InvalidArgument):
    """The sentence is Docker's."""


def check_name(name: str) -> None:
    """Raise InvalidVolume for a name that could not be a directory, or looks like a path."""
    if len(name) == 1:
        raise InvalidVolume(
            f"create {name}: volume name is too short, names should be at least two "
            "alphanumeric characters"
        )
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise InvalidVolume(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )


def check_options(name: str, options: Mapping[str, str]) -> None:
    """The local driver's: type, device and o. Raises InvalidVolume."""
    for option in sorted(options):
        if option not in _OPTIONS:
            raise InvalidVolume(f'create {name}: invalid option: "{option}"')
    if options.get("size", "0").strip("0"):
        raise InvalidVolume(f"create {name}: quota size requested but no quota support")
    for option in sorted(options):
        for needed in _NEEDED_WITH.get(option, ()):
            if needed not in options:
                raise InvalidVolume(f'create {name}: missing required option: "{needed}"')
