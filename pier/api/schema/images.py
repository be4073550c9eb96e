"""Images as inspect, list and history show them. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.config import Empty, Healthconfig, from_healthcheck
from pier.api.schema.words import rfc3339
from pier.api.versions import ApiVersion
from pier.images.model import HistoryEntry, Image, Removed
from pier.oci.image import ImageConfig, RunConfig
from pier.oci.reference import parse_reference


class GraphDriverJson(msgspec.Struct, rename="pascal"):
    data: dict[str, str]
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
    parent: str
    comment: str
    created: str
    container: str = ""
    container_config: dict[str, object]
    docker_version: str = ""
    author: str
    config: dict[str, object]
    architecture: str
    variant: str | UnsetType = UNSET
    os: str
    os_version: str | UnsetType = UNSET
    size: int
    virtual_size: int
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
    virtual_size: int
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


# Fields a container has and an image never: present, and empty, for old clients.
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


def run_config(run: RunConfig) -> dict[str, object]:
    """The image's Config, with null or zero where it says nothing."""
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
    given = {key: value for key, value in optional.items() if value}
    return dict(_CONTAINER_ONLY) | always | given


def inspect_json(image: Image, directories: Sequence[str], tagged_ns: int = 0) -> InspectJson:
    """`directories`: of the layers, top first."""
    config, shown_config = image.config, run_config(image.config.run)
    comments = [step.comment for step in config.history if step.comment]
    return InspectJson(
        id=image.id,
        repo_tags=[familiar(tag) for tag in image.tags],
        repo_digests=[familiar(digest) for digest in image.digests],
        parent=image.parent,
        comment=comments[-1] if comments else "",
        created=rfc3339(image.created_ns),
        author=config.author,
        container_config=shown_config | _last_command(config),
        config=shown_config,
        architecture=config.architecture,
        variant=config.variant or UNSET,
        os=config.os or "linux",
        os_version=config.os_version or UNSET,
        size=image.size,
        virtual_size=image.size,
        graph_driver=GraphDriverJson(_layers(directories)),
        root_fs=RootFsJson(list(image.layers)),
        metadata=MetadataJson(rfc3339(tagged_ns)),
    )


def _last_command(config: ImageConfig) -> dict[str, object]:
    """What the container ran that an image was made in: its last step, if that was a RUN."""
    words = config.history[-1].created_by if config.history else ""
    if not words.startswith("RUN "):
        return {}
    arguments, shell, script = words[4:].removesuffix(" # buildkit").partition("/bin/sh -c ")
    return {"Cmd": [*arguments.split(), *shell.split(), script]} if shell else {}


def _layers(directories: Sequence[str]) -> dict[str, str]:
    """Docker's names; what is mounted or written to is never an image."""
    names = {
        "UpperDir": directories[0] if directories else "",
        "LowerDir": ":".join(directories[1:]),
    }
    return {name: path for name, path in names.items() if path}


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
        virtual_size=image.size,
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
