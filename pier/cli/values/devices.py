"""Devices: `--device`, `--gpus`, and the limits that name a device. Docker run reference."""

from __future__ import annotations

from pier.cli.parsing import split_csv
from pier.cli.units import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = dict[str, Any]  # objects of the API

_MODES = frozenset("rwm")


def is_cdi_name(text: str) -> bool:
    """Whether `text` is a qualified CDI device, `vendor/class=name`, and not a path."""
    kind, equals, name = text.partition("=")
    vendor, slash, device_class = kind.partition("/")
    return bool(equals and slash and vendor and device_class and name and text[0].isalnum())


def parse_devices(specs: Iterable[str]) -> list[Json]:
    """Return Devices for the `--device` values that are paths."""
    devices = []
    for spec in specs:
        parts = spec.split(":")
        if len(parts) > 3:
            raise ValueError(f"invalid device specification: {spec}")
        source, target, mode = parts[0], parts[0], "rwm"
        if len(parts) == 3:
            target, mode = parts[1], parts[2]
        elif len(parts) == 2:
            target, mode = (source, parts[1]) if _is_mode(parts[1]) else (parts[1], mode)
        if not _is_mode(mode):
            raise ValueError(f"bad mode specified: {mode}")
        devices.append({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode})
    return devices


def _is_mode(text: str) -> bool:
    return bool(text) and set(text) <= _MODES and len(set(text)) == len(text)


def check_cgroup_rule(text: str) -> str:
    import re

    if not re.fullmatch(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}", text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def check_gpus(text: str) -> str:
    parse_gpus(text)
    return text


def parse_gpus(text: str) -> Json:
    """Return the DeviceRequest of a `--gpus` value: `all`, a number, or `key=value,...`."""
    request: Json = {}
    seen: set[str] = set()
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", key
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        _set_gpu(request, key, value)
    if "count" not in seen and "DeviceIDs" not in request:
        request["Count"] = 1
    capabilities = request.get("Capabilities", [["gpu"]])
    request["Capabilities"] = capabilities
    return request


def _set_gpu(request: Json, key: str, value: str) -> None:
    match key:
        case "driver":
            request["Driver"] = value
        case "count":
            request["Count"] = _gpu_count(value)
        case "device":
            request["DeviceIDs"] = value.split(",")
        case "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        case "options":
            pairs = (part.partition("=") for part in split_csv(value))
            request["Options"] = {name: text for name, _, text in pairs}
        case _:
            raise ValueError(f"unexpected key '{key}' in '{key}={value}'")


def _gpu_count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        ) from None


def _split_device(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def parse_weight(text: str) -> Json:
    """Return one BlkioWeightDevice."""
    path, value = _split_device(text)
    if not value.isdigit() or (int(value) > 0 and not 10 <= int(value) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(value)}


def check_weight(text: str) -> str:
    parse_weight(text)
    return text


def parse_bps(text: str) -> Json:
    """Return one rate in bytes per second."""
    path, value = _split_device(text)
    try:
        return {"Path": path, "Rate": parse_bytes(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is"
            " <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is"
            " optional and can be kb, mb, or gb"
        ) from None


def check_bps(text: str) -> str:
    parse_bps(text)
    return text


def parse_iops(text: str) -> Json:
    """Return one rate in operations per second."""
    path, value = _split_device(text)
    if not value.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>."
            " Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(value)}


def check_iops(text: str) -> str:
    parse_iops(text)
    return text
