"""`pier network ls`."""

from __future__ import annotations

from pier.cli.command import Command, Flag
from pier.cli.filters import encode_filters
from pier.cli.output import Field, format_labels, quiet, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

DEFAULT = ("ID", "Name", "Driver", "Scope")


def _bool(value: object) -> str:
    return "true" if value else "false"


def _created_at(row: Row) -> str:
    from pier.cli.gotime import go_time_of

    return go_time_of(row.get("Created", ""))


def _fields(*, trunc: bool) -> dict[str, Field]:
    return {
        "ID": Field("NETWORK ID", lambda row: row["Id"][:12] if trunc else row["Id"]),
        "Name": Field("NAME", lambda row: row["Name"]),
        "Driver": Field("DRIVER", lambda row: row["Driver"]),
        "Scope": Field("SCOPE", lambda row: row["Scope"]),
        "IPv4": Field("IPV4", lambda row: _bool(row.get("EnableIPv4", True))),
        "IPv6": Field("IPV6", lambda row: _bool(row.get("EnableIPv6"))),
        "Internal": Field("INTERNAL", lambda row: _bool(row.get("Internal"))),
        "Labels": Field("LABELS", lambda row: format_labels(row.get("Labels"))),
        "Label": Field("LABEL", lambda row: row.get("Labels") or {}, method=True),
        "CreatedAt": Field("CREATED AT", _created_at),
    }


_RAW = (("network_id", "ID"), ("name", "Name"), ("driver", "Driver"), ("scope", "Scope"))


def list_networks(session: Session, options: Options, _arguments: list[str]) -> None:
    form = options.text("format")
    if not form and not options.on("quiet"):
        form = session.settings.text("networksFormat")
    query = {"filters": encode_filters(options.texts("filter"))}
    rows = session.client.get("/networks", query) or []
    rows.sort(key=lambda row: natural(row["Name"]))
    fields = _fields(trunc=not options.on("no-trunc"))
    if options.on("quiet") and form in ("", "table"):
        quiet(rows, fields["ID"])
        return
    show(rows, fields, DEFAULT, form, raw=_RAW)


def natural(text: str) -> list[tuple[int, int]]:
    """Return a key that sorts `net2` before `net10`: runs of digits count as numbers."""
    key: list[tuple[int, int]] = []
    run = ""
    for character in text:
        if character in "0123456789":
            run += character
            continue
        if run:
            key.append((ord("0"), int(run)))
            run = ""
        key.append((ord(character), 0))
    return [*key, (ord("0"), int(run))] if run else key


COMMANDS = {
    "network ls": Command(
        list_networks,
        "[OPTIONS]",
        "List networks",
        (0, 0),
        (
            Flag("filter,f", "filter", "Show only what matches this condition"),
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("no-trunc", "bool", "Show everything in full"),
            Flag("quiet,q", "bool", "Show IDs only"),
        ),
        aliases="pier network ls, pier network list",
    )
}
