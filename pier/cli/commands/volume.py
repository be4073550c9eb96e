"""volume create, ls, rm."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.each import for_each
from pier.cli.faults import Fault
from pier.cli.filters import encode_filters
from pier.cli.output import Field, format_labels, quiet, show
from pier.cli.session import out
from pier.cli.values.variables import check_label, parse_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.output import Row
    from pier.cli.session import Session

DEFAULT = ("Driver", "Name")


def create(session: Session, options: Options, names: list[str]) -> None:
    name = options.text("name")
    if name and names:
        raise Fault(
            "conflicting options: cannot specify a volume-name through both --name and as a"
            " positional arg"
        )
    body = {
        "Name": names[0] if names else name,
        "Driver": options.text("driver"),
        "DriverOpts": parse_map(options.texts("opt")),
        "Labels": parse_map(options.texts("label")),
    }
    out(session.client.post("/volumes/create", None, body)["Name"])


def remove(session: Session, options: Options, names: list[str]) -> int:
    query = {"force": options.on("force")}
    return for_each(names, lambda name: session.client.delete(f"/volumes/{quote(name)}", query))


def _usage(row: Row, key: str) -> int:
    return int((row.get("UsageData") or {}).get(key, -1))


def _links(row: Row) -> str:
    count = _usage(row, "RefCount")
    return "N/A" if count == -1 else str(count)


def _size(row: Row) -> str:
    from pier.cli.units import format_size

    size = _usage(row, "Size")
    return "N/A" if size == -1 else format_size(size, 4)


FIELDS = {
    "Name": Field("VOLUME NAME", lambda row: row["Name"]),
    "Driver": Field("DRIVER", lambda row: row["Driver"]),
    "Scope": Field("SCOPE", lambda row: row.get("Scope", "")),
    "Mountpoint": Field("MOUNTPOINT", lambda row: row.get("Mountpoint", "")),
    "Labels": Field("LABELS", lambda row: format_labels(row.get("Labels"))),
    "Label": Field("LABEL", lambda row: row.get("Labels") or {}, method=True),
    "Links": Field("LINKS", _links),
    "Size": Field("SIZE", _size),
    "Group": Field("GROUP", lambda _row: "N/A"),
    "Availability": Field("AVAILABILITY", lambda _row: "N/A"),
    "Status": Field("STATUS", lambda _row: "N/A"),
}


def list_volumes(session: Session, options: Options, _arguments: list[str]) -> None:
    from pier.cli.commands.networks import natural

    form = options.text("format")
    if not form and not options.on("quiet"):
        form = session.settings.text("volumesFormat")
    query = {"filters": encode_filters(options.texts("filter"))}
    rows = session.client.get("/volumes", query).get("Volumes") or []
    rows.sort(key=lambda row: natural(row["Name"]))
    if options.on("quiet") and form in ("", "table"):
        quiet(rows, FIELDS["Name"])
        return
    show(rows, FIELDS, DEFAULT, form, raw=(("name", "Name"), ("driver", "Driver")))


COMMANDS = {
    "volume create": Command(
        create,
        "[OPTIONS] [VOLUME]",
        "Create a volume",
        (0, 1),
        (
            Flag("driver,d", "string", "Driver of the volume", "local"),
            Flag("label", "list", "Set a label", check=check_label),
            Flag("name", "string", "Name of the volume", hidden=True),
            Flag("opt,o", "map", "Set an option of the driver"),
        ),
    ),
    "volume ls": Command(
        list_volumes,
        "[OPTIONS]",
        "List volumes",
        (0, 0),
        (
            Flag("filter,f", "filter", "Show only what matches this condition"),
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("quiet,q", "bool", "Show names only"),
        ),
        aliases="pier volume ls, pier volume list",
    ),
    "volume rm": Command(
        remove,
        "[OPTIONS] VOLUME [VOLUME...]",
        "Remove volumes that no container uses",
        (1, -1),
        (Flag("force,f", "bool", "Do not mind volumes that do not exist"),),
        aliases="pier volume rm, pier volume remove",
    ),
}
