"""The whole `config.json` of a container, from its spec and facts given as values. Pure.

Follows the OCI runtime specification (config.md, config-linux.md) and Docker's defaults
(surface.md b.4, i, j). Nothing here is looked up: `OciInputs` says where each fact comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pier.containers import sysctls
from pier.containers.capabilities import capabilities
from pier.containers.devices import DeviceNode, device_rules, devices_to_oci
from pier.containers.facts import HostFacts
from pier.containers.model import MountPoint
from pier.containers.namespaces import HOST, PRIVATE, Namespaces, namespaces_to_oci
from pier.containers.oci_mounts import MountInputs, mounts_to_oci, rootfs_propagation
from pier.containers.resources import DeviceNumber, resources_to_oci, supported
from pier.containers.rlimits import clamp, merge, rlimits_to_oci
from pier.containers.security import (
    UNCONFINED,
    SecurityOptions,
    masked_paths,
    parse_security_options,
    readonly_paths,
)
from pier.containers.spec import DEFAULT_SHM_BYTES, ContainerSpec, Resources, Ulimit

OCI_VERSION = "1.0.2"
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH = "/sbin/docker-init"

OciObject = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUser:
    """Who runs, as resolved in the container's own /etc/passwd and /etc/group."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class OciInputs:
    """The spec (merged with its image) and all it depends on.

    `mounts` are the record's mount points with prepared host sources; `files` maps /etc/hosts,
    /etc/hostname and /etc/resolv.conf to host paths. `shm`: "" for a tmpfs, a host path to bind
    (shareable, host's, another container's), None for none. `devices` are the nodes of `--device`,
    or all of the host's for a privileged container; `block_devices` the numbers of those that
    limits name. `seccomp`: OCI linux.seccomp, None for unconfined. `init` is the host path of
    the init program where one is wanted. `rootfs` is absolute or relative to the bundle.
    """

    container_id: str
    spec: ContainerSpec
    facts: HostFacts
    user: ProcessUser = ProcessUser()
    rootfs: str = "rootfs"
    hostname: str = ""
    namespaces: Namespaces = field(default_factory=Namespaces)
    mounts: Sequence[MountPoint] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    shm: str | None = ""
    devices: Sequence[DeviceNode] = ()
    block_devices: Mapping[str, DeviceNumber] = field(default_factory=dict)
    cgroups_path: str = ""
    seccomp: Mapping[str, object] | None = None
    init: str = ""
    default_ulimits: Sequence[Ulimit] = ()
    link_env: Sequence[str] = ()
    no_new_privileges: bool = False
    """The daemon's default."""
    apparmor_default: str = ""
    """The profile of containers that name none, where the host has it loaded."""


def to_oci(inputs: OciInputs) -> OciObject:
    """The configuration, ready for json.dumps. Raises InvalidArgument for a bad option."""
    spec, host = inputs.spec, inputs.spec.host
    security = parse_security_options(host.security_opt, no_new_privileges=inputs.no_new_privileges)
    config: OciObject = {
        "ociVersion": OCI_VERSION,
        "process": process_to_oci(inputs, security),
        "root": {"path": inputs.rootfs, "readonly": host.readonly_rootfs},
        "mounts": mounts_to_oci(_mount_inputs(inputs, security)),
        "linux": _linux(inputs),
        "annotations": dict(host.annotations),
    }
    if inputs.namespaces.uts == PRIVATE:
        config["hostname"] = inputs.hostname or spec.hostname
    return config


def environment(
    env: Sequence[str],
    *,
    hostname: str,
    tty: bool,
    home: str,
    links: Sequence[str] = (),
    added: Sequence[str] = (),
) -> list[str]:
    """Docker's defaults in their places, replaced by `env`, and all that by `added` (an exec's).

    An entry without "=" removes a variable of the layer below; one beside it stays.
    """
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if tty else []), *links]
    values = _layered(_layered({}, defaults), env)
    values = _layered(values, added)
    return [*values.values()] if "HOME" in values else [*values.values(), f"HOME={home}"]


def _layered(below: Mapping[str, str], entries: Sequence[str]) -> dict[str, str]:
    values = dict(below)
    removed = set()
    for entry in entries:
        key, separator, _ = entry.partition("=")
        if separator:
            values[key] = entry
            removed.discard(key)
        elif key in below:
            removed.add(key)
    return {key: entry for key, entry in values.items() if key not in removed}


def process_capabilities(
    spec: ContainerSpec, facts: HostFacts, *, privileged: bool
) -> tuple[str, ...]:
    return capabilities(
        spec.host.cap_add, spec.host.cap_drop, privileged=privileged, known=facts.capabilities
    )


def capabilities_to_oci(names: Sequence[str]) -> OciObject:
    """No inheritable, no ambient ones: a program gains nothing by its file's (CVE-2022-24769)."""
    return {kind: list(names) for kind in ("bounding", "effective", "permitted")}


def process_to_oci(inputs: OciInputs, security: SecurityOptions) -> OciObject:
    spec, host, facts = inputs.spec, inputs.spec.host, inputs.facts
    held = process_capabilities(spec, facts, privileged=host.privileged)
    process: OciObject = {
        "terminal": spec.tty,
        "user": user_to_oci(inputs.user),
        "args": _arguments(inputs),
        "env": environment(
            spec.env,
            hostname=inputs.hostname or spec.hostname,
            tty=spec.tty,
            home=inputs.user.home,
            links=inputs.link_env,
        ),
        "cwd": spec.working_dir or "/",
        "capabilities": capabilities_to_oci(held),
        "rlimits": process_rlimits(host.resources, inputs.default_ulimits, facts),
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": oom_score_adj(host.oom_score_adj, facts),
    }
    rows, columns = host.console_size
    if spec.tty and rows and columns:
        process["consoleSize"] = {"height": rows, "width": columns}
    profile = apparmor_profile(spec, facts, security, inputs.apparmor_default)
    if profile:
        process["apparmorProfile"] = profile
    return process


def user_to_oci(user: ProcessUser) -> OciObject:
    """The group itself is among the additional ones: else a file that denies it its group's
    access, but not everybody's, would let it in by setgroups(2) (CVE-2022-36109)."""
    gids = dict.fromkeys((user.gid, *user.additional_gids))
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(gids)}


def oom_score_adj(asked: int, facts: HostFacts) -> int:
    """What can be set: without CAP_SYS_RESOURCE the kernel refuses less than the daemon's own."""
    return asked if facts.lowers_oom_score else max(asked, facts.oom_score_adj)


def _arguments(inputs: OciInputs) -> list[str]:
    arguments = [*(inputs.spec.entrypoint or ()), *(inputs.spec.cmd or ())]
    return [INIT_PATH, "--", *arguments] if _has_init(inputs) else arguments


def _has_init(inputs: OciInputs) -> bool:
    """An init is of no use where process 1 is another's."""
    return bool(inputs.init) and inputs.namespaces.pid == PRIVATE


def process_rlimits(
    resources: Resources, defaults: Sequence[Ulimit], facts: HostFacts
) -> list[dict[str, object]]:
    """Of every process of a container, an exec's too.

    What the daemon raised for itself alone is named, or it would be inherited.
    """
    asked = merge(resources.ulimits, (*facts.own_limits, *defaults))
    clamped = clamp(asked, hard_limits=facts.hard_limits, raises_limits=facts.raises_limits)
    return rlimits_to_oci(clamped.ulimits)


def apparmor_profile(
    spec: ContainerSpec, facts: HostFacts, security: SecurityOptions, default: str
) -> str:
    """Of every process of a container, an exec's too; "" for none."""
    if not facts.apparmor or security.apparmor == UNCONFINED:
        return ""
    if security.apparmor:
        return security.apparmor
    if spec.host.privileged or default not in facts.apparmor_profiles:
        return ""
    return default


def _mount_inputs(inputs: OciInputs, security: SecurityOptions) -> MountInputs:
    host = inputs.spec.host
    init = MountPoint(
        kind="bind",
        destination=INIT_PATH,
        source=inputs.init,
        writable=False,
        readonly_non_recursive=True,  # a file: crun 1.8 fails to go below it
    )
    return MountInputs(
        points=(*inputs.mounts, init) if _has_init(inputs) else inputs.mounts,
        files=inputs.files,
        shm=inputs.shm,
        shm_size=host.shm_size or DEFAULT_SHM_BYTES,
        privileged=host.privileged,
        readonly_rootfs=host.readonly_rootfs,
        writable_cgroups=bool(security.writable_cgroups),
        recursive_readonly=inputs.facts.recursive_readonly,
    )


def _linux(inputs: OciInputs) -> OciObject:
    host = inputs.spec.host
    linux: OciObject = {
        "namespaces": namespaces_to_oci(inputs.namespaces),
        "sysctl": _sysctls(inputs),
        "resources": _resources(inputs),
        "devices": devices_to_oci(inputs.devices),
        "maskedPaths": masked_paths(
            host.masked_paths,
            privileged=host.privileged,
            thermal_throttle=inputs.facts.thermal_throttle,
        ),
        "readonlyPaths": readonly_paths(host.readonly_paths, privileged=host.privileged),
    }
    if inputs.cgroups_path:
        linux["cgroupsPath"] = inputs.cgroups_path
    if inputs.seccomp is not None and inputs.facts.seccomp:
        linux["seccomp"] = dict(inputs.seccomp)
    propagation = rootfs_propagation(inputs.mounts)
    if propagation:
        linux["rootfsPropagation"] = propagation
    return linux


def _sysctls(inputs: OciInputs) -> dict[str, str]:
    chosen = sysctls.defaults(host_network=inputs.namespaces.network == HOST)
    chosen |= inputs.spec.host.sysctls
    if inputs.spec.domainname and inputs.namespaces.uts == PRIVATE:
        chosen.setdefault("kernel.domainname", inputs.spec.domainname)
    return chosen


def _resources(inputs: OciInputs) -> OciObject:
    host = inputs.spec.host
    kept = supported(host.resources, inputs.facts).resources
    resources = resources_to_oci(kept, inputs.block_devices)
    resources["devices"] = device_rules(
        inputs.devices, kept.device_cgroup_rules, privileged=host.privileged
    )
    return resources
