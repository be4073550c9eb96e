"""A container's devices: nodes in its /dev, and what the device cgroup lets it use. Pure.

The host's nodes come as values; `pier.containers.host` looks them up.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pier.containers.spec import Device, DeviceRequest
from pier.errors import Failed, InvalidArgument

RuleEntry = dict[str, object]

_PERMISSIONS = re.compile(r"[rwm]{1,3}")

_DEFAULT_RULES: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),  # null
    ("c", 1, 5, "rwm"),  # zero
    ("c", 1, 7, "rwm"),  # full
    ("c", 1, 8, "rwm"),  # random
    ("c", 1, 9, "rwm"),  # urandom
    ("c", 5, 0, "rwm"),  # tty
    ("c", 5, 1, "rwm"),  # console
    ("c", 5, 2, "rwm"),  # ptmx
    ("c", 136, None, "rwm"),  # pts/*
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """A device node as it is on the host, and where the container shall have it."""

    path: str
    """In the container."""
    kind: str
    """"c" or "b"."""
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    permissions: str = "rwm"


class InvalidDevice(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


class NoDeviceDriver(Failed):
    """Nothing here can provide what `--gpus` asks for."""

    def __init__(self, request: DeviceRequest) -> None:
        wanted = " ".join(f"[{' '.join(group)}]" for group in request.capabilities)
        super().__init__(
            f'could not select device driver "{request.driver}" with capabilities: [{wanted}]'
        )


def check(devices: Iterable[Device], requests: Iterable[DeviceRequest]) -> None:
    """Raise for permissions other than r, w, m, and for device requests nobody can meet."""
    for device in devices:
        if not _PERMISSIONS.fullmatch(device.permissions or "rwm"):
            raise InvalidDevice(f"invalid device mode: {device.permissions}")
    for request in requests:
        raise NoDeviceDriver(request)


def devices_to_oci(nodes: Sequence[DeviceNode]) -> list[dict[str, object]]:
    """OCI `linux.devices`: the nodes the runtime must make besides null, zero and their like."""
    return [
        {
            "path": node.path,
            "type": node.kind,
            "major": node.major,
            "minor": node.minor,
            "fileMode": node.mode,
            "uid": node.uid,
            "gid": node.gid,
        }
        for node in nodes
    ]


def device_rules(
    nodes: Sequence[DeviceNode], cgroup_rules: Sequence[str], *, privileged: bool
) -> list[RuleEntry]:
    """OCI `linux.resources.devices`: everything denied, then what is allowed."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[RuleEntry] = [{"allow": False, "access": "rwm"}]
    rules += [_rule(*rule) for rule in _DEFAULT_RULES]
    rules += [_rule(node.kind, node.major, node.minor, node.permissions) for node in nodes]
    rules += [_parse_rule(rule) for rule in cgroup_rules]
    return rules


def _parse_rule(text: str) -> RuleEntry:
    kind, numbers, access = text.split(" ")
    major, minor = (None if part == "*" else int(part) for part in numbers.split(":"))
    return _rule(kind, major, minor, access)


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> RuleEntry:
    rule: RuleEntry = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule
