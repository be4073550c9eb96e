"""`pier history`: how an image came to be."""

from __future__ import annotations

import time

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.output import Field, ellipsis, quiet, short_id, show
from pier.cli.units import format_size, format_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

WIDTH = 45
DEFAULT = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
PLAIN = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")


def _created_at(row: Row) -> str:
    from pier.cli.gotime import format_rfc3339

    return format_rfc3339(row.get("Created", 0))


def _fields(now_s: float, *, trunc: bool, human: bool) -> dict[str, Field]:
    def since(row: Row) -> str:
        created = row.get("Created", 0)
        return format_span(now_s - created) + " ago" if created > 0 else "N/A"

    def created_by(row: Row) -> str:
        text = str(row.get("CreatedBy", "")).replace("\t", " ")
        return ellipsis(text, WIDTH) if trunc else text

    def size(row: Row) -> str:
        return format_size(row.get("Size", 0), 3) if human else str(row.get("Size", 0))

    return {
        "ID": Field("IMAGE", lambda row: short_id(row["Id"]) if trunc else row["Id"]),
        "CreatedAt": Field("CREATED AT", _created_at),
        "CreatedSince": Field("CREATED", since),
        "CreatedBy": Field("CREATED BY", created_by),
        "Size": Field("SIZE", size),
        "Comment": Field("COMMENT", lambda row: row.get("Comment", "")),
    }


def history(session: Session, options: Options, names: list[str]) -> None:
    query = None
    if options.text("platform"):
        from pier.cli.platforms import platform_query

        query = platform_query(options.text("platform"))
    rows = session.client.get(f"/images/{quote(names[0], '/:@')}/history", query) or []
    human = options.on("human")
    fields = _fields(time.time(), trunc=not options.on("no-trunc"), human=human)
    form = options.text("format")
    if options.on("quiet") and form in ("", "table"):
        quiet(rows, fields["ID"])
        return
    show(rows, fields, DEFAULT if human else PLAIN, form)


COMMANDS = {
    "image history": Command(
        history,
        "[OPTIONS] IMAGE",
        "Show how an image was made",
        (1, 1),
        (
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("human,H", "bool", "Show sizes and dates as people say them", True),
            Flag("no-trunc", "bool", "Show everything in full"),
            Flag("platform", "string", "Show this platform, os[/arch[/variant]]"),
            Flag("quiet,q", "bool", "Show IDs only"),
        ),
        aliases="pier image history, pier history",
    )
}
