"""`RUN --mount=type=...,...`: what a RUN may see besides its root, decided and checked.

Purely the option text to a value. Where targets are relative, and what a source stands for, is
for the step that runs it.
"""

import csv
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pier.build.durations import parse_size_bytes
from pier.build.flags import suggestion
from pier.errors import InvalidArgument

_TYPES: Final = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING: Final = ("shared", "private", "locked")
_KEYS: Final = (
    "type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite",
    "rw", "id", "sharing", "required", "mode", "uid", "gid", "size", "env",
)  # fmt: skip


class BadMount(InvalidArgument):
    """A `--mount` that cannot be meant; the message is BuildKit's where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One mount of a RUN. `origin` is `from=`; None for mode, uid and gid: the type's default."""

    type: str = "bind"
    origin: str = ""
    source: str = ""
    target: str = ""
    readonly: bool | None = None
    id: str = ""
    sharing: str = ""
    required: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size_bytes: int = 0
    env: str = ""


def parse_mount(text: str, expand: Callable[[str], str] = str) -> RunMount:
    """Read one `--mount` value, its variables replaced by `expand`; raise BadMount."""
    mount = RunMount()
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in ("readonly", "ro", "readwrite", "rw", "required"):
            raise BadMount(f"invalid field '{field}' must be a key=value pair")
        if key not in _KEYS:
            raise BadMount(f"unexpected key '{key}' in '{field}'{suggestion(key, _KEYS)}")
        mount = _with(mount, key, expand(value) if equals else "true")
    return _checked(mount)


def origin_of(text: str) -> str:
    """The `from=` of a mount before anything is expanded: a plan needs it. "" when it has none."""
    for field in _fields(text):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            if "$" in value:
                raise BadMount(
                    "'from' doesn't support variable expansion, define alias stage instead"
                )
            return value
    return ""


def _fields(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadMount(f"failed to parse csv mounts: {error}") from error
    return rows[0] if rows else []


def _with(mount: RunMount, key: str, value: str) -> RunMount:
    match key:
        case "type":
            return replace(mount, type=_one_of(value, _TYPES, "unsupported mount type"))
        case "sharing":
            return replace(mount, sharing=_one_of(value, _SHARING, "unsupported sharing value"))
        case "from":
            return replace(mount, origin=value)
        case "source" | "src":
            return replace(mount, source=value)
        case "target" | "dst" | "destination":
            return replace(mount, target=value)
        case "readonly" | "ro":
            return replace(mount, readonly=_boolean(key, value))
        case "readwrite" | "rw":
            return replace(mount, readonly=not _boolean(key, value))
        case "id":
            return replace(mount, id=value)
        case "env":
            return replace(mount, env=value)
        case _:
            return _with_number(mount, key, value)


def _with_number(mount: RunMount, key: str, value: str) -> RunMount:
    match key:
        case "required" if mount.type in ("secret", "ssh"):
            return replace(mount, required=_boolean(key, value))
        case "size" if mount.type == "tmpfs":
            size = parse_size_bytes(value)
            if size is None:
                raise BadMount(f"invalid value for size: {value}")
            return replace(mount, size_bytes=size)
        case "mode":
            return replace(mount, mode=_number(key, value, 8))
        case "uid":
            return replace(mount, uid=_number(key, value, 10))
        case "gid":
            return replace(mount, gid=_number(key, value, 10))
        case _:
            raise BadMount(f"unexpected key '{key}' for mount type '{mount.type}'")


def _one_of(value: str, known: tuple[str, ...], complaint: str) -> str:
    if value.lower() not in known:
        raise BadMount(f'{complaint} "{value}"{suggestion(value, known)}')
    return value.lower()


def _boolean(key: str, value: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise BadMount(f"invalid value for {key}: {value}")


def _number(key: str, value: str, base: int) -> int:
    try:
        number = int(value, base) if value.isascii() and value.isalnum() else -1
    except ValueError:
        number = -1
    if not 0 <= number < 2**32:
        raise BadMount(f"invalid value {value} for {key}")
    return number


def _checked(mount: RunMount) -> RunMount:
    if mount.type in ("bind", "tmpfs"):
        for name, value in (("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)):
            if value is not None:
                raise BadMount(f'{name} not allowed for "{mount.type}" type mounts')
    if mount.sharing and mount.type != "cache":
        raise BadMount(f"invalid cache sharing set for {mount.type} mount")
    if mount.env and mount.type != "secret":
        raise BadMount(f"unexpected key 'env' for mount type '{mount.type}'")
    if mount.type == "secret":
        return _checked_secret(mount)
    if mount.type != "ssh" and not mount.target:
        raise BadMount(f"target is required for {mount.type} mounts")
    readonly = mount.type in ("bind", "ssh") if mount.readonly is None else mount.readonly
    return replace(mount, readonly=readonly)


def _checked_secret(mount: RunMount) -> RunMount:
    if mount.origin:
        raise BadMount("secret mount should not have a from")
    if not (mount.source or mount.target or mount.id):
        raise BadMount("invalid secret mount. one of source, target required")
    if mount.source and mount.id:
        raise BadMount("both source and id can't be set")
    identity = mount.id or mount.source or posixpath.basename(mount.target)
    target = mount.target
    if not target and not mount.env:
        target = f"/run/secrets/{posixpath.basename(identity)}"
    return replace(mount, id=identity, target=target, readonly=True)
