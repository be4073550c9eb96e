"""`pier images`: a line for every name of every image."""

from __future__ import annotations

import time

from pier.cli.command import Command, Flag
from pier.cli.filters import encode_filters
from pier.cli.output import Field, quiet, short_id, show
from pier.cli.references import Name
from pier.cli.units import format_size, format_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

    Image = dict[str, Any]  # the API's ImageSummary

NONE = "<none>"
DEFAULT = ("Repository", "Tag", "ID", "CreatedSince", "Size")
WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def _named(image: Image, repository: str, tag: str, digest: str) -> Row:
    return image | {"Repository": repository, "Tag": tag, "Digest": digest}


def image_rows(images: list[Image], *, digests: bool, listed: bool = False) -> Iterator[Row]:
    """Yield a row for each tag, and one for what has no name.

    `digests` adds digests to the tags; `listed` gives what has only digests a row for each.
    """
    for image in images:
        tags = [name for name in image.get("RepoTags") or () if name != "<none>:<none>"]
        known = [name for name in image.get("RepoDigests") or () if name != "<none>@<none>"]
        if not tags and not known:
            yield _named(image, NONE, NONE, NONE)
            continue
        by_repository: dict[str, list[str]] = {}
        for name in known:
            repository, _, digest = name.partition("@")
            by_repository.setdefault(Name(repository).short, []).append(digest)
        tagged = {Name(name).short for name in tags}
        for name in tags:
            parsed = Name(name)
            for digest in (by_repository.get(parsed.short) if digests else None) or [NONE]:
                yield _named(image, parsed.short, parsed.tag, digest)
        for repository, found in by_repository.items():
            if repository not in tagged:
                for digest in found if listed else [""]:
                    yield _named(image, repository, NONE, digest)


def _count(value: int) -> str:
    return "N/A" if value == -1 else str(value)


def _size_or_na(value: int) -> str:
    return "N/A" if value == -1 else format_size(value, 4)


def _unique(row: Row) -> str:
    shared = row.get("SharedSize", -1)
    return "N/A" if shared == -1 else format_size(row.get("Size", 0) - shared, 4)


def _created_at(row: Row) -> str:
    from pier.cli.gotime import format_go_time

    return format_go_time(row.get("Created", 0))


def image_fields(now_s: float, *, trunc: bool) -> dict[str, Field]:
    def since(row: Row) -> str:
        return format_span(now_s - row["Created"]) + " ago" if row.get("Created") else "N/A"

    return {
        "ID": Field("IMAGE ID", lambda row: short_id(row["Id"]) if trunc else row["Id"]),
        "Repository": Field("REPOSITORY", lambda row: row["Repository"]),
        "Tag": Field("TAG", lambda row: row["Tag"]),
        "Digest": Field("DIGEST", lambda row: row["Digest"]),
        "CreatedSince": Field("CREATED", since),
        "CreatedAt": Field("CREATED AT", _created_at),
        "Size": Field("SIZE", lambda row: format_size(row.get("Size", 0), 3)),
        "Containers": Field("CONTAINERS", lambda row: _count(row.get("Containers", -1))),
        "VirtualSize": Field("SIZE", lambda row: format_size(row.get("Size", 0), 4)),
        "SharedSize": Field("SHARED SIZE", lambda row: _size_or_na(row.get("SharedSize", -1))),
        "UniqueSize": Field("UNIQUE SIZE", _unique),
    }


def list_images(session: Session, options: Options, arguments: list[str]) -> None:
    filters = options.texts("filter") + [f"reference={name}" for name in arguments]
    form = options.text("format")
    if not form and not options.on("quiet"):
        form = session.settings.text("imagesFormat")
    query = {"all": options.on("all"), "filters": encode_filters(filters)}
    images = session.client.get("/images/json", query) or []
    fields = image_fields(time.time(), trunc=not options.on("no-trunc"))
    digests = options.on("digests") or "{{.Digest}}" in form
    rows = list(image_rows(images, digests=digests, listed=options.on("digests")))
    if options.on("quiet") and form in ("", "table"):
        quiet(rows, fields["ID"])
        return
    show(rows, fields, WITH_DIGEST if options.on("digests") else DEFAULT, form)


COMMANDS = {
    "image ls": Command(
        list_images,
        "[OPTIONS] [REPOSITORY[:TAG]]",
        "List images",
        (0, 1),
        (
            Flag("all,a", "bool", "Show intermediate images too"),
            Flag("digests", "bool", "Show digests"),
            Flag("filter,f", "filter", "Show only what matches this condition"),
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("no-trunc", "bool", "Show everything in full"),
            Flag("quiet,q", "bool", "Show IDs only"),
            Flag("tree", "bool", "Accepted for Docker's sake; does nothing", hidden=True),
        ),
        aliases="pier image ls, pier image list, pier images",
    )
}
