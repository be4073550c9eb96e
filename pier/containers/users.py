"""Who a container's process is: `--user` and `--group-add`, by the container's own files.

The files belong to the image and to the container, so they are opened inside its root only and
read to a bound; lines that make no sense are skipped, as the C library does (passwd(5), group(5)).
"""

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pier.containers.to_oci import ProcessUser
from pier.errors import Failed
from pier.linux.paths import IN_ROOT, NotAPlainFile, open_plain
from pier.linux.syscalls import RESOLVE_NO_XDEV

_LARGEST_ID = 2**31 - 1
_LONGEST_FILE = 4 * 1024 * 1024
_QUICKLY_READ = 64 * 1024
_PASSWD_FIELDS, _GROUP_FIELDS = 7, 4


class NoSuchIdentity(Failed):
    """A start that fails by it is the container's failure; an exec is refused."""


class UserNotFound(NoSuchIdentity):
    def __init__(self, name: str) -> None:
        super().__init__(f"unable to find user {name}: no matching entries in passwd file")


class GroupNotFound(NoSuchIdentity):
    def __init__(self, name: str) -> None:
        super().__init__(f"unable to find group {name}: no matching entries in group file")


class IdOutOfRange(NoSuchIdentity):
    def __init__(self) -> None:
        super().__init__(f"uids and gids must be in range 0-{_LARGEST_ID}")


@dataclass(frozen=True, slots=True)
class PasswdEntry:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class GroupEntry:
    name: str
    gid: int
    members: tuple[str, ...]


class NotQuick(Exception):
    """Reading the container's files may take a while: use a thread."""


def resolve_user(
    root_fd: int, user: str, group_add: Sequence[str] = (), *, quick: bool = False
) -> ProcessUser:
    """`user` ("", "name", "1000", "name:group", "1000:100") in the root `root_fd` stands for.

    Raises UserNotFound, GroupNotFound, IdOutOfRange. Blocks on the files of the container, unless
    `quick`: then it raises NotQuick where they are long or not on the root's own file system.
    """
    passwd = parse_passwd(read_bounded(root_fd, "/etc/passwd", quick=quick))
    group = parse_group(read_bounded(root_fd, "/etc/group", quick=quick))
    return lookup(user, group_add, passwd, group)


def lookup(
    user: str,
    group_add: Sequence[str],
    passwd: Sequence[PasswdEntry],
    group: Sequence[GroupEntry],
) -> ProcessUser:
    """The same, from entries already read: pure.

    A name is looked up before it is taken as a number. Without a group the user's own counts,
    and the groups it is a member of; a user that is only a number has group 0 and no others.
    """
    who, _, wanted_group = user.partition(":")
    entry = _find_user(who, passwd)
    if entry is None:
        entry = PasswdEntry("", _number(who, UserNotFound(who)), 0, "/")
    if wanted_group:
        gid, member_of = _gid(wanted_group, group), []
    else:
        gid, member_of = entry.gid, _memberships(entry.name, group)
    added = [_gid(name, group) for name in group_add]
    additional = tuple(dict.fromkeys(member_of + added))
    return ProcessUser(uid=entry.uid, gid=gid, additional_gids=additional, home=entry.home)


def parse_passwd(text: str) -> list[PasswdEntry]:
    entries = []
    for fields in _lines(text, _PASSWD_FIELDS):
        name, _, uid, gid, _, home = fields[:6]
        if _is_id(uid) and _is_id(gid):
            entries.append(PasswdEntry(name, int(uid), int(gid), home or "/"))
    return entries


def parse_group(text: str) -> list[GroupEntry]:
    entries = []
    for name, _, gid, members in _lines(text, _GROUP_FIELDS):
        if _is_id(gid):
            entries.append(GroupEntry(name, int(gid), tuple(filter(None, members.split(",")))))
    return entries


def read_bounded(
    root_fd: int, path: str, limit_bytes: int = _LONGEST_FILE, *, quick: bool = False
) -> str:
    """The text of a regular file of the container; "" if it is missing or something else.

    Raises NotQuick.
    """
    resolve = IN_ROOT | RESOLVE_NO_XDEV if quick else IN_ROOT
    try:
        fd = open_plain(root_fd, path, resolve=resolve)
    except NotAPlainFile:
        return ""
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise NotQuick from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            return ""
        raise
    with open(fd, "rb") as file:
        if quick and os.fstat(fd).st_size > _QUICKLY_READ:
            raise NotQuick
        return file.read(limit_bytes).decode(errors="replace")


def _lines(text: str, count: int) -> Iterable[list[str]]:
    """Fields of the lines that have enough; files of images often lack the last ones."""
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= 3 and fields[0] and not line.startswith("#"):
            yield (fields + [""] * count)[:count]


def _find_user(who: str, passwd: Sequence[PasswdEntry]) -> PasswdEntry | None:
    if not who:
        return next((entry for entry in passwd if entry.uid == 0), PasswdEntry("root", 0, 0, "/"))
    by_name = next((entry for entry in passwd if entry.name == who), None)
    if by_name or not _is_id(who):
        return by_name
    return next((entry for entry in passwd if entry.uid == int(who)), None)


def _gid(name: str, group: Sequence[GroupEntry]) -> int:
    for entry in group:
        if entry.name == name:
            return entry.gid
    return _number(name, GroupNotFound(name))


def _memberships(name: str, group: Sequence[GroupEntry]) -> list[int]:
    return [entry.gid for entry in group if name and name in entry.members]


def _number(text: str, missing: Failed) -> int:
    if not (text.isascii() and text.lstrip("-").isdecimal()):
        raise missing
    if not _is_id(text):
        raise IdOutOfRange
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST_ID
