"""`pier inspect` and its kin: objects in full, as JSON or through a template."""

from __future__ import annotations

import sys

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.faults import ApiFault, Fault
from pier.cli.jsonlite import format_json
from pier.cli.session import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pier.cli.client import Client
    from pier.cli.command import Options
    from pier.cli.session import Session

    Find = Callable[[str], Any]

_NOT_FOUND = 404
_KINDS = ("container", "image", "network", "volume")
_ELSEWHERE = ("plugin", "node", "service", "task", "secret", "config")


def show_objects(names: list[str], form: str, find: Find) -> int:
    """Show every object that is found; say which are not, and return the exit code."""
    found, problems = [], []
    for name in names:
        try:
            found.append(find(name))
        except ApiFault as fault:
            problems.append(fault.text)
        except Fault as fault:
            if fault.code not in (0, 1):
                raise
            problems.append(fault.text)
    if form in ("", "json"):
        indent = 4 if form == "" else None
        sys.stdout.write((format_json(found, indent=indent) if found else "[]") + "\n")
    else:
        from pier.cli.templates import render_object

        for item in found:
            sys.stdout.write(render_object(form, item) + "\n")
    for problem in problems:
        err(problem)
    return int(bool(problems))


def _container(client: Client, name: str, options: Options) -> Any:  # Any: JSON
    size = options.values.get("size") is True
    return client.get(f"/containers/{quote(name)}/json", {"size": size})


def _get(client: Client, kind: str, name: str, options: Options) -> Any:  # Any: JSON
    if kind == "container":
        return _container(client, name, options)
    if kind == "image":
        query = None
        if options.values.get("platform"):
            from pier.cli.platforms import platform_query

            query = platform_query(options.text("platform"))
        return client.get(f"/images/{quote(name, '/:@')}/json", query)
    if kind == "network":
        verbose = options.values.get("verbose") is True
        return client.get(f"/networks/{quote(name)}", {"verbose": verbose})
    return client.get(f"/volumes/{quote(name)}")


def inspect(session: Session, options: Options, names: list[str]) -> int:
    kind = options.text("type")
    client = session.client
    if kind in _ELSEWHERE:
        raise Fault(f"'{kind}' objects are not supported by Pier")
    if kind and kind not in _KINDS:
        known = ", ".join(f'"{name}"' for name in sorted(_KINDS + _ELSEWHERE))
        raise Fault(f'unknown type: "{kind}": must be one of {known}')
    if "type" in options.given and not kind:
        raise Fault("type is empty: must be one of " + ", ".join(sorted(_KINDS + _ELSEWHERE)))
    if kind:
        return show_objects(
            names, options.text("format"), lambda name: _get(client, kind, name, options)
        )
    return show_objects(
        names, options.text("format"), lambda name: _find_any(client, name, options)
    )


def _find_any(client: Client, name: str, options: Options) -> Any:  # Any: JSON
    for kind in _KINDS:
        try:
            return _get(client, kind, name, options)
        except ApiFault as fault:
            if fault.status != _NOT_FOUND:
                raise
    raise Fault(f"Error: No such object: {name}")


def _inspect_kind(kind: str) -> Callable[[Session, Options, list[str]], int]:
    def run(session: Session, options: Options, names: list[str]) -> int:
        client = session.client
        return show_objects(
            names, options.text("format"), lambda name: _get(client, kind, name, options)
        )

    return run


_FORMAT = Flag("format,f", "string", 'Show it this way: "json" or a Go template')
_SIZE = Flag("size,s", "bool", "Show the sizes of containers too")


def _command(kind: str, *flags: Flag) -> Command:
    word = kind.upper()
    return Command(
        _inspect_kind(kind),
        f"[OPTIONS] {word} [{word}...]",
        f"Show everything about {kind}s",
        (1, -1),
        (_FORMAT, *flags),
    )


COMMANDS = {
    "inspect": Command(
        inspect,
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Show everything about containers, images, networks or volumes",
        (1, -1),
        (_FORMAT, _SIZE, Flag("type", "string", "Only look for objects of this type")),
    ),
    "container inspect": _command("container", _SIZE),
    "image inspect": _command("image", Flag("platform", "string", "Platform to show")),
    "network inspect": _command("network", Flag("verbose,v", "bool", "Show more")),
    "volume inspect": _command("volume"),
}
