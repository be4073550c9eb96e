"""`pier system df`: where the disk space goes."""

from __future__ import annotations

import sys
import time

from pier.cli.command import Command, Flag
from pier.cli.commands.images import image_rows
from pier.cli.commands.volume import FIELDS as VOLUME_FIELDS
from pier.cli.output import Field, View, listing, show
from pier.cli.units import format_size, format_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.output import Fields, Row
    from pier.cli.session import Session

    Usage = dict[str, Any]  # the API's disk usage

DEFAULT = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
_RUNNING = ("running", "paused", "restarting")


class Total:
    """One line of the summary."""

    __slots__ = ("active", "count", "kind", "reclaimable", "size_bytes")

    def __init__(
        self, kind: str, count: int, active: int, size_bytes: int, reclaimable: str
    ) -> None:
        self.kind = kind
        self.count = count
        self.active = active
        self.size_bytes = size_bytes
        self.reclaimable = reclaimable


FIELDS = {
    "Type": Field("TYPE", lambda total: total.kind),
    "TotalCount": Field("TOTAL", lambda total: str(total.count)),
    "Active": Field("ACTIVE", lambda total: str(total.active)),
    "Size": Field("SIZE", lambda total: format_size(total.size_bytes, 4)),
    "Reclaimable": Field("RECLAIMABLE", lambda total: total.reclaimable),
}


def _share(reclaimable: int, whole: int) -> str:
    text = format_size(reclaimable, 4)
    return f"{text} ({int(reclaimable * 100 / whole)}%)" if whole > 0 else text


def totals(usage: Usage) -> list[Total]:
    """Return the summary of what the daemon reports."""
    return [_images(usage), _containers(usage), _volumes(usage), _cache(usage)]


def _images(usage: Usage) -> Total:
    images = usage.get("Images") or []
    layers = usage.get("LayersSize", 0)
    used = 0
    for image in images:
        if image.get("Containers", -1) > 0:
            size, shared = image.get("Size", -1), image.get("SharedSize", -1)
            used += size - shared if size != -1 and shared != -1 else 0
    active = sum(image.get("Containers", -1) > 0 for image in images)
    return Total("Images", len(images), active, layers, _share(layers - used, layers))


def _containers(usage: Usage) -> Total:
    rows = usage.get("Containers") or []
    running = [row.get("State") in _RUNNING for row in rows]
    size = sum(row.get("SizeRw", 0) for row in rows)
    idle = sum(row.get("SizeRw", 0) for row, runs in zip(rows, running, strict=True) if not runs)
    return Total("Containers", len(rows), sum(running), size, _share(idle, size))


def _volumes(usage: Usage) -> Total:
    rows = [row.get("UsageData") or {} for row in usage.get("Volumes") or []]
    size = sum(max(row.get("Size", 0), 0) for row in rows)
    free = sum(row.get("Size", 0) for row in rows if row.get("RefCount") == 0)
    active = sum(row.get("RefCount", 0) > 0 for row in rows)
    return Total("Local Volumes", len(rows), active, size, _share(max(free, 0), size))


def _cache(usage: Usage) -> Total:
    rows = usage.get("BuildCache") or []
    size = sum(row.get("Size", 0) for row in rows if not row.get("Shared"))
    used = sum(row.get("Size", 0) for row in rows if row.get("InUse") and not row.get("Shared"))
    active = sum(bool(row.get("InUse")) for row in rows)
    return Total("Build Cache", len(rows), active, size, format_size(size - used, 4))


def disk_usage(session: Session, options: Options, _arguments: list[str]) -> None:
    usage = session.client.get("/system/df") or {}
    if options.on("verbose"):
        _show_verbose(usage, options.text("format"))
        return
    show(totals(usage), FIELDS, DEFAULT, options.text("format"))


def _show_verbose(usage: Usage, form: str) -> None:
    now_s = time.time()
    if form not in ("", "table"):
        _show_as(usage, now_s, form)
        return
    cache = _cache(usage)
    parts = [
        "Images space usage:\n",
        _image_table(usage, now_s),
        "Containers space usage:\n",
        _container_table(usage, now_s),
        "Local Volumes space usage:\n",
        listing(usage.get("Volumes") or [], VOLUME_FIELDS, ("Name", "Links", "Size")),
        f"Build cache usage: {format_size(cache.size_bytes, 4)}\n",
        _cache_table(usage, now_s),
    ]
    sys.stdout.write("\n".join(parts))


def _show_as(usage: Usage, now_s: float, form: str) -> None:
    """Everything as one object, of lists of what the tables show, for templates and JSON."""
    from pier.cli.commands.images import image_fields
    from pier.cli.commands.ps import container_fields
    from pier.cli.jsonlite import json_line

    kinds: dict[str, tuple[Sequence[Row], Fields]] = {
        "Images": (_one_name(usage), image_fields(now_s, trunc=False)),
        "Containers": (usage.get("Containers") or [], container_fields(now_s, trunc=False)),
        "Volumes": (usage.get("Volumes") or [], VOLUME_FIELDS),
        "BuildCache": (_cache_rows(usage), _cache_fields(now_s, trunc=False)),
    }
    shown = {
        kind: [View(fields, row).to_json() for row in rows]
        for kind, (rows, fields) in kinds.items()
    }
    if form == "json":
        sys.stdout.write(json_line(shown) + "\n")
        return
    from pier.cli.templates import render

    sys.stdout.write(render(form, shown) + "\n")


def _image_table(usage: Usage, now_s: float) -> str:
    from pier.cli.commands.images import image_fields

    fields = image_fields(now_s, trunc=True)
    names = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize")
    rows = _one_name(usage)
    return listing(rows, fields, (*names, "Containers"))


def _one_name(usage: Usage) -> list[Row]:
    """Return one row an image: df counts images, not names."""
    rows = []
    for image in usage.get("Images") or []:
        rows += list(image_rows([image], digests=False))[:1]
        if not image.get("RepoTags"):
            rows[-1] |= {"Repository": "<none>"}
    return rows


def _container_table(usage: Usage, now_s: float) -> str:
    from pier.cli.commands.ps import container_fields

    fields = container_fields(now_s, trunc=True)
    fields["Size"] = Field("SIZE", lambda row: format_size(row.get("SizeRw", 0), 3))
    names = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    return listing(usage.get("Containers") or [], fields, names)


def _cache_table(usage: Usage, now_s: float) -> str:
    fields = _cache_fields(now_s, trunc=True)
    names = ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared")
    return listing(_cache_rows(usage), fields, names)


def _cache_fields(now_s: float, *, trunc: bool) -> dict[str, Field]:
    from pier.cli.gotime import parse_stamp

    def ago(text: str | None) -> str:
        return f"{format_span(now_s - parse_stamp(text))} ago" if text else ""

    def identity(row: Row) -> str:
        text = str(row.get("ID", ""))
        return text[:12] + ("*" if row.get("InUse") else "") if trunc else text

    return {
        "ID": Field("CACHE ID", identity),
        "CacheType": Field("CACHE TYPE", lambda row: row.get("Type", "")),
        "Description": Field("DESCRIPTION", lambda row: row.get("Description", "")),
        "InUse": Field("IN USE", lambda row: str(bool(row.get("InUse"))).lower()),
        "Size": Field("SIZE", lambda row: format_size(row.get("Size", 0), 3)),
        "CreatedSince": Field("CREATED", lambda row: ago(row.get("CreatedAt"))),
        "LastUsedSince": Field("LAST USED", lambda row: ago(row.get("LastUsedAt"))),
        "UsageCount": Field("USAGE", lambda row: str(row.get("UsageCount", 0))),
        "Shared": Field("SHARED", lambda row: str(bool(row.get("Shared"))).lower()),
    }


def _cache_rows(usage: Usage) -> list[Row]:
    return sorted(usage.get("BuildCache") or [], key=_least_recent)


def _least_recent(row: Row) -> tuple[bool, str]:
    return row.get("LastUsedAt") is not None, row.get("LastUsedAt") or ""


COMMANDS = {
    "system df": Command(
        disk_usage,
        "[OPTIONS]",
        "Show where the disk space goes",
        (0, 0),
        (
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("verbose,v", "bool", "Show every object"),
        ),
    )
}
