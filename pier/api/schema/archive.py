"""The header that tells what a path in a container is, for `docker cp`. Pure.

`mode` is Go's os.FileMode: permission bits as in Unix, types as Go's own high bits.
"""

import stat
from base64 import b64encode

import msgspec

from pier.api.schema.encode import encode
from pier.api.schema.words import rfc3339
from pier.containers.requests import PathStat

_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


class PathStatJson(msgspec.Struct, rename="camel"):
    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


def go_mode(mode: int) -> int:
    """st_mode as os.FileMode."""
    bits = sum(high for low, high in _BITS.items() if mode & low)
    return mode & 0o777 | _TYPES.get(stat.S_IFMT(mode), 0) | bits


def stat_header(path: PathStat) -> str:
    """The value of X-Docker-Container-Path-Stat."""
    json = PathStatJson(
        path.name, path.size, go_mode(path.mode), rfc3339(path.mtime_ns), path.link_target
    )
    return b64encode(encode(json)).decode()
