"""`pier search`: images on the hub."""

from __future__ import annotations

from pier.cli.command import Command, Flag
from pier.cli.filters import encode_filters
from pier.cli.output import Field, ellipsis, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

WIDTH = 45
DEFAULT = ("Name", "Description", "StarCount", "IsOfficial")


def _fields(*, trunc: bool) -> dict[str, Field]:
    def description(row: Row) -> str:
        text = str(row.get("description", "")).replace("\n", " ").replace("\r", " ")
        return ellipsis(text, WIDTH) if trunc else text

    return {
        "Name": Field("NAME", lambda row: row.get("name", "")),
        "Description": Field("DESCRIPTION", description),
        "StarCount": Field("STARS", lambda row: str(row.get("star_count", 0))),
        "IsOfficial": Field("OFFICIAL", lambda row: "[OK]" if row.get("is_official") else ""),
        "IsAutomated": Field("AUTOMATED", lambda row: "[OK]" if row.get("is_automated") else ""),
    }


def search(session: Session, options: Options, terms: list[str]) -> None:
    query = {
        "term": terms[0],
        "limit": options.number("limit") or None,
        "filters": encode_filters(options.texts("filter")),
    }
    rows = session.client.get("/images/search", query) or []
    show(rows, _fields(trunc=not options.on("no-trunc")), DEFAULT, options.text("format"))


COMMANDS = {
    "search": Command(
        search,
        "[OPTIONS] TERM",
        "Search the hub for images",
        (1, 1),
        (
            Flag("filter,f", "filter", "Show only what matches this condition"),
            Flag("format", "string", "Show it this way: a Go template"),
            Flag("limit", "int", "Show at most this many"),
            Flag("no-trunc", "bool", "Show everything in full"),
        ),
    )
}
