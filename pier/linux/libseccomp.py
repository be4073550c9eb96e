"""Compiling a seccomp profile by libseccomp, the library the OCI runtimes use. seccomp_init(3).

The profile is `linux.seccomp` of config.json (OCI runtime spec, config-linux.md). Loaded where
it is used; OSError if the library is not there.
"""

import ctypes
import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_EPERM = 1
_CTL_NNP = 3
_UNKNOWN = -1
_EEXIST = 17

Profile = Mapping[str, Any]  # an OCI runtime configuration's part, foreign JSON by nature


class Uncompilable(Exception):
    """The profile has what libseccomp, or this module, does not know."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    )
    return library


def compile_profile(profile: Profile) -> bytes:
    """The filter's instructions. Takes some 10 ms. Raises Uncompilable, OSError."""
    library = _library()
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise Uncompilable(f"defaultAction {profile['defaultAction']}")
    try:
        for name in profile.get("architectures") or ():
            _add_architecture(context, name)
        for rule in profile.get("syscalls") or ():
            _add_rule(context, rule, default)
        # Whether privileges may be gained is the process's own setting.
        library.seccomp_attr_set(context, _CTL_NNP, 0)
        return _export(context)
    finally:
        library.seccomp_release(context)


def _action(name: str, errno: int | None) -> int:
    if name not in _ACTIONS:
        raise Uncompilable(f"action {name}")
    if name in _WITH_ERRNO:
        return _ACTIONS[name] | (_EPERM if errno is None else errno)
    return _ACTIONS[name]


def _add_architecture(context: int, name: str) -> None:
    short = name.removeprefix("SCMP_ARCH_").lower().encode()
    token = _library().seccomp_arch_resolve_name(short)
    if not token:
        raise Uncompilable(f"architecture {name}")
    if _library().seccomp_arch_add(context, token) not in (0, -_EEXIST):
        raise Uncompilable(f"architecture {name}")


def _add_rule(context: int, rule: Mapping[str, Any], default: int) -> None:
    """Calls this machine does not know are left out, as the runtimes do."""
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    for name in rule["names"]:
        number = _library().seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            continue
        for comparisons in _alternatives(rule.get("args") or ()):
            array = (_Comparison * len(comparisons))(*comparisons)
            failed = _library().seccomp_rule_add_array(
                context, action, number, len(comparisons), array
            )
            if failed not in (0, -_EEXIST):
                raise Uncompilable(f"rule for {name}: {os.strerror(-failed)}")


def _alternatives(arguments: Sequence[Mapping[str, Any]]) -> Iterator[list[_Comparison]]:
    """All conditions together; each by itself where two concern the same argument."""
    comparisons = [_comparison(argument) for argument in arguments]
    counts = Counter(argument["index"] for argument in arguments)
    if any(count > 1 for count in counts.values()):
        yield from ([comparison] for comparison in comparisons)
    else:
        yield comparisons


def _comparison(argument: Mapping[str, Any]) -> _Comparison:
    word = argument["op"].removeprefix("SCMP_CMP_")
    if word not in _OPERATORS:
        raise Uncompilable(f"operator {argument['op']}")
    operator = _OPERATORS.index(word) + 1
    return _Comparison(
        argument["index"], operator, argument["value"], argument.get("valueTwo") or 0
    )


def _export(context: int) -> bytes:
    fd = os.memfd_create("filter", os.MFD_CLOEXEC)
    with open(fd, "rb") as file:
        failed = _library().seccomp_export_bpf(context, fd)
        if failed:
            raise Uncompilable(os.strerror(-failed))
        file.seek(0)
        return file.read()
