"""Which execs can do without the runtime: pure decisions on configurations and profiles."""

from typing import Any

import pytest

from pier.containers.native_exec import (
    filter_flags,
    lets_start,
    same_in_all_runtimes,
    understood,
    understood_process,
)
from pier.runtime.seccomp import default_profile

CONFIG: dict[str, Any] = {
    "process": {"args": ["sleep"], "cwd": "/", "env": []},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}], "resources": {}},
}
PROCESS: dict[str, Any] = {"args": ["true"], "cwd": "/", "env": ["HOME=/"], "user": {}}
PROFILE = default_profile(["CAP_CHOWN"])
ALLOWING: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}


def rule(action: str, *names: str, **fields: object) -> dict[str, object]:
    return {"names": list(names), "action": f"SCMP_ACT_{action}", **fields}


@pytest.mark.parametrize(
    ("linux", "process", "answer"),
    [
        ({}, {}, True),
        ({"seccomp": PROFILE}, {}, True),
        ({"namespaces": [{"type": "user"}, {"type": "mount"}]}, {}, False),
        ({"uidMappings": []}, {}, False),
        ({"namespaces": [{"type": "mount"}]}, {}, True),
        ({"namespaces": [{"type": "pid", "path": "/proc/7/ns/pid"}]}, {}, False),
        ({"namespaces": [{"type": "network", "path": "/proc/7/ns/net"}]}, {}, True),
        ({"mountLabel": "x"}, {}, False),
        ({"seccomp": {**PROFILE, "listenerPath": "/x"}}, {}, False),
        ({"seccomp": {**PROFILE, "flags": ["SECCOMP_FILTER_FLAG_NEW"]}}, {}, False),
        ({}, {"apparmorProfile": "docker-default"}, False),
        ({}, {"selinuxLabel": "x"}, False),
        ({}, {"capabilities": {"bounding": ["CAP_CHOWN"]}}, True),
        ({}, {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_PTRACE"]}}, False),
    ],
)
def test_a_container_with_something_unusual_is_the_runtimes(
    linux: dict[str, Any], process: dict[str, Any], *, answer: bool
) -> None:
    config = {"linux": CONFIG["linux"] | linux, "process": CONFIG["process"] | process}
    assert understood(config) is answer


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({}, True),
        ({"env": ["PATH=/bin"]}, False),
        ({"cwd": "/proc/self/cwd"}, False),
        ({"args": ["/proc/self/exe"]}, False),
        ({"scheduler": {}}, False),
    ],
)
def test_a_process_with_something_unusual_is_the_runtimes(
    change: dict[str, Any], *, answer: bool
) -> None:
    assert understood_process(PROCESS | change) is answer


@pytest.mark.parametrize(
    ("profile", "answer"),
    [
        (PROFILE, True),
        (default_profile(["CAP_SYS_ADMIN"]), True),
        (ALLOWING, True),
        ({**ALLOWING, "syscalls": [rule("ERRNO", "clone3", errnoRet=38)]}, True),
        ({**ALLOWING, "syscalls": [rule("ERRNO", "clone3", errnoRet=1)]}, False),
        ({**ALLOWING, "syscalls": [rule("ERRNO", "clone")]}, False),
        ({**ALLOWING, "syscalls": [rule("KILL", "mmap")]}, False),
        ({**ALLOWING, "syscalls": [rule("LOG", "mmap", "clone")]}, True),
        ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("ALLOW", "execve")]}, False),
    ],
)
def test_a_filter_under_which_no_process_can_be_made_is_the_runtimes(
    profile: dict[str, Any], *, answer: bool
) -> None:
    assert lets_start(profile) is answer


def test_without_flags_the_runtimes_ask_for_no_slow_mitigations() -> None:
    assert filter_flags(PROFILE) == 4
    assert filter_flags({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]}) == 3


def test_runc_has_an_errno_of_its_own_for_unknown_calls() -> None:
    assert same_in_all_runtimes(PROFILE)
    assert same_in_all_runtimes(ALLOWING)
    assert not same_in_all_runtimes({"defaultAction": "SCMP_ACT_ERRNO"})
