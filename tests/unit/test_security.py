"""The grammar of --security-opt, and what is masked."""

import pytest

from pier.containers.security import (
    MASKED_PATHS,
    InvalidSecurityOption,
    SecurityOptions,
    masked_paths,
    parse_security_options,
    readonly_paths,
    warnings,
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), SecurityOptions()),
        (("no-new-privileges",), SecurityOptions(no_new_privileges=True)),
        (("no-new-privileges=false",), SecurityOptions()),
        (("no-new-privileges:true",), SecurityOptions(no_new_privileges=True)),
        (("seccomp=unconfined",), SecurityOptions(seccomp="unconfined")),
        (("seccomp:builtin",), SecurityOptions()),
        (('seccomp={"a":1}',), SecurityOptions(seccomp='{"a":1}')),
        (("apparmor=unconfined",), SecurityOptions(apparmor="unconfined")),
        (("label=disable", "disable"), SecurityOptions(labels=("disable", "disable"))),
        (("writable-cgroups=1",), SecurityOptions(writable_cgroups=True)),
    ],
)
def test_options_are_understood(options: tuple[str, ...], expected: SecurityOptions) -> None:
    assert parse_security_options(options) == expected


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("x", 'invalid --security-opt 1: "x"'),
        ("x=1", 'invalid --security-opt 2: "x=1"'),
        ("no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'),
    ],
)
def test_others_are_refused_in_dockers_words(option: str, message: str) -> None:
    with pytest.raises(InvalidSecurityOption) as refused:
        parse_security_options((option,))
    assert str(refused.value) == message


def test_the_daemons_default_can_be_taken_back() -> None:
    assert parse_security_options((), no_new_privileges=True).no_new_privileges
    options = parse_security_options(("no-new-privileges=false",), no_new_privileges=True)
    assert not options.no_new_privileges


def test_masks_follow_privilege_and_what_was_asked() -> None:
    assert masked_paths(None, privileged=False, thermal_throttle=("/t",)) == [*MASKED_PATHS, "/t"]
    assert masked_paths(None, privileged=True, thermal_throttle=("/t",)) == []
    assert masked_paths((), privileged=False, thermal_throttle=("/t",)) == []
    assert readonly_paths(("/a",), privileged=True) == ["/a"]


def test_what_the_host_lacks_is_said() -> None:
    options = parse_security_options(("apparmor=mine", "label=type:x"))
    assert len(warnings(options, apparmor=False, selinux=False)) == 2
    assert warnings(options, apparmor=True, selinux=True) == []
