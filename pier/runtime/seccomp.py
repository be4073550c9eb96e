"""Seccomp profiles as OCI `linux.seccomp` (config-linux.md, "Seccomp"; seccomp(2)). Pure.

`default_profile` is what every container gets: calls on the list are allowed, known dangerous
ones fail with EPERM, unknown ones with ENOSYS, so that programs made for newer kernels fall back
as on an older one. `from_docker_profile` reads the profile format of Docker and Podman.

Only the machine's own architecture and its 32-bit companion are covered, as each one more makes
every start dearer; x32 programs, which hardly any kernel runs, are killed.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from pier.errors import InvalidArgument
from pier.runtime.seccomp_table import ALLOWED, DENIED, GATED

Profile = dict[str, object]
Rule = dict[str, object]

EPERM = 1
ENOSYS = 38
NEW_NAMESPACES = 0x7E020000
"""clone(2)'s flags that make namespaces, of mount to network, together."""
_LOWEST_NAMESPACE_BIT, _HIGHEST_NAMESPACE_BIT = 17, 30

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and "tell me"."""
_ADDR_NO_RANDOMIZE = 0x40000
_AF_ALG, _AF_VSOCK = 38, 40
_LONGEST_PROFILE = 1024 * 1024


class Machine(NamedTuple):
    """An architecture: as Docker's profiles name it, and as OCI does, native first."""

    docker: tuple[str, ...]
    oci: tuple[str, ...]


_MACHINES = {
    "x86_64": Machine(("amd64", "x86", "x32"), ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86")),
    "aarch64": Machine(("arm64", "arm"), ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")),
    "ppc64le": Machine(("ppc64le",), ("SCMP_ARCH_PPC64LE",)),
    "riscv64": Machine(("riscv64",), ("SCMP_ARCH_RISCV64",)),
    "s390x": Machine(("s390x", "s390"), ("SCMP_ARCH_S390X", "SCMP_ARCH_S390")),
}
_ARCH_CALLS = {
    "aarch64": (
        "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls",
    ),
    "ppc64le": ("swapcontext", "sync_file_range2"),
    "riscv64": ("riscv_flush_icache", "riscv_hwprobe"),
    "s390x": ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"),
}  # fmt: skip


class InvalidProfile(InvalidArgument):
    def __init__(self, reason: str) -> None:
        super().__init__(f"Decoding seccomp profile failed: {reason}")


def default_profile(
    capabilities: Collection[str], machine: str = "x86_64", *, socketcall: bool = True
) -> Profile:
    """The profile of a container that holds `capabilities`, for `machine` as uname(2) says.

    socketcall: whether 32-bit x86 programs may have sockets the old way, of any family.
    """
    allowed = {*ALLOWED, *_ARCH_CALLS.get(machine, ())}
    closed = {"socketcall"} if machine == "x86_64" and not socketcall else set[str]()
    for capability, names in GATED.items():
        if capability in capabilities:
            allowed.update(names)
    gated = {name for names in GATED.values() for name in names} - {"clone", "clone3"}
    allowed -= closed
    denied = (gated | set(DENIED) | closed) - allowed
    rules = [_allow(sorted(allowed)), _refuse(sorted(denied), EPERM), *_conditional()]
    if "clone" not in allowed:
        rules += _without_namespaces(1 if machine == "s390x" else 0)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": list(_known_machine(machine).oci),
        "syscalls": rules,
    }


def _known_machine(machine: str) -> Machine:
    return _MACHINES.get(machine, Machine((machine,), ()))


def _allow(names: Sequence[str], *args: Rule) -> Rule:
    rule: Rule = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    return {**rule, "args": list(args)} if args else rule


def _refuse(names: Sequence[str], errno: int, *args: Rule) -> Rule:
    rule: Rule = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    return {**rule, "args": list(args)} if args else rule


def _argument(index: int, op: str, value: int, value_two: int = 0) -> Rule:
    return {"index": index, "value": value, "valueTwo": value_two, "op": f"SCMP_CMP_{op}"}


def _conditional() -> list[Rule]:
    """Sockets save to the kernel's crypto and to the hypervisor; harmless personalities.

    After the rule for socketcall: libseccomp adds to each one for socket another for that, unless
    there is a more general one, which must not be the default action, or it is left out.
    """
    rules = [
        _allow(["socket"], _argument(0, "LT", _AF_ALG)),
        _refuse(["socket"], EPERM, _argument(0, "EQ", _AF_ALG)),
        _allow(["socket"], _argument(0, "EQ", _AF_ALG + 1)),
        _refuse(["socket"], EPERM, _argument(0, "EQ", _AF_VSOCK)),
        _allow(["socket"], _argument(0, "GT", _AF_VSOCK)),
    ]
    rules += [_allow(["personality"], _argument(0, "EQ", value)) for value in _PERSONALITIES]
    rules.append(_refuse(["personality"], EPERM, _argument(0, "EQ", _ADDR_NO_RANDOMIZE)))
    return rules


def _without_namespaces(index: int) -> list[Rule]:
    """clone(2) that makes no namespace.

    clone3(2) hides its flags behind a pointer: ENOSYS makes the C library use clone. libseccomp
    cannot say "any of these bits", so each has its rule.
    """
    rules = [
        _allow(["clone"], _argument(index, "MASKED_EQ", NEW_NAMESPACES, 0)),
        _refuse(["clone3"], ENOSYS),
    ]
    for bit in range(_LOWEST_NAMESPACE_BIT, _HIGHEST_NAMESPACE_BIT + 1):
        flag = 1 << bit
        if flag & NEW_NAMESPACES:
            rules.append(_refuse(["clone"], EPERM, _argument(index, "MASKED_EQ", flag, flag)))
    return rules


class _Arg(msgspec.Struct):
    index: int
    value: int
    op: str
    valueTwo: int = 0  # noqa: N815 - the format's name, as those below


class _Filter(msgspec.Struct):
    caps: list[str] = []
    arches: list[str] = []
    minKernel: str = ""  # noqa: N815


class _Syscall(msgspec.Struct):
    action: str
    name: str = ""
    names: list[str] = []
    args: list[_Arg] | None = None
    errnoRet: int | None = None  # noqa: N815
    includes: _Filter | None = None
    excludes: _Filter | None = None


class _Architecture(msgspec.Struct):
    architecture: str
    subArchitectures: list[str] | None = None  # noqa: N815


class _Document(msgspec.Struct):
    defaultAction: str  # noqa: N815
    defaultErrnoRet: int | None = None  # noqa: N815
    architectures: list[str] | None = None
    archMap: list[_Architecture] | None = None  # noqa: N815
    flags: list[str] | None = None
    syscalls: list[_Syscall] | None = None
    listenerPath: str = ""  # noqa: N815


class _Situation(NamedTuple):
    capabilities: Collection[str]
    machine: Machine
    kernel: tuple[int, int]


def from_docker_profile(
    text: str,
    capabilities: Collection[str],
    machine: str = "x86_64",
    kernel: tuple[int, int] = (6, 0),
) -> Profile:
    """A user's profile (`--security-opt seccomp=<JSON>`) for one container on this machine.

    Raises InvalidProfile. `kernel` is (major, minor).
    """
    document = _decode(text)
    situation = _Situation(capabilities, _known_machine(machine), kernel)
    profile: Profile = {
        "defaultAction": document.defaultAction,
        "architectures": _architectures(document, situation.machine),
        "syscalls": list(_rules(document.syscalls or (), situation)),
    }
    if document.defaultErrnoRet is not None:
        profile["defaultErrnoRet"] = document.defaultErrnoRet
    if document.flags:
        profile["flags"] = document.flags
    if document.listenerPath:
        profile["listenerPath"] = document.listenerPath
    return profile


def _decode(text: str) -> _Document:
    if len(text) > _LONGEST_PROFILE:
        raise InvalidProfile("it is longer than 1 MiB")
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidProfile(str(error)) from error
    if document.architectures and document.archMap:
        raise InvalidProfile(
            "'architectures' and 'archMap' were specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    return document


def _architectures(document: _Document, machine: Machine) -> list[str]:
    if document.architectures:
        return document.architectures
    for entry in document.archMap or ():
        if machine.oci and entry.architecture == machine.oci[0]:
            return [entry.architecture, *(entry.subArchitectures or ())]
    return []


def _rules(syscalls: Iterable[_Syscall], situation: _Situation) -> Iterable[Rule]:
    for call in syscalls:
        if call.name and call.names:
            raise InvalidProfile(
                "'name' and 'names' were specified in the seccomp profile, "
                "use either 'name' or 'names'"
            )
        if _applies(call, situation):
            yield _rule(call)


def _rule(call: _Syscall) -> Rule:
    rule: Rule = {"names": call.names or [call.name], "action": call.action}
    if call.args:
        rule["args"] = [msgspec.to_builtins(arg) for arg in call.args]
    if call.errnoRet is not None:
        rule["errnoRet"] = call.errnoRet
    return rule


def _applies(call: _Syscall, situation: _Situation) -> bool:
    """Includes: any of its arches, all of its caps; excludes: any of either."""
    wanted, unwanted = call.includes or _Filter(), call.excludes or _Filter()
    arches, held = set(situation.machine.docker), situation.capabilities
    if wanted.arches and not arches & set(wanted.arches):
        return False
    if not all(capability in held for capability in wanted.caps):
        return False
    if wanted.minKernel and situation.kernel < _kernel(wanted.minKernel):
        return False
    if arches & set(unwanted.arches) or any(name in held for name in unwanted.caps):
        return False
    return not (unwanted.minKernel and situation.kernel >= _kernel(unwanted.minKernel))


def _kernel(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    try:
        return int(major), int(minor or 0)
    except ValueError:
        raise InvalidProfile(f"invalid kernel version {text!r}") from None
