"""`pier ps`: the containers."""

from __future__ import annotations

import time

from pier.cli.command import Command, Flag
from pier.cli.filters import encode_filters
from pier.cli.output import Field, ellipsis, format_labels, quiet, short_id, show
from pier.cli.ports_shown import format_ports
from pier.cli.units import format_size, format_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

COMMAND_WIDTH = 20
MOUNT_WIDTH = 15
DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


_RAW: tuple[tuple[str, str], ...] = (
    ("container_id", "ID"), ("image", "Image"), ("command", "Command"),
    ("created_at", "CreatedAt"), ("state", "State"), ("status", "Status"), ("names", "Names"),
    ("labels", "Labels"), ("ports", "Ports"),
)  # fmt: skip


def container_fields(now_s: float, *, trunc: bool) -> dict[str, Field]:
    """Return the columns; `trunc` shortens what would make the lines long."""

    def identity(row: Row) -> str:
        return str(row["Id"][:12] if trunc else row["Id"])

    def command(row: Row) -> str:
        text = row.get("Command", "")
        return '"' + (ellipsis(text, COMMAND_WIDTH) if trunc else text).replace('"', '\\"') + '"'

    return {
        "ID": Field("CONTAINER ID", identity),
        "Names": Field("NAMES", lambda row: _names(row, trunc=trunc)),
        "Image": Field("IMAGE", lambda row: _image(row, trunc=trunc)),
        "Command": Field("COMMAND", command),
        "CreatedAt": Field("CREATED AT", _created_at),
        "RunningFor": Field(
            "CREATED", lambda row: format_span(now_s - row.get("Created", 0)) + " ago"
        ),
        "Ports": Field("PORTS", lambda row: format_ports(row.get("Ports") or ())),
        "State": Field("STATE", lambda row: row.get("State", "")),
        "Status": Field("STATUS", lambda row: row.get("Status", "")),
        "Size": Field("SIZE", _size),
        "Labels": Field("LABELS", lambda row: format_labels(row.get("Labels"))),
        "Label": Field("LABEL", _labels, method=True),
        "Mounts": Field("MOUNTS", lambda row: _mounts(row, trunc=trunc)),
        "LocalVolumes": Field("LOCAL VOLUMES", _local_volumes),
        "Networks": Field("NETWORKS", _networks),
        "Platform": Field("PLATFORM", _platform),
    }


def _labels(row: Row) -> dict[str, str]:
    return row.get("Labels") or {}


def _names(row: Row, *, trunc: bool) -> str:
    """Return the names without their slash; a truncated list has no `container/alias` links."""
    names = [name.removeprefix("/") for name in row.get("Names") or ()]
    if trunc:
        names = [name for name in names if "/" not in name][:1]
    return ",".join(names)


def _image(row: Row, *, trunc: bool) -> str:
    image = row.get("Image") or ""
    if not image:
        return "<no image>"
    if trunc:
        short = short_id(row.get("ImageID", ""))
        if short and short_id(image) == short:
            return short
        name, _, digest = image.partition("@")
        if digest and ":" in name.rpartition("/")[2]:
            return str(name)
    return str(image)


def _created_at(row: Row) -> str:
    from pier.cli.gotime import format_go_time

    return format_go_time(row.get("Created", 0))


def _size(row: Row) -> str:
    text = format_size(row.get("SizeRw", 0), 3)
    if row.get("SizeRootFs", 0) > 0:
        text += f" (virtual {format_size(row['SizeRootFs'], 3)})"
    return text


def _mounts(row: Row, *, trunc: bool) -> str:
    names = [mount.get("Name") or mount.get("Source", "") for mount in row.get("Mounts") or ()]
    return ",".join(ellipsis(name, MOUNT_WIDTH) if trunc else name for name in names)


def _local_volumes(row: Row) -> str:
    return str(sum(mount.get("Driver") == "local" for mount in row.get("Mounts") or ()))


def _networks(row: Row) -> str:
    networks = (row.get("NetworkSettings") or {}).get("Networks") or {}
    return ",".join(sorted(networks))


def _platform(row: Row) -> object:
    descriptor = row.get("ImageManifestDescriptor") or {}
    return descriptor.get("platform")


def _query(options: Options, form: str) -> dict[str, Any]:
    last = options.number("last")
    latest = options.on("latest") and not options.given & {"last"}
    return {
        "all": options.on("all"),
        "limit": (1 if latest else last) if latest or last > 0 else None,
        "size": options.on("size") or _shows_size(form),
        "filters": encode_filters(options.texts("filter")),
    }


def _shows_size(form: str) -> bool:
    """A template that names the size, or shows all there is; sizes take long to count."""
    return ".Size" in form or "json .}" in form.replace("json . }", "json .}")


def list_containers(session: Session, options: Options, _arguments: list[str]) -> None:
    form = options.text("format")
    if not form and not options.on("quiet"):
        form = session.settings.text("psFormat")
    rows = session.client.get("/containers/json", _query(options, form)) or []
    fields = container_fields(time.time(), trunc=not options.on("no-trunc"))
    if options.on("quiet") and form in ("", "table"):
        quiet(rows, fields["ID"])
        return
    default = (*DEFAULT, "Size") if options.on("size") else DEFAULT
    raw = (*_RAW, ("size", "Size")) if options.on("size") else _RAW
    if form == "raw" and options.on("quiet"):
        raw = _RAW[:1]
    show(rows, fields, default, form, raw=raw)


COMMANDS = {
    "container ls": Command(
        list_containers,
        "[OPTIONS]",
        "List containers",
        (0, 0),
        (
            Flag("all,a", "bool", "Show stopped containers too"),
            Flag("filter,f", "filter", "Show only what matches this condition"),
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("last,n", "int", "Show the n containers created last, in any state", -1),
            Flag("latest,l", "bool", "Show the container created last, in any state"),
            Flag("no-trunc", "bool", "Show everything in full"),
            Flag("quiet,q", "bool", "Show IDs only"),
            Flag("size,s", "bool", "Show sizes too"),
        ),
        aliases="pier container ls, pier container list, pier container ps, pier ps",
    )
}
