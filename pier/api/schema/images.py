"""Images as inspect, list and history show them. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.config import Empty, Healthconfig, from_healthcheck
from pier.api.schema.words import rfc3339
from pier.api.versions import ApiVersion
from pier.images.model import HistoryEntry, Image, Removed
from pier.oci.image import RunConfig
from pier.oci.reference import parse_reference


class GraphDriverJson(msgspec.Struct, rename="pascal"):
    data: dict[str, str] = {}
    name: str = "overlay2"


class RootFsJson(msgspec.Struct, rename="pascal"):
    layers: list[str]
    type: str = "layers"


class MetadataJson(msgspec.Struct, rename="pascal"):
    last_tag_time: str


class InspectJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str | UnsetType = UNSET
    comment: str
    created: str
    container: str | UnsetType = UNSET
    container_config: dict[str, object] | UnsetType = UNSET
    docker_version: str | UnsetType = UNSET
    author: str
    config: dict[str, object]
    architecture: str
    variant: str | UnsetType = UNSET
    os: str
    os_version: str | UnsetType = UNSET
    size: int
    virtual_size: int | UnsetType = UNSET
    graph_driver: GraphDriverJson
    root_fs: RootFsJson = field(name="RootFS")
    metadata: MetadataJson


class SummaryJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str
    parent_id: str
    repo_tags: list[str]
    repo_digests: list[str]
    created: int
    size: int
    virtual_size: int | UnsetType = UNSET
    shared_size: int
    labels: dict[str, str] | None
    containers: int


class HistoryJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str
    created: int
    created_by: str
    tags: list[str] | None
    size: int
    comment: str


def familiar(reference: str) -> str:
    """A full reference ("docker.io/library/busybox:1") as people write it."""
    return parse_reference(reference).familiar()


# Fields a container has and an image never: present, and empty, for clients before 1.50.
_CONTAINER_ONLY: Mapping[str, object] = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Image": "",
}


def run_config(run: RunConfig, version: ApiVersion) -> dict[str, object]:
    """The image's Config. Since 1.52 what is empty is left out; before, it was null or zero."""
    check: Healthconfig | None = from_healthcheck(run.healthcheck) if run.healthcheck else None
    ports: dict[str, Empty] = {port: {} for port in run.exposed_ports}
    optional: dict[str, object] = {
        "ExposedPorts": ports,
        "Healthcheck": check,
        "ArgsEscaped": run.args_escaped,
        "StopSignal": run.stop_signal,
        "Shell": list(run.shell),
    }
    always: dict[str, object] = {
        "User": run.user,
        "Env": list(run.env) or None,
        "Cmd": list(run.cmd) if run.cmd else None,
        "Volumes": {path: {} for path in run.volumes} or None,
        "WorkingDir": run.working_dir,
        "Entrypoint": list(run.entrypoint) if run.entrypoint else None,
        "OnBuild": list(run.on_build) or None,
        "Labels": dict(run.labels) or None,
    }
    config = always | {key: value for key, value in optional.items() if value}
    if not version.at_least(50):
        return dict(_CONTAINER_ONLY) | config
    if version.at_least(52):
        return {key: value for key, value in config.items() if value}
    return config


def inspect_json(image: Image, version: ApiVersion, tagged_ns: int = 0) -> InspectJson:
    config = image.config
    comments = [step.comment for step in config.history if step.comment]
    shown = InspectJson(
        id=image.id,
        repo_tags=[familiar(tag) for tag in image.tags],
        repo_digests=[familiar(digest) for digest in image.digests],
        comment=comments[-1] if comments else "",
        created=rfc3339(image.created_ns),
        author=config.author,
        config=run_config(config.run, version),
        architecture=config.architecture,
        variant=config.variant or UNSET,
        os=config.os or "linux",
        os_version=config.os_version or UNSET,
        size=image.size,
        graph_driver=GraphDriverJson(),
        root_fs=RootFsJson(list(image.layers)),
        metadata=MetadataJson(rfc3339(tagged_ns)),
    )
    _fill_legacy(shown, image, version)
    return shown


def _fill_legacy(shown: InspectJson, image: Image, version: ApiVersion) -> None:
    if not version.at_least(44):
        shown.virtual_size = image.size
    if not version.at_least(52):
        shown.parent = image.parent
        shown.docker_version = ""
    if not version.at_least(45):
        shown.container = ""
        shown.container_config = dict(shown.config)


def summary_json(
    image: Image, version: ApiVersion, *, containers: int = -1, shared_size: int = -1
) -> SummaryJson:
    """Containers -1: not counted."""
    tags = [familiar(tag) for tag in image.tags]
    digests = [familiar(digest) for digest in image.digests]
    if not version.at_least(43) and not tags:
        tags = ["<none>:<none>"]
        digests = digests or ["<none>@<none>"]
    return SummaryJson(
        id=image.id,
        parent_id=image.parent,
        repo_tags=tags,
        repo_digests=digests,
        created=image.created_ns // 1_000_000_000,
        size=image.size,
        virtual_size=UNSET if version.at_least(44) else image.size,
        shared_size=shared_size,
        labels=dict(image.config.run.labels) or None,
        containers=containers,
    )


def history_json(entries: Sequence[HistoryEntry]) -> list[HistoryJson]:
    return [
        HistoryJson(
            id=entry.id,
            created=entry.created_ns // 1_000_000_000,
            created_by=entry.created_by,
            tags=[familiar(tag) for tag in entry.tags] or None,
            size=entry.size,
            comment=entry.comment,
        )
        for entry in entries
    ]


def removed_json(removed: Sequence[Removed]) -> list[dict[str, str]]:
    return [{item.kind: item.what} for item in removed]
