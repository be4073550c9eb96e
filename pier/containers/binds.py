"""From `-v`, `--mount`, `--tmpfs`, `--volumes-from` and image VOLUMEs to mount points. Pure.

The rules and words are Docker's (surface.md h). Volumes come out with a name and no source: who
creates them fills that in. What must be looked up comes as a function.
"""

import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from pier.containers import daemon_root as kept
from pier.containers.model import Container, MountPoint
from pier.containers.spec import ContainerSpec, HostSpec, MountRequest
from pier.errors import InvalidArgument
from pier.runtime.reserved_paths import TargetReserved, is_reserved

PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
DEFAULT_PROPAGATION = "rprivate"
LOCAL = "local"
_CLASSES = (
    frozenset(("rw", "ro")),
    frozenset(("z", "Z")),
    PROPAGATIONS,
    frozenset(("nocopy",)),
    frozenset(("consistent", "cached", "delegated")),
)
_TMPFS_OPTIONS = frozenset(("exec", "noexec"))
_TMPFS_FLAGS = frozenset(
    """defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync atime noatime diratime
    nodiratime relatime norelatime strictatime nostrictatime private rprivate shared rshared slave
    rslave unbindable runbindable""".split()
)
_TMPFS_VALUES = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))
_IN_PROC = frozenset(
    f"/proc/{name}"
    for name in """cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev
    sys/kernel/ns_last_pid sys/crypto/fips_enabled""".split()
)
"""What lxcfs and its like provide, as runc has it."""
_SIZES = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))
_NO_ROOT = "invalid specification: destination can't be '/'"


class InvalidVolumeSpec(InvalidArgument):
    def __init__(self, raw: str, reason: str = "") -> None:
        suffix = f": {reason}" if reason else ""
        super().__init__(f"invalid volume specification: '{raw}'{suffix}")


class InvalidMountMode(InvalidArgument):
    def __init__(self, mode: str) -> None:
        super().__init__(f"invalid mode: {mode}")


class InvalidMount(InvalidArgument):
    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f'invalid mount config for type "{kind}": {reason}')


class InvalidDestination(InvalidArgument):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class InvalidTmpfsOption(InvalidArgument):
    def __init__(self, option: str) -> None:
        super().__init__(f'invalid tmpfs option "{option}"')


class InvalidVolumesFrom(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("volumes-from specification cannot be an empty string")


class DuplicateMountPoint(InvalidArgument):
    def __init__(self, destination: str) -> None:
        super().__init__(f"Duplicate mount point: {destination}")


def mount_points(
    spec: ContainerSpec,
    others: Mapping[str, Container],
    *,
    exists: Callable[[str], bool],
    new_name: Callable[[], str],
    daemon_root: str,
    of_image: Collection[str] = (),
) -> tuple[MountPoint, ...]:
    """What `spec` (merged with its image) mounts, parents first.

    `others` are the containers of `volumes_from`, by the names used there. exists: whether a
    path is on the host; new_name: a fresh name for an anonymous volume; daemon_root: where the
    daemon keeps its files. of_image: those of the spec's `volumes` only the image asks for. A
    mount of the container's own takes the place of one from another container, and of an image's.
    """
    host = spec.host
    inherited = _inherited(host.volumes_from, others)
    own: dict[str, MountPoint] = {}
    asked = [_bind(bind, host, daemon_root) for bind in host.binds]
    asked += [
        kept.checked(from_request(request, exists), request.propagation, daemon_root)
        for request in host.mounts
    ]
    asked += [_tmpfs(path, options) for path, options in host.tmpfs.items()]
    for point in asked:
        if point.destination in own:
            raise DuplicateMountPoint(point.destination)
        own[point.destination] = _named(point, new_name)
    chosen = inherited | own
    for point in own.values():
        check_proc(point)
    for path in sorted(spec.volumes):
        destination = _destination(path)
        if destination not in chosen:
            point = MountPoint(kind="volume", destination=destination, anonymous=True)
            driver = host.volume_driver or LOCAL
            chosen[destination] = replace(point, name=new_name(), driver=driver)
            check_proc(point)
            if path in of_image and _holds_devices(destination):
                raise TargetReserved(destination, "the image")
    return tuple(chosen[path] for path in sorted(chosen, key=_parts))


def volumes_from_names(volumes_from: Iterable[str]) -> list[str]:
    """The containers that must be found first."""
    return [parse_volumes_from(text)[0] for text in volumes_from]


def parse_volumes_from(text: str) -> tuple[str, str]:
    """The container and the mode of `name[:mode]`. Raises InvalidArgument."""
    if not text:
        raise InvalidVolumesFrom
    name, _, mode = text.partition(":")
    words = set(_checked_mode(mode).split(","))
    if words & PROPAGATIONS or "nocopy" in words:
        raise InvalidMountMode(mode)
    return name, mode or "rw"


def _bind(raw: str, host: HostSpec, daemon_root: str) -> MountPoint:
    point = parse_bind(raw, host.volume_driver)
    asked = next((word for word in point.mode.split(",") if word in PROPAGATIONS), "")
    older = host.readonly_binds_non_recursive and point.kind == "bind" and not point.writable
    return kept.checked(replace(point, readonly_non_recursive=older), asked, daemon_root)


def parse_bind(raw: str, volume_driver: str = "") -> MountPoint:
    """One `-v`: `[source:]destination[:mode]`; an absolute source is a host path."""
    source, destination, mode = _split(raw)
    words = _checked_mode(mode).split(",")
    try:
        destination = _checked_target(destination, "bind" if _absolute(source) else "volume")
    except InvalidMount as error:
        raise InvalidVolumeSpec(raw, str(error)) from error
    point = MountPoint(
        kind="bind" if _absolute(source) else "volume",
        destination=destination,
        mode=mode,
        writable="ro" not in words,
    )
    if point.kind == "volume":
        driver = volume_driver or LOCAL
        return replace(point, name=source, driver=driver, no_copy="nocopy" in words)
    propagation = next((word for word in words if word in PROPAGATIONS), DEFAULT_PROPAGATION)
    return replace(point, source=_clean(source), propagation=propagation, create_source=True)


def from_request(request: MountRequest, exists: Callable[[str], bool]) -> MountPoint:
    """One `--mount`. Raises InvalidMount."""
    kind = request.kind or "volume"
    point = MountPoint(
        kind=kind,
        destination=_checked_target(request.target, kind),
        writable=not request.readonly,
    )
    match kind:
        case "bind":
            return _bind_request(request, point, exists)
        case "volume":
            return _volume_request(request, point)
        case "tmpfs":
            _check_no_source(request)
            return replace(point, options=tmpfs_options(request))
        case "image":
            _check_source(request)
            subpath = _checked_subpath(request)
            return replace(point, source=request.source, subpath=subpath, writable=False)
    raise InvalidMount(kind, "mount type unknown")


def tmpfs_options(request: MountRequest) -> str:
    """As mount(8) takes them. Raises InvalidMount for an option other than exec and noexec."""
    words = ["ro"] if request.readonly else []
    if request.tmpfs_mode:
        words.append(f"mode={request.tmpfs_mode:o}")
    if request.tmpfs_size:
        words.append(f"size={_size(request.tmpfs_size)}")
    for option in request.tmpfs_options:
        if not 1 <= len(option) <= 2:
            raise InvalidMount("tmpfs", "invalid option array length")
        if option[0] not in _TMPFS_OPTIONS:
            raise InvalidMount("tmpfs", f"invalid option: {option[0]}")
        words.append("=".join(option))
    return ",".join(words)


def _bind_request(
    request: MountRequest, point: MountPoint, exists: Callable[[str], bool]
) -> MountPoint:
    _check_source(request)
    if not _absolute(request.source):
        raise InvalidMount("bind", _not_absolute(request.source))
    if request.propagation and request.propagation not in PROPAGATIONS:
        raise InvalidMount("bind", f"invalid propagation mode: {request.propagation}")
    propagation = request.propagation or DEFAULT_PROPAGATION
    _check_recursion(request, propagation)
    if not request.create_mountpoint and not exists(request.source):
        raise InvalidMount("bind", f"bind source path does not exist: {request.source}")
    return replace(
        point,
        source=_clean(request.source),
        propagation=propagation,
        non_recursive=request.non_recursive,
        readonly_non_recursive=request.readonly_non_recursive,
        create_source=request.create_mountpoint,
    )


def _check_recursion(request: MountRequest, propagation: str) -> None:
    if not request.readonly_force_recursive:
        return
    if not request.readonly:
        raise InvalidMount("bind", "ReadOnlyForceRecursive needs a read-only mount")
    if request.readonly_non_recursive:
        raise InvalidMount(
            "bind", "ReadOnlyForceRecursive and ReadOnlyNonRecursive exclude each other"
        )
    if propagation != DEFAULT_PROPAGATION:
        raise InvalidMount(
            "bind", f"ReadOnlyForceRecursive needs propagation {DEFAULT_PROPAGATION}"
        )


def _volume_request(request: MountRequest, point: MountPoint) -> MountPoint:
    if request.propagation or request.non_recursive or request.create_mountpoint:
        raise InvalidMount("volume", "field BindOptions must not be specified")
    if request.subpath and not request.source:
        raise InvalidMount("volume", "must not set Subpath when using anonymous volumes")
    return replace(
        point,
        name=request.source,
        driver=request.volume_driver or LOCAL,
        no_copy=request.no_copy,
        subpath=_checked_subpath(request),
    )


def _check_source(request: MountRequest) -> None:
    if not request.source:
        raise InvalidMount(request.kind, "field Source must not be empty")


def _check_no_source(request: MountRequest) -> None:
    if request.source:
        raise InvalidMount(request.kind, "field Source must not be specified")


def _checked_subpath(request: MountRequest) -> str:
    """A path that stays below the volume by its letters; links are dealt with when it is opened."""
    subpath = request.subpath
    if not subpath:
        return ""
    cleaned = posixpath.normpath(subpath)
    if _absolute(subpath) or cleaned == ".." or cleaned.startswith("../"):
        raise InvalidMount(request.kind, "subpath must be a relative path within the volume")
    return "" if cleaned == "." else cleaned


def _inherited(
    volumes_from: Iterable[str], others: Mapping[str, Container]
) -> dict[str, MountPoint]:
    """All mounts of other containers; one of theirs that is read-only stays so."""
    points = {}
    for text in volumes_from:
        name, mode = parse_volumes_from(text)
        writable = "ro" not in mode.split(",")
        other = others[name]
        for point in other.mounts:
            if point.destination in other.spec.host.tmpfs:
                continue
            points[point.destination] = replace(
                point, writable=point.writable and writable, no_copy=True, mode=""
            )
    return points


def _named(point: MountPoint, new_name: Callable[[], str]) -> MountPoint:
    """A volume always has a name; Docker shows a missing mode as "z"."""
    if point.kind != "volume":
        return point
    named = replace(point, mode=point.mode or "z")
    return named if point.name else replace(named, name=new_name(), anonymous=True)


def check_proc(point: MountPoint) -> None:
    """Raise InvalidMount for what would take the place of procfs (CVE-2019-16884).

    An image could bring its own /proc as a VOLUME, and with it the files that tell the runtime
    which profile a process has. The host's own procfs is one.
    """
    path = point.destination
    if path != "/proc" and not path.startswith("/proc/"):
        return
    host_proc = point.kind == "bind" and point.source == "/proc" and path == "/proc"
    if path not in _IN_PROC and not host_proc:
        raise InvalidMount(point.kind, f"{path} cannot be mounted because it is inside /proc")


def _holds_devices(path: str) -> bool:
    """/sys is not for an image either, but many that run systemd ask for the control groups."""
    return is_reserved(path) and not path.startswith("/sys")


def _tmpfs(path: str, options: str) -> MountPoint:
    destination = _destination(path)
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        if not (key in _TMPFS_VALUES and value if equals else option in _TMPFS_FLAGS):
            raise InvalidTmpfsOption(option)
    writable = "ro" not in options.split(",")
    return MountPoint(kind="tmpfs", destination=destination, options=options, writable=writable)


def _split(raw: str) -> tuple[str, str, str]:  # source, destination, mode
    parts = raw.split(":")
    match parts:
        case [destination] if destination:
            return "", destination, ""
        case [source, destination] if source and not _valid_mode(destination):
            return source, destination, ""
        case [source, destination, mode] if source:
            return source, destination, mode
    raise InvalidVolumeSpec(raw)


def _checked_mode(mode: str) -> str:
    if not _valid_mode(mode):
        raise InvalidMountMode(mode)
    return mode


def _valid_mode(mode: str) -> bool:
    """Known words, of each class at most one."""
    if not mode:
        return True
    words = mode.split(",")
    counts = [sum(word in known for word in words) for known in _CLASSES]
    return sum(counts) == len(words) and max(counts) <= 1


def _checked_target(target: str, kind: str) -> str:
    if not target:
        raise InvalidMount(kind, "field Target must not be empty")
    try:
        return _destination(target)
    except InvalidDestination as error:
        raise InvalidMount(kind, str(error)) from error


def _destination(path: str) -> str:
    if _clean(path) == "/":
        raise InvalidDestination(_NO_ROOT)
    if not _absolute(path) or "\0" in path:
        raise InvalidDestination(_not_absolute(path))
    return _clean(path)


def _not_absolute(path: str) -> str:
    return f"invalid mount path: '{path}' mount path must be absolute"


def _absolute(path: str) -> bool:
    return path.startswith("/")


def _clean(path: str) -> str:
    """Two leading slashes mean something to POSIX, but not to Linux."""
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if path.startswith("/") else cleaned


def _parts(path: str) -> list[str]:
    return path.strip("/").split("/")


def _size(size_bytes: int) -> str:
    for suffix, unit in _SIZES:
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{suffix}"
    return str(size_bytes)
