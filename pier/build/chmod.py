"""`--chmod`: octal, or symbolic as chmod(1) writes it (`u=rwX,go=rX`, `+x`, `g=u`, `a-w,+t`).

Pure: a mode and what the file is go in, the new mode comes out.
"""

import re
from dataclasses import dataclass

from pier.errors import InvalidArgument

_OCTAL = re.compile(r"[0-7]{1,4}")
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_ALL = 0o7777


class BadMode(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and "
            "07777, or symbolic as for chmod(1)"
        )


@dataclass(frozen=True, slots=True)
class ModeChange:
    """Parsed once, applied to each file. `octal` replaces; else `clauses` in order."""

    octal: int | None
    clauses: tuple[tuple[str, str, str], ...] = ()

    def applied(self, mode: int, *, directory: bool) -> int:
        """The permission bits after the change; `mode` is those before."""
        if self.octal is not None:
            return self.octal
        for who, operator, what in self.clauses:
            mode = _changed(mode, who, operator, what, directory=directory)
        return mode


def parse_mode(text: str) -> ModeChange:
    """Read a `--chmod` value; raise BadMode."""
    if _OCTAL.fullmatch(text):
        return ModeChange(int(text, 8))
    clauses: list[tuple[str, str, str]] = []
    for part in text.split(","):
        found = _CLAUSE.fullmatch(part)
        if found is None:
            raise BadMode(text)
        who = "ugo" if not found[1] or "a" in found[1] else found[1]
        clauses.extend((who, action[1], action[2]) for action in _ACTION.finditer(found[2]))
    return ModeChange(None, tuple(clauses))


def _changed(mode: int, who: str, operator: str, what: str, *, directory: bool) -> int:
    bits = _wanted(mode, who, what, directory=directory)
    if operator == "+":
        return (mode | bits) & _ALL
    if operator == "-":
        return mode & ~bits
    return (mode & ~_scope(who, directory=directory)) | bits


def _wanted(mode: int, who: str, what: str, *, directory: bool) -> int:
    permissions = _permissions(mode, what, directory=directory)
    bits = 0
    for one in who:
        bits |= permissions << _SHIFT[one]
    if "s" in what:
        bits |= 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
    return bits | 0o1000 * ("t" in what)


def _permissions(mode: int, what: str, *, directory: bool) -> int:
    if what in _SHIFT and what:
        return (mode >> _SHIFT[what]) & 7
    permissions = 0
    for letter in what:
        permissions |= _BITS.get(letter, 0)
    if "X" in what and (directory or mode & 0o111):
        permissions |= 1
    return permissions


def _scope(who: str, *, directory: bool) -> int:
    """What `=` clears first. A directory's set-id bits stay, as chmod(1) keeps them."""
    bits = 0
    for one in who:
        bits |= 7 << _SHIFT[one]
    if not directory:
        bits |= 0o4000 * ("u" in who) | 0o2000 * ("g" in who)
    return bits | 0o1000 * (who == "ugo")
