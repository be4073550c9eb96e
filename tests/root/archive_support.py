"""Archives as tests write them, and trees as tests compare them."""

import io
import os
import stat
import tarfile
from pathlib import Path

from pier.archive.layer import Extracted, extract_layer

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: object) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def directory(name: str) -> Member:
    return member(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> Member:
    return member(name, tarfile.LNKTYPE, linkname=target)


def extract(layer: Path, *members: Member) -> Extracted:
    return extract_layer([tar(*members)], layer)


def tree(root: Path) -> dict[str, tuple[int, int, int, int, object, object, str]]:
    """Everything that makes a tree: kind, mode, owner, time, content, xattrs."""
    found: dict[str, tuple[int, int, int, int, object, object, str]] = {}
    inodes: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        name = str(path.relative_to(root))
        content: object = about.st_rdev
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        xattrs = {
            n: os.getxattr(path, n, follow_symlinks=False)
            for n in os.listxattr(path, follow_symlinks=False)
        }
        same = inodes.setdefault(about.st_ino, name)
        found[name] = (
            about.st_mode,
            about.st_uid,
            about.st_gid,
            about.st_mtime_ns,
            content,
            xattrs,
            same,
        )
    return found


def build(root: Path) -> None:
    """One of everything a file system can hold."""
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "file").write_bytes(b"content")
    os.link(root / "dir" / "file", root / "dir" / "same")
    (root / "dir" / "link").symlink_to("../nowhere")
    (root / ("long" * 50)).write_bytes(b"x" * 3000)
    (root / "ümlaut").write_bytes(b"")
    os.mkfifo(root / "fifo", 0o620)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o640, os.makedev(8, 1))
    (root / "suid").write_bytes(b"#!")
    os.chown(root / "suid", 1000, 3_000_000)
    (root / "suid").chmod(0o4755)
    os.setxattr(root / "suid", "user.note", b"a\nb=\0c")
    os.setxattr(root / "suid", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
    os.setxattr(root / "dir", "trusted.mine", b"1")
    with (root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(3 << 20)
    os.utime(root / "dir" / "sub", ns=(1, 1_234_567_890_123_456_789))
    (root / "dir" / "sub").chmod(0o1777)
    os.utime(root / "dir" / "link", ns=(0, 5), follow_symlinks=False)
    os.utime(root / "fifo", ns=(0, -1_500_000_000))


def world(layer: Path) -> dict[str, object]:
    return {
        name: about for name, about in tree(layer.parent).items() if not name.startswith("layer")
    }
