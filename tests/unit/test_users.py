"""Users and groups, by a container's own files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.containers.to_oci import ProcessUser
from pier.containers.users import (
    GroupNotFound,
    IdOutOfRange,
    UserNotFound,
    lookup,
    parse_group,
    parse_passwd,
)

PASSWD = parse_passwd(
    "root:x:0:0:root:/root:/bin/sh\n\n# comment:x:1:1\nbroken\nbad:x:one:1::/:\n"
    "anna:x:1000:1000::/home/anna:/bin/sh\n99:x:5:6:::\nshort:x:7:8\n"
)
GROUP = parse_group(
    "root:x:0:root\nanna:x:1000:\naudio:x:29:anna,berta\nvideo:x:44:anna\nbad:x::\n"
)


@pytest.mark.parametrize(
    ("user", "added", "expected"),
    [
        ("", (), ProcessUser(additional_gids=(0,), home="/root")),
        ("anna", (), ProcessUser(uid=1000, gid=1000, additional_gids=(29, 44), home="/home/anna")),
        ("1000", (), ProcessUser(uid=1000, gid=1000, additional_gids=(29, 44), home="/home/anna")),
        ("anna:audio", (), ProcessUser(uid=1000, gid=29, home="/home/anna")),
        ("anna:77", (), ProcessUser(uid=1000, gid=77, home="/home/anna")),
        ("4711", (), ProcessUser(uid=4711, gid=0, home="/")),
        ("4711:5", ("video", "9"), ProcessUser(uid=4711, gid=5, additional_gids=(44, 9))),
        ("99", (), ProcessUser(uid=5, gid=6, home="/")),
        ("short", ("8", "8"), ProcessUser(uid=7, gid=8, additional_gids=(8,), home="/")),
        (":audio", (), ProcessUser(uid=0, gid=29, home="/root")),
    ],
)
def test_a_user_is_found(user: str, added: tuple[str, ...], expected: ProcessUser) -> None:
    assert lookup(user, added, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("user", "added", "error", "message"),
    [
        ("eve", (), UserNotFound, "unable to find user eve: no matching entries in passwd file"),
        ("root:eve", (), GroupNotFound,
         "unable to find group eve: no matching entries in group file"),
        ("", ("eve",), GroupNotFound,
         "unable to find group eve: no matching entries in group file"),
        ("4294967295", (), IdOutOfRange, "uids and gids must be in range 0-2147483647"),
        ("9" * 5000, (), IdOutOfRange,
         "uids and gids must be in range 0-2147483647"),
        ("\u0663", (), UserNotFound,
         "unable to find user \u0663: no matching entries in passwd file"),
        ("-1", (), IdOutOfRange, "uids and gids must be in range 0-2147483647"),
    ],
)  # fmt: skip
def test_nobody_is_made_up(
    user: str, added: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refused:
        lookup(user, added, PASSWD, GROUP)
    assert str(refused.value) == message


@given(st.text(), st.text())
def test_any_file_can_be_read(passwd: str, group: str) -> None:
    assert lookup("0:0", (), parse_passwd(passwd), parse_group(group)).uid >= 0
