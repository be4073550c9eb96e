"""top, port, diff: small looks into a container."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command
from pier.cli.faults import Fault
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

_KINDS = {0: "C", 1: "A", 2: "D"}


def top(session: Session, _options: Options, arguments: list[str]) -> None:
    name, *ps_arguments = arguments
    query = {"ps_args": " ".join(ps_arguments) or None}
    table = session.client.get(f"/containers/{quote(name)}/top", query)
    rows = [table["Titles"], *table["Processes"]]
    # Docker gives these columns a least width of 20, unlike all its other tables.
    widths = [
        max(20, *(len(row[column]) + 3 for row in rows)) for column in range(len(rows[0]) - 1)
    ]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        out("".join([*cells, row[-1]]))


def port(session: Session, _options: Options, arguments: list[str]) -> None:
    name, *wanted = arguments
    container = session.client.get(f"/containers/{quote(name)}/json")
    ports = (container.get("NetworkSettings") or {}).get("Ports") or {}
    if not wanted:
        lines = [
            f"{inside} -> {_place(place)}" for inside in ports for place in ports[inside] or ()
        ]
        for line in sorted(lines, key=_natural):
            out(line)
        return
    inside, _, protocol = wanted[0].partition("/")
    places = ports.get(f"{inside}/{protocol or 'tcp'}")
    if not places:
        raise Fault(f"Error: No public port '{wanted[0]}' published for {name}")
    for place in places:
        out(_place(place))


def _place(place: dict[str, Any]) -> str:
    host = place.get("HostIp", "")
    return f"[{host}]:{place['HostPort']}" if ":" in host else f"{host}:{place['HostPort']}"


def _natural(line: str) -> tuple[int, str]:
    number = line.partition("/")[0]
    return int(number) if number.isdigit() else 0, line


def diff(session: Session, _options: Options, names: list[str]) -> None:
    if not names[0]:
        raise Fault("Container name cannot be empty")
    for change in session.client.get(f"/containers/{quote(names[0])}/changes") or ():
        out(f"{_KINDS.get(change['Kind'], '?')} {change['Path']}")


COMMANDS = {
    "container top": Command(
        top, "CONTAINER [ps OPTIONS]", "Show the processes of a container", (1, -1),
        aliases="pier container top, pier top", interspersed=False,
    ),
    "container port": Command(
        port, "CONTAINER [PRIVATE_PORT[/PROTO]]", "Show where a container's ports are published",
        (1, 2), aliases="pier container port, pier port",
    ),
    "container diff": Command(
        diff, "CONTAINER", "Show what has changed in a container's file system", (1, 1),
        aliases="pier container diff, pier diff",
    ),
}  # fmt: skip
