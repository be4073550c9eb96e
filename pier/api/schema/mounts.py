"""`--mount` requests both ways, and mount points as inspect and ps show them. Pure."""

import posixpath

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.containers.model import Container, MountPoint
from pier.containers.spec import MountRequest
from pier.errors import InvalidArgument

_KINDS = ("bind", "volume", "tmpfs", "image")


class InvalidMount(InvalidArgument):
    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f'invalid mount config for type "{kind}": {why}')


class UnknownMountType(InvalidArgument):
    def __init__(self, kind: str) -> None:
        super().__init__(f'invalid mount config for type "{kind}": mount type unknown')


class BindOptions(msgspec.Struct, rename="pascal", omit_defaults=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(msgspec.Struct, rename="pascal", omit_defaults=True):
    name: str = ""
    options: dict[str, str] = {}


class VolumeOptions(msgspec.Struct, rename="pascal", omit_defaults=True):
    no_copy: bool = False
    labels: dict[str, str] = {}
    subpath: str = ""
    driver_config: DriverConfig | None = None


class ImageOptions(msgspec.Struct, rename="pascal", omit_defaults=True):
    subpath: str = ""


class TmpfsOptions(msgspec.Struct, rename="pascal", omit_defaults=True):
    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] = []


class MountJson(msgspec.Struct, rename="pascal", omit_defaults=True, kw_only=True):
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class MountPointJson(msgspec.Struct, rename="pascal", kw_only=True):
    type: str
    name: str | UnsetType = UNSET
    source: str
    destination: str
    driver: str | UnsetType = UNSET
    mode: str
    writable: bool = field(name="RW")
    propagation: str


def to_mount(json: MountJson) -> MountRequest:
    """Raises InvalidArgument for what no host could mount."""
    _check(json)
    bind = json.bind_options or BindOptions()
    volume = json.volume_options or VolumeOptions()
    driver = volume.driver_config or DriverConfig()
    image = json.image_options or ImageOptions()
    tmpfs = json.tmpfs_options or TmpfsOptions()
    return MountRequest(
        kind=json.type,
        target=json.target,
        source=json.source,
        readonly=json.read_only,
        consistency=json.consistency,
        propagation=bind.propagation,
        non_recursive=bind.non_recursive,
        create_mountpoint=bind.create_mountpoint,
        readonly_non_recursive=bind.read_only_non_recursive,
        readonly_force_recursive=bind.read_only_force_recursive,
        no_copy=volume.no_copy,
        subpath=image.subpath if json.type == "image" else volume.subpath,
        volume_labels=volume.labels,
        volume_driver=driver.name,
        volume_options=driver.options,
        tmpfs_size=tmpfs.size_bytes,
        tmpfs_mode=tmpfs.mode,
        tmpfs_options=tuple(tuple(option) for option in tmpfs.options),
    )


def _check(json: MountJson) -> None:
    if json.type not in _KINDS:
        raise UnknownMountType(json.type)
    if not json.target:
        raise InvalidMount(json.type, "field Target must not be empty")
    if not posixpath.isabs(json.target):
        raise InvalidMount(
            json.type, f"invalid mount path: '{json.target}' mount path must be absolute"
        )
    if posixpath.normpath(json.target) in ("/", "//"):
        raise InvalidMount(json.type, "invalid specification: destination can't be '/'")
    _check_source(json)
    _check_options(json)


def _check_source(json: MountJson) -> None:
    if json.type == "tmpfs" and json.source:
        raise InvalidMount(json.type, "field Source must not be specified")
    if json.type in ("bind", "image") and not json.source:
        raise InvalidMount(json.type, "field Source must not be empty")
    if json.type == "bind" and not posixpath.isabs(json.source):
        raise InvalidMount(
            json.type, f"invalid mount path: '{json.source}' mount path must be absolute"
        )


def _check_options(json: MountJson) -> None:
    """Options of another type than the mount's are refused."""
    given = {
        "bind": ("BindOptions", json.bind_options),
        "volume": ("VolumeOptions", json.volume_options),
        "image": ("ImageOptions", json.image_options),
        "tmpfs": ("TmpfsOptions", json.tmpfs_options),
    }
    for kind, (name, options) in given.items():
        if kind != json.type and options is not None:
            raise InvalidMount(json.type, f"field {name} must not be specified")


def from_mount(mount: MountRequest) -> MountJson:
    json = MountJson(
        type=mount.kind,
        source=mount.source,
        target=mount.target,
        read_only=mount.readonly,
        consistency=mount.consistency,
    )
    match mount.kind:
        case "bind":
            json.bind_options = _bind_options(mount)
        case "volume":
            json.volume_options = _volume_options(mount)
        case "image" if mount.subpath:
            json.image_options = ImageOptions(mount.subpath)
        case "tmpfs":
            options = [list(option) for option in mount.tmpfs_options]
            tmpfs = TmpfsOptions(mount.tmpfs_size, mount.tmpfs_mode, options)
            json.tmpfs_options = tmpfs if tmpfs != TmpfsOptions() else None
    return json


def _bind_options(mount: MountRequest) -> BindOptions | None:
    options = BindOptions(
        mount.propagation,
        mount.non_recursive,
        mount.create_mountpoint,
        mount.readonly_non_recursive,
        mount.readonly_force_recursive,
    )
    return options if options != BindOptions() else None


def _volume_options(mount: MountRequest) -> VolumeOptions | None:
    driver = DriverConfig(mount.volume_driver, dict(mount.volume_options))
    options = VolumeOptions(
        mount.no_copy,
        dict(mount.volume_labels),
        mount.subpath,
        driver if driver != DriverConfig() else None,
    )
    return options if options != VolumeOptions() else None


def from_mount_points(container: Container) -> list[MountPointJson]:
    """What `--tmpfs` asked for is in the HostConfig alone."""
    tmpfs = {posixpath.normpath(path) for path in container.spec.host.tmpfs}
    return [
        from_mount_point(mount)
        for mount in container.mounts
        if mount.kind != "tmpfs" or mount.destination not in tmpfs
    ]


def from_mount_point(mount: MountPoint) -> MountPointJson:
    volume = mount.kind == "volume"
    return MountPointJson(
        type=mount.kind,
        name=mount.name or UNSET,
        source=mount.source,
        destination=mount.destination,
        driver=(mount.driver or "local") if volume else UNSET,
        mode=mount.mode,
        writable=mount.writable,
        propagation="rprivate" if mount.kind == "image" else mount.propagation,
    )
