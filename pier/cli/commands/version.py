"""`pier version`: of the client, and of the daemon it talks to."""

from __future__ import annotations

import os
import sys

from pier.cli.client import NEWEST
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

    Version = dict[str, Any]

CLIENT_VERSION = "0.1.0"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def client_version(session: Session, api_version: str) -> Version:
    from pier.cli.endpoint import context_name

    machine = os.uname().machine
    return {
        "Platform": {"Name": "Pier"},
        "Version": CLIENT_VERSION,
        "ApiVersion": api_version,
        "DefaultAPIVersion": f"{NEWEST[0]}.{NEWEST[1]}",
        "PythonVersion": sys.version.partition(" ")[0],
        "Os": "linux",
        "Arch": _ARCHITECTURES.get(machine, machine),
        "Context": context_name(session.flags, session.settings),
    }


def version(session: Session, options: Options, _arguments: list[str]) -> None:
    server: Version | None = None
    problem: Fault | None = None
    api_version = f"{NEWEST[0]}.{NEWEST[1]}"
    try:
        server = session.client.get("/version")
        api_version = f"{session.client.version[0]}.{session.client.version[1]}"
    except Fault as fault:
        problem = fault
    client = client_version(session, api_version)
    form = options.text("format")
    if form == "json":
        out(format_json({"Client": client, "Server": server}))
    elif form:
        from pier.cli.templates import render_object

        out(render_object(form, {"Client": client, "Server": server}))
    else:
        out("\n".join(_lines(client, server)))
    if problem:
        raise problem


def _lines(client: Version, server: Version | None) -> list[str]:
    lines = ["Client: Pier"]
    lines += _pairs(
        1,
        {
            "Version": client["Version"],
            "API version": client["ApiVersion"],
            "Python version": client["PythonVersion"],
            "OS/Arch": f"{client['Os']}/{client['Arch']}",
            "Context": client["Context"],
        },
    )
    if server is None:
        return lines
    name = (server.get("Platform") or {}).get("Name") or "Engine"
    lines += ["", f"Server: {name}"]
    for component in server.get("Components") or [_as_component(server)]:
        lines.append(f" {component['Name']}:")
        lines += _pairs(2, _details(component))
    return lines


def _pairs(indent: int, values: dict[str, str]) -> list[str]:
    return [" " * indent + f"{name}:".ljust(20 - indent) + value for name, value in values.items()]


def _as_component(server: Version) -> Version:
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": server}


def _details(component: Version) -> dict[str, str]:
    """Return what is shown of a component: everything, and in a known order where it is known."""
    details = dict(component.get("Details") or {})
    shown = {"Version": component.get("Version", "")}
    if component["Name"] != "Engine":
        return shown | {name: str(details[name]) for name in sorted(details)}
    least = details.get("MinAPIVersion")
    minimum = f" (minimum version {least})" if least else ""
    shown["API version"] = f"{details.get('ApiVersion', '')}{minimum}"
    for key, label in (("GoVersion", "Go version"), ("PythonVersion", "Python version")):
        if details.get(key):
            shown[label] = details[key]
    if details.get("GitCommit"):
        shown["Git commit"] = details["GitCommit"]
    if details.get("BuildTime"):
        shown["Built"] = _build_time(details["BuildTime"])
    shown["OS/Arch"] = f"{details.get('Os', '')}/{details.get('Arch', '')}"
    shown["Experimental"] = str(details.get("Experimental", "false")).lower()
    return shown


def _build_time(text: str) -> str:
    """Return an RFC 3339 timestamp as C's asctime writes it; anything else as it is."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text[:19])
    except ValueError:
        return text
    return moment.strftime("%a %b %e %H:%M:%S %Y")


COMMANDS = {
    "version": Command(
        version,
        "[OPTIONS]",
        "Show the versions of client and daemon",
        (0, 0),
        (Flag("format,f", "string", 'Show it this way: "json" or a Go template'),),
    )
}
