"""What clients of older versions cannot have meant, taken out of what they asked. Pure.

Each step names the version that brought the setting (surface.md a.1, Docker's API changelog).
"""

from collections.abc import Mapping
from dataclasses import replace

from pier.api.schema.mounts import InvalidMount
from pier.api.versions import ApiVersion
from pier.containers.spec import ContainerSpec, EndpointSpec, HostSpec, MountRequest
from pier.errors import InvalidArgument


class ManyEndpoints(InvalidArgument):
    def __init__(self, names: Mapping[str, object]) -> None:
        super().__init__(
            f"Container cannot be created with multiple network endpoints: {', '.join(names)}"
        )


def shaped(spec: ContainerSpec, version: ApiVersion) -> ContainerSpec:
    """Raises InvalidArgument for what the version has and this client's has not."""
    if len(spec.endpoints) > 1 and not version.at_least(44):
        raise ManyEndpoints(spec.endpoints)
    check = spec.healthcheck
    if check is not None and not version.at_least(44):
        check = replace(check, start_interval_ns=0)
    return replace(
        spec,
        healthcheck=check,
        host=_host(spec.host, version),
        endpoints={name: _endpoint(item, version) for name, item in spec.endpoints.items()},
    )


def _host(host: HostSpec, version: ApiVersion) -> HostSpec:
    mounts = tuple(_mount(mount, version) for mount in host.mounts)
    host = replace(host, mounts=mounts) if mounts else host
    if not version.at_least(44) and host.binds:
        host = replace(host, readonly_binds_non_recursive=True)
    if not version.at_least(43):
        host = replace(host, annotations={})
    if not version.at_least(42):
        host = replace(host, console_size=(0, 0))
    if not version.at_least(41) and not host.cgroupns_mode:
        host = replace(host, cgroupns_mode="host")
    if not version.at_least(40) and not host.ipc_mode:
        host = replace(host, ipc_mode="shareable")
    return host


def _mount(mount: MountRequest, version: ApiVersion) -> MountRequest:
    if mount.kind == "image" and not version.at_least(48):
        raise InvalidMount("image", "mount type image requires API version 1.48")
    if mount.kind == "volume" and mount.subpath and not version.at_least(45):
        raise InvalidMount("volume", "VolumeOptions.Subpath requires API version 1.45")
    if not version.at_least(44):
        mount = replace(mount, readonly_non_recursive=mount.kind == "bind" and mount.readonly)
    if not version.at_least(40):
        mount = replace(mount, non_recursive=False)
    return mount


def _endpoint(endpoint: EndpointSpec, version: ApiVersion) -> EndpointSpec:
    if not version.at_least(48):
        endpoint = replace(endpoint, gateway_priority=0)
    return endpoint
