"""Whether an exec can do without the runtime, and what it needs then; docs/adr/0503.

Only for containers in which everything is understood, as their config.json and the runtime's
record say. Otherwise None: the runtime's own exec knows what to do.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pier.linux.libseccomp import Uncompilable, compile_profile
from pier.linux.privileges import KNOWN_MACHINE
from pier.runtime.orders import NativeExec, RuntimeInfo
from pier.runtime.seccomp import NEW_NAMESPACES

_KEYRINGS = {"crun": "{}", "runc": "_ses.{}"}
"""Runtimes that start a process in this kernel's namespaces, and how they name its keyring."""
_NAMESPACES = frozenset(("pid", "ipc", "uts", "mount", "network", "cgroup"))
_LINUX = frozenset(
    "namespaces sysctl resources devices maskedPaths readonlyPaths cgroupsPath seccomp"
    " rootfsPropagation".split()
)
_PROCESS = frozenset(
    "terminal consoleSize user args env cwd capabilities rlimits noNewPrivileges"
    " oomScoreAdj".split()
)
_SECCOMP = frozenset("defaultAction defaultErrnoRet architectures syscalls flags".split())
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
_ENOSYS = 38
_ALLOWED = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_NEEDED = (
    "capset prctl rt_sigprocmask rt_sigaction rt_sigreturn mmap munmap mprotect brk madvise futex"
    " pipe2 ioctl setsid execve read write close wait4 exit_group"
).split()
"""What is called between setting the filter and the program's own first call."""
_COMPILED = "seccomp.bpf"
_EXPOSED = "exposed"
_PTRACE = "CAP_SYS_PTRACE"

Config = Mapping[str, Any]  # foreign JSON by nature: an OCI runtime configuration


async def plan(
    bundle: Path, runtime: RuntimeInfo, container_id: str, pid: int, process: Config
) -> NativeExec | None:
    """pid: of the container's first process; process: of the exec. None: ask the runtime."""
    config = json.loads((bundle / "config.json").read_bytes())
    kind = Path(runtime.path).name
    if kind not in _KEYRINGS or runtime.arguments:
        return None
    if _holds(process, _PTRACE):
        expose(bundle)
    if not (KNOWN_MACHINE and understood(config) and understood_process(process)):
        return None
    if (bundle / _EXPOSED).exists():
        return None
    native = NativeExec(pid, _KEYRINGS[kind].format(container_id))
    profile = config["linux"].get("seccomp")
    if profile is None:
        return native
    file = _kept_filter(Path(runtime.root, container_id), bundle)
    if not file:
        file = await asyncio.to_thread(_compile_filter, profile, bundle)
    return native._replace(filter=file, filter_flags=filter_flags(profile)) if file else None


def expose(bundle: Path) -> None:
    """Remember, for as long as the container runs, that others may look into its processes.

    Before that may be: by a further process with CAP_SYS_PTRACE, or from a container that joins
    its pids.
    """
    (bundle / _EXPOSED).touch()


def understood(config: Config) -> bool:
    """Pure. Whether a process made here gets all that a container's configuration asks for.

    With CAP_SYS_PTRACE a container could look into what is forked from the host of execs, where
    there are other containers' environments; so could one whose pids it has joined.
    """
    linux, first = config["linux"], config["process"]
    profile = linux.get("seccomp")
    return (
        not _holds(first, _PTRACE)
        and set(linux) <= _LINUX
        and set(first) <= _PROCESS
        and all(entry["type"] in _NAMESPACES for entry in linux["namespaces"])
        and not any(e["type"] == "pid" and e.get("path") for e in linux["namespaces"])
        and (profile is None or _understood_profile(profile))
    )


def _holds(process: Config, capability: str) -> bool:
    return capability in (process.get("capabilities") or {}).get("bounding", ())


def _understood_profile(profile: Config) -> bool:
    known = set(profile) <= _SECCOMP and set(profile.get("flags") or ()) <= set(_FLAGS)
    return known and lets_start(profile)


def understood_process(process: Config) -> bool:
    """Pure. The runtimes look HOME up; /proc is another for who starts than for the started."""
    paths = (process["cwd"], process["args"][0])
    return (
        set(process) <= _PROCESS
        and any(entry.startswith("HOME=") for entry in process["env"])
        and not any(path.startswith("/proc") for path in paths)
    )


def lets_start(profile: Config) -> bool:
    """Pure. Whether under this filter there can be a further process, and started by Python."""
    verdicts = {name: _verdict(profile, name) for name in (*_NEEDED, "clone", "clone3")}
    clone3 = verdicts.pop("clone3")
    no_clone3 = ("SCMP_ACT_ERRNO", _ENOSYS)
    return all(action in _ALLOWED for action, _ in verdicts.values()) and (
        clone3[0] in _ALLOWED or clone3 == no_clone3
    )


def _verdict(profile: Config, name: str) -> tuple[str, int | None]:
    """Action and errno. Of conditional rules only those for a clone without namespaces count."""
    verdict = (profile["defaultAction"], profile.get("defaultErrnoRet"))
    for rule in profile.get("syscalls") or ():
        if name in rule["names"] and (not rule.get("args") or _plain_clone(name, rule["args"])):
            verdict = (rule["action"], rule.get("errnoRet"))
    return verdict


def _plain_clone(name: str, arguments: Sequence[Config]) -> bool:
    argument = arguments[0]
    return (
        name == "clone"
        and len(arguments) == 1
        and argument["op"] == "SCMP_CMP_MASKED_EQ"
        and not argument.get("valueTwo")
        and argument["value"] & ~NEW_NAMESPACES == 0
    )


def filter_flags(profile: Config) -> int:
    """Pure. Of seccomp(2). Without any the runtimes spare programs the slow mitigations."""
    names = profile.get("flags") or ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",)
    return sum(_FLAGS[name] for name in set(names))


def same_in_all_runtimes(profile: Config) -> bool:
    """Pure. Runc has unknown calls fail with ENOSYS where a profile says another errno."""
    return profile["defaultAction"] != "SCMP_ACT_ERRNO" or profile.get("defaultErrnoRet") == _ENOSYS


def _kept_filter(record: Path, bundle: Path) -> str:
    """The compiled filter the runtime keeps in its record, or one of ours; "" if there is none."""
    found = (path for path in (record / _COMPILED, bundle / _COMPILED) if path.exists())
    return str(next(found, ""))


def _compile_filter(profile: Config, bundle: Path) -> str:
    """Kept in the bundle; "" if there can be none."""
    if not same_in_all_runtimes(profile):
        return ""
    try:
        compiled = compile_profile(profile)
    except (Uncompilable, OSError):
        return ""
    path = bundle / _COMPILED
    new = path.with_suffix(".new")
    new.write_bytes(compiled)
    new.replace(path)
    return str(path)
