"""Volumes as answers show them, and who uses them."""

from pier.api.call import Engine
from pier.api.schema.volumes import VolumeJson, volume_json
from pier.volumes import Volume


def to_json(volume: Volume) -> VolumeJson:
    return volume_json(
        name=volume.name,
        driver=volume.driver,
        mountpoint=str(volume.mountpoint),
        labels=volume.labels,
        options=volume.options,
        created_ns=volume.created_ns,
    )


def used_volumes(engine: Engine) -> dict[str, int]:
    """How many containers use each volume."""
    used: dict[str, int] = {}
    for container in engine.containers.list_():
        for name in {mount.name for mount in container.mounts if mount.kind == "volume"}:
            used[name] = used.get(name, 0) + 1
    return used
