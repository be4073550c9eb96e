"""Seccomp: our list, and profiles of users."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.runtime.seccomp import InvalidProfile, default_profile, from_docker_profile
from pier.runtime.seccomp_table import ALLOWED, DENIED, GATED


def rules_for(profile: dict[str, Any], name: str) -> list[tuple[str, int | None, bool]]:
    return [
        (rule["action"].removeprefix("SCMP_ACT_"), rule.get("errnoRet"), "args" in rule)
        for rule in profile["syscalls"]
        if name in rule["names"]
    ]


def default(*capabilities: str) -> dict[str, Any]:
    return default_profile(capabilities, "x86_64")


@pytest.mark.parametrize("name", ["mount", "keyctl", "io_uring_setup", "unshare", "bpf", "reboot"])
def test_dangerous_calls_are_not_permitted(name: str) -> None:
    assert rules_for(default(), name) == [("ERRNO", 1, False)]


@pytest.mark.parametrize("name", ["read", "ptrace", "futex_waitv", "landlock_add_rule", "execve"])
def test_harmless_calls_are_allowed(name: str) -> None:
    assert rules_for(default(), name) == [("ALLOW", None, False)]


def test_calls_newer_than_the_list_do_not_exist() -> None:
    assert default()["defaultErrnoRet"] == 38


@pytest.mark.parametrize(("capability", "name"), [(c, n[0]) for c, n in GATED.items()])
def test_a_capability_opens_its_calls(capability: str, name: str) -> None:
    assert rules_for(default(capability), name) == [("ALLOW", None, False)]


def test_clone_makes_namespaces_only_for_an_administrator() -> None:
    assert ("ALLOW", None, False) not in rules_for(default(), "clone")
    assert len([rule for rule in rules_for(default(), "clone") if rule[0] == "ERRNO"]) == 7
    assert rules_for(default(), "clone3") == [("ERRNO", 38, False)]
    assert rules_for(default("CAP_SYS_ADMIN"), "clone") == [("ALLOW", None, False)]


def test_no_call_is_both_allowed_and_denied() -> None:
    gated = {name for names in GATED.values() for name in names}
    assert not set(ALLOWED) & (set(DENIED) | gated)
    assert len(ALLOWED) == len(set(ALLOWED))


def test_only_this_machine_is_covered() -> None:
    assert default()["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert default_profile((), "aarch64")["architectures"][0] == "SCMP_ARCH_AARCH64"  # type: ignore[index]  # JSON


def test_a_users_profile_is_narrowed_to_this_container() -> None:
    text = json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "archMap": [
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            ],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "comment": "", "args": None},
                {"name": "old", "action": "SCMP_ACT_ALLOW"},
                {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X"]}},
                {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_X"]}},
                {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
                {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
                {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "9.0"}},
                {
                    "names": ["f"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 38,
                    "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
                },
            ],
        }
    )
    profile: Any = from_docker_profile(text, (), "x86_64", (6, 1))
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [rule["names"][0] for rule in profile["syscalls"]] == ["read", "old", "b", "d", "f"]
    assert profile["syscalls"][-1]["args"][0]["op"] == "SCMP_CMP_EQ"
    with_x: Any = from_docker_profile(text, ("CAP_X",), "x86_64", (6, 1))
    assert [rule["names"][0] for rule in with_x["syscalls"]] == ["read", "old", "a", "d", "f"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"defaultAction": 1}',
        '{"defaultAction":"x","architectures":["a"],"archMap":[{"architecture":"a"}]}',
        '{"defaultAction":"x","syscalls":[{"action":"y","name":"a","names":["b"]}]}',
        " " * (1024 * 1024 + 1),
    ],
)
def test_a_wrong_profile_is_refused(text: str) -> None:
    with pytest.raises(InvalidProfile, match="Decoding seccomp profile failed"):
        from_docker_profile(text, ())


@given(st.text())
def test_any_text_is_a_profile_or_refused(text: str) -> None:
    with pytest.raises(InvalidProfile):
        from_docker_profile(text, ())


def test_the_old_way_to_sockets_is_open_only_where_programs_need_it() -> None:
    assert rules_for(default(), "socketcall") == [("ALLOW", None, False)]
    closed: dict[str, Any] = default_profile((), "x86_64", socketcall=False)
    assert rules_for(closed, "socketcall") == [("ERRNO", 1, False)]
    names = [set(rule["names"]) for rule in closed["syscalls"]]
    first = next(number for number, found in enumerate(names) if "socket" in found)
    assert any("socketcall" in found for found in names[:first])
    assert closed["defaultErrnoRet"] != 1  # such a rule would be left out
    other: dict[str, Any] = default_profile((), "s390x", socketcall=False)
    assert rules_for(other, "socketcall") == [("ALLOW", None, False)]
