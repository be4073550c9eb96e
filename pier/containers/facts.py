"""What this machine can do, as far as a container's limits and rights depend on it. Values only.

`pier.containers.host` reads them once, at the daemon's start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pier.containers.spec import Ulimit


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The defaults describe a well-equipped machine with cgroup v2, for tests."""

    cgroup_version: int = 2
    cpus: int = 1
    """How many are online."""
    cpuset_cpus: str = ""
    """Which may be used, as the kernel lists them ("0-3,8"); "" is not known: nothing refused."""
    cpuset_mems: str = ""
    capabilities: tuple[str, ...] = ()
    """Known to the kernel and held by the daemon, "CAP_CHOWN" first."""
    hard_limits: Mapping[str, int] = field(default_factory=dict)
    """The daemon's hard resource limits by name ("nofile"); -1 is unlimited."""
    own_limits: tuple[Ulimit, ...] = ()
    """What the daemon raised for itself, as it was before: what containers would inherit."""
    raises_limits: bool = True
    """The daemon has CAP_SYS_RESOURCE: it may set limits above its own hard ones."""
    lowers_oom_score: bool = True
    """It may also set oom_score_adj below its own."""
    oom_score_adj: int = 0
    """The daemon's own, the lowest a container may have where `lowers_oom_score` is false."""
    memory: bool = True
    swap: bool = True
    memory_reservation: bool = True
    memory_swappiness: bool = False
    oom_kill_disable: bool = False
    cpu_shares: bool = True
    cpu_cfs: bool = True
    cpu_realtime: bool = False
    cpuset: bool = True
    pids: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_throttle: bool = True
    cgroup_namespaces: bool = True
    seccomp: bool = True
    apparmor: bool = False
    apparmor_profiles: frozenset[str] = frozenset()
    """Loaded into the kernel when the daemon started; Pier loads none itself."""
    selinux: bool = False
    recursive_readonly: bool = True
    """mount_setattr(2) exists: Linux 5.12."""
    thermal_throttle: tuple[str, ...] = ()
    """/sys/devices/system/cpu/cpu*/thermal_throttle, to be masked."""
