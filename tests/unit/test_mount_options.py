"""Options as people write them, as mount(2) takes them."""

import pytest

from pier.linux import syscalls
from pier.linux.mount_options import MountOptions, parse_mount_options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", MountOptions(0, 0, "")),
        ("defaults", MountOptions(0, 0, "")),
        ("bind", MountOptions(syscalls.MS_BIND, 0, "")),
        ("ro,rw,nosuid", MountOptions(syscalls.MS_NOSUID, 0, "")),
        ("rbind,rslave", MountOptions(syscalls.MS_BIND | syscalls.MS_REC,
                                      syscalls.MS_SLAVE | syscalls.MS_REC, "")),
        ("ro,addr=10.0.0.1,vers=4", MountOptions(syscalls.MS_RDONLY, 0, "addr=10.0.0.1,vers=4")),
        ("size=1m,uid=5", MountOptions(0, 0, "size=1m,uid=5")),
    ],
)  # fmt: skip
def test_words_become_flags_or_stay_words(text: str, expected: MountOptions) -> None:
    assert parse_mount_options(text) == expected
