"""One corpus of archives that try to leave the place where they are unpacked."""

import tarfile

from tests.root.archive_support import Member, directory, hard, link, member

OUT = "../outside"
HOSTILE: dict[str, list[Member]] = {
    "dots": [member(f"{OUT}/precious", data=b"x")],
    "inner dots": [directory("a"), member("a/../../outside/precious", data=b"x")],
    "absolute": [member("/ABS/outside/precious", data=b"x")],
    "link then write": [link("l", OUT), member("l/precious", data=b"x")],
    "absolute link then write": [link("l", "/ABS/outside"), member("l/precious", data=b"x")],
    "link chain": [
        link("a", "b/.."),
        directory("b"),
        link("c", "a/../../../outside"),
        member("c/precious", data=b"x"),
    ],
    "link then directory": [link("l", OUT), directory("l"), member("l/new")],
    "link then mode": [link("l", OUT), member("l", tarfile.DIRTYPE, mode=0o777)],
    "write through final link": [link("l", f"{OUT}/precious"), member("l", data=b"x")],
    "hard link out": [hard("h", f"{OUT}/precious"), member("h", data=b"x")],
    "hard link through link": [link("l", OUT), hard("h", "l/precious"), member("h", data=b"x")],
    "hard link absolute": [hard("h", "/ABS/outside/precious"), member("h", data=b"x")],
    "hard link to link": [link("l", f"{OUT}/precious"), hard("h", "l"), member("h", data=b"x")],
    "hard link to itself": [member("a", data=b"1"), hard("a", "a")],
    "hard link to a directory": [directory("d"), hard("h", "d")],
    "hard link to nothing": [hard("h", "")],
    "whiteout of dots": [directory("a"), member("a/.wh...")],
    "whiteout of dot": [member(".wh..")],
    "whiteout of nothing": [member(".wh.")],
    "whiteout through link": [link("l", OUT), member("l/.wh.precious")],
    "opaque through link": [link("l", OUT), member("l/.wh..wh..opq")],
    "whiteout dots": [member(f"{OUT}/.wh.precious")],
    "link replaced": [directory("d"), member("d/f"), link("d", OUT), member("d/precious")],
    "fd link": [link("l", "/proc/self/cwd"), member("l/x", data=b"x")],
    "root is a file": [member(".", data=b"x")],
    "root is a link": [link(".", OUT), member("precious", data=b"x")],
    "device": [member("dev", tarfile.CHRTYPE, devmajor=1, devminor=3), member("dev", data=b"x")],
    "disk": [member("sda", tarfile.BLKTYPE, devmajor=8, devminor=0)],
    "fifo": [member("f", tarfile.FIFOTYPE), member("f", data=b"x")],
    "overlay redirect": [
        member(
            "d",
            tarfile.DIRTYPE,
            pax_headers={
                "SCHILY.xattr.trusted.overlay.redirect": "/../outside",
                "SCHILY.xattr.security.selinux": "x",
            },
        )
    ],
    "long name": [member("n" * 300)],
    "deep": [member("/".join("d" * 3000))],
    "loop": [link("a", "b"), link("b", "a"), member("a/x")],
    "file as a directory": [member("f"), member("f/x")],
    "bad owner": [member("f", uid=-1)],
    "negative time": [member("f", mtime=-(10**10))],
    "huge time": [member("f", mtime=10**15)],
    "empty link": [link("l", "")],
}
