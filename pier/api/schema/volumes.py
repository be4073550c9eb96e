"""Volumes, both ways. Pure."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from pier.api.schema.words import rfc3339


class CreateBody(msgspec.Struct, rename="pascal"):
    GO_TYPE: ClassVar[str] = "volume.CreateOptions"
    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}


class UsageJson(msgspec.Struct, rename="pascal"):
    size: int
    ref_count: int


class VolumeJson(msgspec.Struct, rename="pascal", kw_only=True):
    created_at: str
    driver: str
    labels: dict[str, str] | None
    mountpoint: str
    name: str
    options: dict[str, str] | None
    scope: str = "local"
    usage_data: UsageJson | msgspec.UnsetType = msgspec.UNSET


def volume_json(
    *,
    name: str,
    driver: str,
    mountpoint: str,
    labels: Mapping[str, str],
    options: Mapping[str, str],
    created_ns: int,
) -> VolumeJson:
    return VolumeJson(
        created_at=rfc3339(created_ns // 1_000_000_000 * 1_000_000_000),
        driver=driver or "local",
        labels=dict(labels) or None,
        mountpoint=mountpoint,
        name=name,
        options=dict(options) or None,
    )
