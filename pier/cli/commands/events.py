"""`pier events`: what happens, as it happens."""

from __future__ import annotations

import sys
import time

from pier.cli.client import json_stream
from pier.cli.command import Command, Flag
from pier.cli.filters import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

    Event = dict[str, Any]  # the API's event message


def events(session: Session, options: Options, _arguments: list[str]) -> None:
    query = {
        "since": _moment(options.text("since")),
        "until": _moment(options.text("until")),
        "filters": encode_filters(options.texts("filter")),
    }
    line = _line(options.text("format"))
    for event in json_stream(session.client.request("GET", "/events", query)):
        sys.stdout.write(line(event) + "\n")
        sys.stdout.flush()


def _moment(text: str) -> str | None:
    if not text:
        return None
    from pier.cli.gotime import parse_moment

    return parse_moment(text, time.time_ns())


def _line(form: str) -> Callable[[Event], str]:
    from pier.cli.jsonlite import format_json

    if not form:
        return format_event
    if form == "json":
        return lambda event: format_json(_sorted(event))
    from pier.cli.templates import render_message

    return lambda event: render_message(form, _with_shortcuts(event))


def _sorted(event: Event) -> Event:
    """Return the event with its attributes in the order in which Go writes a map."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    return event | {"Actor": actor | {"Attributes": dict(sorted(attributes.items()))}}


def _with_shortcuts(event: Event) -> Event:
    """Let templates use Go's names of the legacy fields, `{{.ID}}` and `{{.Status}}`."""
    names = {"ID": "id", "Status": "status", "From": "from", "TimeNano": "timeNano"}
    names |= {"Scope": "scope", "Time": "time"}
    return event | {name: event.get(key, "") for name, key in names.items()}


def format_event(event: Event) -> str:
    """Return one event in one line, its attributes sorted."""
    from pier.cli.gotime import format_rfc3339

    stamp = ""
    if event.get("timeNano"):
        seconds, nanoseconds = divmod(event["timeNano"], 1_000_000_000)
        stamp = format_rfc3339(seconds, nanoseconds) + " "
    elif event.get("time"):
        stamp = format_rfc3339(event["time"], 0) + " "
    actor = event.get("Actor") or {}
    text = f"{stamp}{event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    attributes = actor.get("Attributes") or {}
    if attributes:
        pairs = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
        text += f" ({pairs})"
    return text


COMMANDS = {
    "system events": Command(
        events,
        "[OPTIONS]",
        "Show what happens in the daemon, as it happens",
        (0, 0),
        (
            Flag("filter,f", "filter", "Show only what matches this condition"),
            Flag("format", "string", 'Show it this way: "json" or a Go template'),
            Flag("since", "string", "From this time on"),
            Flag("until", "string", "Up to this time"),
        ),
        aliases="pier system events, pier events",
    )
}
