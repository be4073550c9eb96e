"""`-v`, `--mount` and `--tmpfs`. Docker run reference, "Volumes and mounts"."""

from __future__ import annotations

import os

from pier.cli.parsing import FALSE, TRUE, split_csv
from pier.cli.units import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Mount = dict[str, Any]  # the API's Mount

_TOP_LEVEL = {"source": "Source", "src": "Source", "target": "Target", "dst": "Target"}
_TOP_LEVEL |= {"destination": "Target", "consistency": "Consistency"}
_ALLOWED = ("bind", "volume", "tmpfs", "image", "npipe", "cluster")
_OPTION_OWNERS = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions"}
_OPTION_OWNERS |= {"image": "ImageOptions"}


class Volumes:
    """What `-v` asks for: binds (named volumes too), and anonymous volumes."""

    __slots__ = ("anonymous", "binds")

    def __init__(self, binds: list[str], anonymous: list[str]) -> None:
        self.binds = binds
        self.anonymous = anonymous


def parse_volumes(specs: Iterable[str]) -> Volumes:
    """Sort out `-v` values; relative paths become absolute ones of this machine."""
    volumes = Volumes([], [])
    for spec in dict.fromkeys(specs):
        source, colon, rest = spec.partition(":")
        if not spec:
            raise ValueError("invalid empty volume spec")
        if not colon:
            volumes.anonymous.append(spec)
            continue
        if not all(spec.split(":")):
            raise ValueError(f"invalid spec: {spec}: empty section between colons")
        if source.startswith("."):
            source = os.path.abspath(source)
        volumes.binds.append(f"{source}:{rest}")
    return volumes


def parse_tmpfs(specs: Iterable[str]) -> dict[str, str]:
    pairs = (spec.partition(":") for spec in specs)
    return {path: options for path, _, options in pairs}


def check_mount(text: str) -> str:
    """Check a `--mount` value while the command line is read."""
    parse_mount(text)
    return text


def parse_mount(text: str) -> Mount:
    """Return the Mount that a `--mount` value describes."""
    mount: Mount = {"Type": "volume"}
    fields = split_csv(text)
    if not fields:
        raise ValueError("value is empty")
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _set(mount, key, value, field)
    _validate(mount)
    return mount


def _set(mount: Mount, key: str, value: str, field: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in _TOP_LEVEL:
        if key in ("source", "src") and value.startswith("."):
            value = os.path.abspath(value)
        mount[_TOP_LEVEL[key]] = value.lower() if key == "consistency" else value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _bool(key, value)
    elif key.startswith("bind-"):
        _set_bind(mount.setdefault("BindOptions", {}), key, value)
    elif key.startswith("volume-"):
        _set_volume(mount.setdefault("VolumeOptions", {}), key, value, field)
    elif key.startswith("tmpfs-"):
        _set_tmpfs(mount.setdefault("TmpfsOptions", {}), key, value)
    elif key == "image-subpath":
        mount.setdefault("ImageOptions", {})["Subpath"] = value
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _bool(key: str, value: str) -> bool:
    if value in TRUE:
        return True
    if value not in FALSE:
        raise ValueError(f"invalid value for {key}: {value}")
    return False


def _set_bind(options: Mount, key: str, value: str) -> None:
    match key:
        case "bind-propagation":
            options["Propagation"] = value.lower()
        case "bind-nonrecursive":
            options["NonRecursive"] = _bool(key, value)
        case "bind-create-src":
            options["CreateMountpoint"] = _bool(key, value)
        case "bind-recursive":
            _set_recursive(options, value)
        case _:
            raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _set_recursive(options: Mount, value: str) -> None:
    match value:
        case "enabled":
            pass
        case "disabled":
            options["NonRecursive"] = True
        case "writable":
            options["ReadOnlyNonRecursive"] = True
        case "readonly":
            options["ReadOnlyForceRecursive"] = True
        case _:
            raise ValueError(
                f'invalid value for bind-recursive: {value} (must be "enabled", "disabled",'
                ' "writable", or "readonly")'
            )


def _set_volume(options: Mount, key: str, value: str, field: str) -> None:
    match key:
        case "volume-nocopy":
            options["NoCopy"] = _bool(key, value)
        case "volume-subpath":
            options["Subpath"] = value
        case "volume-driver":
            options.setdefault("DriverConfig", {})["Name"] = value
        case "volume-label":
            name, _, text = value.partition("=")
            options.setdefault("Labels", {})[name] = text
        case "volume-opt":
            name, _, text = value.partition("=")
            options.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = text
        case _:
            raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_tmpfs(options: Mount, key: str, value: str) -> None:
    match key:
        case "tmpfs-size":
            try:
                options["SizeBytes"] = parse_bytes(value)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        case "tmpfs-mode":
            try:
                options["Mode"] = int(value, 8)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        case _:
            raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _validate(mount: Mount) -> None:
    if not mount["Type"]:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for kind, owner in _OPTION_OWNERS.items():
        if owner in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    _validate_recursion(mount.get("BindOptions", {}), readonly=bool(mount.get("ReadOnly")))


def _validate_recursion(options: Mount, *, readonly: bool) -> None:
    together = "to be specified in conjunction"
    if options.get("ReadOnlyNonRecursive") and not readonly:
        raise ValueError(f"option 'bind-recursive=writable' requires 'readonly' {together}")
    if not options.get("ReadOnlyForceRecursive"):
        return
    if not readonly:
        raise ValueError(f"option 'bind-recursive=readonly' requires 'readonly' {together}")
    if options.get("Propagation") != "rprivate":
        raise ValueError(
            f"option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' {together}"
        )
