"""API versions: which are spoken, how a request names one, what Pier calls itself.

Nothing here depends on a request; `at_least` reads as "the client speaks 1.N or newer".
"""

import re
from dataclasses import dataclass

from pier.errors import InvalidArgument

SERVER_VERSION = "28.5.2"
"""Engine version Pier behaves like; clients show it and some compare it. With `MAX_VERSION` it is
a pair that exists (ADR 750): both change together.
"""
PIER_VERSION = "0.1.0"
_TEXT = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True, order=True)
class ApiVersion:
    major: int
    minor: int

    def at_least(self, minor: int) -> bool:
        return (self.major, self.minor) >= (1, minor)

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing.override: 3.12
        return f"{self.major}.{self.minor}"


def parse_version(text: str) -> ApiVersion:
    """Raises InvalidArgument. "1" is 1.0; anything behind the minor number is ignored."""
    if not _TEXT.fullmatch(text) or len(text) > 20:
        raise InvalidArgument(f"invalid API version: {text}")
    numbers = [int(part) for part in text.split(".")] + [0]
    return ApiVersion(numbers[0], numbers[1])


MAX_VERSION = ApiVersion(1, 51)
FLOOR_VERSION = ApiVersion(1, 24)


class VersionTooOld(InvalidArgument):
    def __init__(self, asked: ApiVersion, minimum: ApiVersion) -> None:
        super().__init__(
            f"client version {asked} is too old. Minimum supported API version is {minimum}, "
            "please upgrade your client to a newer version"
        )


class VersionTooNew(InvalidArgument):
    def __init__(self, asked: ApiVersion) -> None:
        super().__init__(
            f"client version {asked} is too new. Maximum supported API version is {MAX_VERSION}"
        )


def negotiated(text: str | None, minimum: ApiVersion = FLOOR_VERSION) -> ApiVersion:
    """The version a request is answered in; None is an unversioned path: the newest."""
    if text is None:
        return MAX_VERSION
    asked = parse_version(text)
    if asked < minimum:
        raise VersionTooOld(asked, minimum)
    if asked > MAX_VERSION:
        raise VersionTooNew(asked)
    return asked
