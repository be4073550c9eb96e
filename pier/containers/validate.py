"""Whether a container can be what was asked, here: Docker's checks in Docker's words. Pure.

Only what does not need to look at images, networks, other containers or paths; those who know
them check them.
"""

import posixpath

from pier.containers import devices, namespaces, rlimits, security, sysctls
from pier.containers.capabilities import parse
from pier.containers.facts import HostFacts
from pier.containers.resources import supported
from pier.containers.signals import parse_signal
from pier.containers.spec import ContainerSpec, HostSpec
from pier.errors import Failed, InvalidArgument

LONGEST_HOSTNAME = 64


class InvalidSpec(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


class NoQuota(Failed):
    def __init__(self) -> None:
        super().__init__(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        )


def validate(spec: ContainerSpec, facts: HostFacts) -> list[str]:
    """Warnings for the client. Raises InvalidArgument for what cannot be."""
    host = spec.host
    _check_process(spec)
    _check_words(spec)
    namespaces.check_modes(host)
    _check_host(host)
    for mount in host.mounts:
        if mount.readonly_force_recursive and not facts.recursive_readonly:
            raise InvalidSpec("rro is not supported: it needs Linux 5.12")
    options = security.parse_security_options(host.security_opt)
    parse(host.cap_add, option="CapAdd")
    parse(host.cap_drop, option="CapDrop")
    devices.check(host.resources.devices, host.resources.device_requests)
    for ulimit in host.resources.ulimits:
        rlimits.check(ulimit)
    sysctls.check(
        host.sysctls,
        host_network=host.network_mode == "host",
        host_ipc=host.ipc_mode == "host",
    )
    warnings = supported(host.resources, facts).warnings
    warnings += rlimits.clamp(
        host.resources.ulimits, hard_limits=facts.hard_limits, raises_limits=facts.raises_limits
    ).warnings
    warnings += _ability_warnings(host, facts)
    warnings += security.warnings(options, apparmor=facts.apparmor, selinux=facts.selinux)
    return warnings


def _check_process(spec: ContainerSpec) -> None:
    if spec.working_dir and not posixpath.isabs(spec.working_dir):
        raise InvalidSpec(
            f"the working directory '{spec.working_dir}' is invalid, "
            "it needs to be an absolute path"
        )
    if len(spec.hostname) > LONGEST_HOSTNAME:
        raise InvalidSpec(f"invalid hostname: {spec.hostname}")
    if spec.stop_signal:
        parse_signal(spec.stop_signal)
    for entry in spec.env:
        if entry.partition("=")[0] == "":
            raise InvalidSpec(f"invalid environment variable: {entry}")
    words = (*(spec.entrypoint or ()), *(spec.cmd or ()), *spec.env, *spec.volumes)
    for text in (*words, spec.user, spec.working_dir):
        if "\0" in text:
            raise InvalidSpec(f"invalid value {text[:100]!r}: it holds a NUL byte")


def _check_words(spec: ContainerSpec) -> None:
    """What is written into /etc/hosts and resolv.conf line by line, or names a control group."""
    host = spec.host
    for what, texts in (
        ("hostname", (spec.hostname,)),
        ("domainname", (spec.domainname,)),
        ("DNS search domain", host.dns_search),
        ("DNS option", host.dns_options),
    ):
        for text in texts:
            if not text.isprintable() or (" " in text and what.endswith("name")):
                raise InvalidSpec(f"invalid {what}: {text}")
    parent = host.resources.cgroup_parent
    if ".." in parent.split("/") or not parent.isprintable():
        raise InvalidSpec(f"invalid cgroup parent: {parent}")


def _check_host(host: HostSpec) -> None:
    if host.shm_size < 0:
        raise InvalidSpec("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidSpec(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if "" in host.annotations:
        raise InvalidSpec(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )
    if host.storage_options:
        raise NoQuota
    if host.isolation.lower() not in ("", "default"):
        raise InvalidSpec(f"invalid isolation ({host.isolation}): linux only supports 'default'")
    if host.cgroup:
        raise InvalidSpec(f"invalid cgroup {host.cgroup!r}: containers cannot share cgroups")


def _ability_warnings(host: HostSpec, facts: HostFacts) -> list[str]:
    warnings = []
    if host.cgroupns_mode == "private" and not facts.cgroup_namespaces:
        warnings.append(
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded."
        )
    missing = parse(host.cap_add, option="CapAdd") - {"ALL"} - set(facts.capabilities)
    if missing:
        warnings.append(f"This machine cannot grant {', '.join(sorted(missing))}: left out.")
    if not facts.lowers_oom_score and host.oom_score_adj < facts.oom_score_adj:
        warnings.append(
            f"oom_score_adj {host.oom_score_adj} is below the daemon's, which lacks "
            f"CAP_SYS_RESOURCE: raised to {facts.oom_score_adj}."
        )
    return warnings
