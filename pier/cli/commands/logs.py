"""`pier logs`: what a container has written, and goes on writing."""

from __future__ import annotations

import time

from pier.cli.client import quote
from pier.cli.command import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


def logs(session: Session, options: Options, names: list[str]) -> None:
    from pier.cli.streams import Output

    client = session.client
    container = client.get(f"/containers/{quote(names[0])}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "since": _moment(options.text("since"), "since"),
        "until": _moment(options.text("until"), "until"),
        "timestamps": options.on("timestamps"),
        "follow": options.on("follow"),
        "tail": options.text("tail"),
        "details": options.on("details"),
    }
    response = client.request("GET", f"/containers/{container['Id']}/logs", query)
    output = Output(terminal=bool(container["Config"].get("Tty")))
    for data in response.chunks():
        output.write(data)


def _moment(text: str, name: str) -> str | None:
    if not text:
        return None
    from pier.cli.faults import Fault
    from pier.cli.gotime import parse_moment

    try:
        return parse_moment(text, time.time_ns())
    except ValueError as error:
        raise Fault(f'invalid value for "{name}": {error}') from error


COMMANDS = {
    "container logs": Command(
        logs,
        "[OPTIONS] CONTAINER",
        "Show the logs of a container",
        (1, 1),
        (
            Flag("details", "bool", "Show the details that the log driver keeps"),
            Flag("follow,f", "bool", "Go on showing what is written"),
            Flag("since", "string", "From this time on (2013-01-02T13:23:37Z, or 42m ago)"),
            Flag("tail,n", "string", "Number of lines from the end", "all"),
            Flag("timestamps,t", "bool", "Show when each line was written"),
            Flag("until", "string", "Up to this time (2013-01-02T13:23:37Z, or 42m ago)"),
        ),
        aliases="pier container logs, pier logs",
    )
}
