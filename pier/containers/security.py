"""What a container is kept from: security options, masked and read-only paths. Pure.

The grammar of `--security-opt` is surface.md j; the messages are Docker's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pier.containers.spec import HostSpec
from pier.errors import InvalidArgument

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

UNCONFINED = "unconfined"
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """seccomp: "" the default, "unconfined", or a profile as JSON text."""

    seccomp: str = ""
    apparmor: str = ""
    labels: tuple[str, ...] = ()
    no_new_privileges: bool = False
    writable_cgroups: bool | None = None


class InvalidSecurityOption(InvalidArgument):
    def __init__(self, option: str, number: int) -> None:
        super().__init__(f'invalid --security-opt {number}: "{option}"')


def parse_security_options(
    options: Sequence[str], *, no_new_privileges: bool = False
) -> SecurityOptions:
    """`no_new_privileges` is the daemon's default. Raises InvalidSecurityOption."""
    parsed = SecurityOptions(no_new_privileges=no_new_privileges)
    for option in options:
        parsed = _with_option(parsed, option)
    return parsed


def security_with_label(host: HostSpec) -> tuple[str, ...]:
    """The options asked for, with "label=disable" where the host's processes or IPC are shared."""
    labelled = any(option.startswith(("label=", "label:")) for option in host.security_opt)
    shared = host.privileged or "host" in (host.pid_mode, host.ipc_mode)
    return host.security_opt if labelled or not shared else (*host.security_opt, "label=disable")


def _with_option(parsed: SecurityOptions, option: str) -> SecurityOptions:
    if option == "no-new-privileges":
        return replace(parsed, no_new_privileges=True)
    if option == "writable-cgroups":
        return replace(parsed, writable_cgroups=True)
    if option == "disable":
        return replace(parsed, labels=(*parsed.labels, option))
    key, separator, value = option.partition("=" if "=" in option else ":")
    if not separator:
        raise InvalidSecurityOption(option, 1)
    match key:
        case "label":
            return replace(parsed, labels=(*parsed.labels, value))
        case "apparmor":
            return replace(parsed, apparmor=value)
        case "seccomp":
            return replace(parsed, seccomp="" if value == "builtin" else value)
        case "no-new-privileges":
            return replace(parsed, no_new_privileges=_parse_bool(option, value))
        case "writable-cgroups":
            return replace(parsed, writable_cgroups=_parse_bool(option, value))
    raise InvalidSecurityOption(option, 2)


def _parse_bool(option: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidSecurityOption(option, 2)


def masked_paths(
    asked: Sequence[str] | None, *, privileged: bool, thermal_throttle: Sequence[str]
) -> list[str]:
    """None asked: the default list; a privileged container gets only what was asked."""
    if asked is not None:
        return list(asked)
    return [] if privileged else [*MASKED_PATHS, *thermal_throttle]


def readonly_paths(asked: Sequence[str] | None, *, privileged: bool) -> list[str]:
    if asked is not None:
        return list(asked)
    return [] if privileged else list(READONLY_PATHS)


def warnings(options: SecurityOptions, *, apparmor: bool, selinux: bool) -> list[str]:
    """What was asked and cannot be had here: said, never silently left out."""
    said = []
    if options.apparmor not in ("", UNCONFINED) and not apparmor:
        said.append(
            f"AppArmor is not enabled on this machine: profile {options.apparmor} is ignored."
        )
    if set(options.labels) - {"disable"} and not selinux:
        said.append("SELinux is not enabled on this machine: --security-opt label is ignored.")
    return said
