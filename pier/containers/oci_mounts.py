"""OCI `mounts`: Docker's own, then what was asked for, in the order they are made. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pier.containers.model import MountPoint
from pier.containers.spec import DEFAULT_SHM_BYTES

OciMount = dict[str, object]

_PROPAGATED = {"shared": "shared", "rshared": "shared", "slave": "rslave", "rslave": "rslave"}
_OPPOSITES = (("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev"), ("ro", "rw"))
HOST_SHM = "/dev/shm"  # noqa: S108
"""The host's own, which stays as the host has mounted it."""
_STAY_WRITABLE = frozenset(("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"))  # noqa: S108


@dataclass(frozen=True, slots=True, kw_only=True)
class MountInputs:
    """Everything the list of mounts depends on.

    `points` have host paths as sources, prepared subpaths, images and volumes included;
    `files` maps /etc/hosts and the like to host paths. shm: "" a tmpfs of the container's own, a
    host path to bind, or None for no /dev/shm.
    """

    points: Sequence[MountPoint] = ()
    files: Mapping[str, str] | None = None
    shm: str | None = ""
    shm_size: int = DEFAULT_SHM_BYTES
    privileged: bool = False
    readonly_rootfs: bool = False
    writable_cgroups: bool = False
    recursive_readonly: bool = True


def mounts_to_oci(inputs: MountInputs) -> list[OciMount]:
    asked = {point.destination: _point(point, inputs) for point in inputs.points}
    own = [mount for mount in _defaults(inputs) if not _superseded(mount, asked)]
    access = ["ro"] if inputs.readonly_rootfs else []
    for path, source in (inputs.files or {}).items():
        asked.setdefault(path, _bind(path, source, ["rbind", "rprivate", *access]))
    if inputs.readonly_rootfs:
        own = [_readonly(mount) for mount in own]
    return own + [asked[path] for path in sorted(asked, key=_parts)]


def rootfs_propagation(points: Sequence[MountPoint]) -> str:
    """What the root must be for a mount to travel: shared wins over slave; "" is the default."""
    wanted = {_PROPAGATED.get(point.propagation, "") for point in points}
    return next((word for word in ("shared", "rslave") if word in wanted), "")


def merge_tmpfs_options(asked: str) -> list[str]:
    """mount(8) options of `--tmpfs`: safe defaults, each replaced by its opposite if asked."""
    own = [option for option in asked.split(",") if option]
    kept = ["noexec", "nosuid", "nodev"]
    for pair in _OPPOSITES:
        said = [option for option in own if option in pair]
        if said:
            kept = [option for option in kept if option not in pair]
            own = [option for option in own if option not in pair or option == said[-1]]
    return kept + [option for option in dict.fromkeys(own) if option not in kept]


def _parts(path: str) -> list[str]:
    return path.strip("/").split("/")


def _superseded(mount: OciMount, asked: Mapping[str, OciMount]) -> bool:
    path = str(mount["destination"])
    return path in asked or ("/dev" in asked and path.startswith("/dev/"))


def _readonly(mount: OciMount) -> OciMount:
    options = mount["options"]
    if mount["destination"] in _STAY_WRITABLE or not isinstance(options, list) or "ro" in options:
        return mount
    return {**mount, "options": [*(word for word in options if word != "rw"), "ro"]}


def _defaults(inputs: MountInputs) -> list[OciMount]:
    access = "rw" if inputs.privileged else "ro"
    cgroup_access = "rw" if inputs.privileged or inputs.writable_cgroups else "ro"
    safe = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/sys", "sysfs", "sysfs", [*safe, access]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [cgroup_access, *safe]),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
    ]
    if inputs.shm == HOST_SHM:
        mounts.append(_bind("/dev/shm", inputs.shm, ["rbind", "rprivate"]))  # noqa: S108
    elif inputs.shm:
        # Said again: some runtimes mount what is bound anew, without what they are not told.
        mounts.append(_bind("/dev/shm", inputs.shm, ["rbind", "rprivate", *safe]))  # noqa: S108
    elif inputs.shm is not None:
        options = [*safe, "mode=1777", f"size={inputs.shm_size}"]
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", options))  # noqa: S108
    return mounts


def _point(point: MountPoint, inputs: MountInputs) -> OciMount:
    if point.kind == "tmpfs":
        return _mount(
            point.destination, "tmpfs", "tmpfs", merge_tmpfs_options(_tmpfs_options(point))
        )
    propagation = point.propagation or "rprivate"
    if point.non_recursive:
        # With crun 1.8 "rprivate" and "rro" bring the mounts below along, where none are wanted.
        options = ["bind", propagation.removeprefix("r")]
    else:
        options = ["rbind", propagation]
    if not point.writable:
        options.append("ro")
        whole = not point.non_recursive and not point.readonly_non_recursive
        if inputs.recursive_readonly and whole:
            options.append("rro")
    return _bind(point.destination, point.source, options)


def _tmpfs_options(point: MountPoint) -> str:
    return point.options if point.writable else f"{point.options},ro"


def _bind(destination: str, source: str, options: list[str]) -> OciMount:
    return _mount(destination, "bind", source, options)


def _mount(destination: str, kind: str, source: str, options: list[str]) -> OciMount:
    return {"destination": destination, "type": kind, "source": source, "options": options}
