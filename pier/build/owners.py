"""`--chown` and USER: names looked up in the files of the image, never on the host.

The files are foreign: they are read inside the root, as plain files, up to a bound.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pier.errors import InvalidArgument
from pier.linux.paths import open_plain

_MAX_FILE_BYTES = 4 * 1024 * 1024
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_MAX_ID = 2**32 - 2


class NoSuchOwner(InvalidArgument):
    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"unable to convert {kind} {name}: no such {kind} in the image")


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


ROOT = Owner(0, 0)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a RUN runs as: USER, looked up in the image."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def find_identity(text: str, root_fd: int) -> Identity:
    """USER's `user[:group]`; "" is root. A number without an entry is a user of group 0."""
    user, _, group = (text or "0").partition(":")
    entry = _passwd_entry(user, root_fd)
    if entry is None and not _NUMBER.fullmatch(user):
        raise NoSuchOwner("user", user)
    uid = _checked(int(user)) if entry is None else int(entry[2])
    home = entry[5] if entry is not None and len(entry) > 5 and entry[5] else "/"
    if uid == 0 and entry is None:
        home = "/root"
    if group:
        return Identity(uid, _group(group, root_fd), (), home)
    gid = 0 if entry is None else int(entry[3])
    groups = _member_of(entry[0], root_fd) if entry is not None else ()
    return Identity(uid, gid, tuple(number for number in groups if number != gid), home)


def _passwd_entry(user: str, root_fd: int) -> list[str] | None:
    for fields in _records(root_fd, "etc/passwd"):
        if len(fields) > 3 and _are_ids(fields[2], fields[3]) and user in (fields[0], fields[2]):
            return fields
    return None


def _member_of(name: str, root_fd: int) -> tuple[int, ...]:
    return tuple(
        int(fields[2])
        for fields in _records(root_fd, "etc/group")
        if len(fields) > 3 and _are_ids(fields[2]) and name in fields[3].split(",")
    )


def find_owner(text: str, root_fd: int) -> Owner:
    """The owner `user[:group]` names in the root; a lone number is user and group alike."""
    user, colon, group = text.partition(":")
    if not user and not group:
        raise InvalidArgument(f"invalid chown: {text!r}")
    gid_of_user = 0
    if _NUMBER.fullmatch(user):
        uid = gid_of_user = _checked(int(user))
    else:
        uid, gid_of_user = _user(user, root_fd) if user else (0, 0)
    if not colon or not group:
        return Owner(uid, gid_of_user)
    return Owner(uid, _group(group, root_fd))


def _user(name: str, root_fd: int) -> tuple[int, int]:
    for fields in _records(root_fd, "etc/passwd"):
        if fields[0] == name and len(fields) > 3 and _are_ids(fields[2], fields[3]):
            return int(fields[2]), int(fields[3])
    raise NoSuchOwner("user", name)


def _group(name: str, root_fd: int) -> int:
    if _NUMBER.fullmatch(name):
        return _checked(int(name))
    for fields in _records(root_fd, "etc/group"):
        if fields[0] == name and len(fields) > 2 and _are_ids(fields[2]):
            return int(fields[2])
    raise NoSuchOwner("group", name)


def _are_ids(*texts: str) -> bool:
    return all(_NUMBER.fullmatch(text) and int(text) <= _MAX_ID for text in texts)


def _checked(number: int) -> int:
    if number > _MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_MAX_ID}")
    return number


def _records(root_fd: int, path: str) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        with os.fdopen(open_plain(root_fd, path), "rb") as file:
            data = file.read(_MAX_FILE_BYTES)
        for line in data.decode("utf-8", "replace").splitlines():
            yield line.split(":")
