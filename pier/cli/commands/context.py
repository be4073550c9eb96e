"""`pier context`: names for daemons."""

from __future__ import annotations

import os
import sys

from pier.cli.command import Command, Flag
from pier.cli.contexts import (
    PEM,
    check_name,
    docker_endpoint,
    find_context,
    get_context,
    list_contexts,
    meta_directory,
    remove_context,
    save_context,
    tls_directory,
)
from pier.cli.each import for_each
from pier.cli.endpoint import context_name
from pier.cli.faults import Fault
from pier.cli.output import Field, ellipsis, quiet, show
from pier.cli.parsing import parse_bool, split_csv
from pier.cli.session import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.contexts import Meta
    from pier.cli.output import Row
    from pier.cli.session import Session

DEFAULT = ("Name", "Description", "DockerEndpoint", "Error")
_ENDPOINT_KEYS = frozenset(("from", "host", "ca", "cert", "key", "skip-tls-verify"))
_IN_MEMORY = "<IN MEMORY>"


class Given:
    """What `--docker key=value,...` says: a Host, and PEM files to copy."""

    __slots__ = ("endpoint", "keys")

    def __init__(self, session: Session, text: str) -> None:
        values = dict(part.partition("=")[::2] for part in split_csv(text))
        unknown = set(values) - _ENDPOINT_KEYS
        if unknown:
            raise Fault(f"unrecognized config key: {sorted(unknown)[0]}")
        self.endpoint: Meta = {"Host": values.get("host", ""), "SkipTLSVerify": False}
        self.keys: dict[str, bytes] = {}
        if values.get("from"):
            self._copy(session, values["from"])
        if values.get("skip-tls-verify"):
            self.endpoint["SkipTLSVerify"] = parse_bool(values["skip-tls-verify"])
        for kind in PEM:
            if values.get(kind):
                with open(os.path.expanduser(values[kind]), "rb") as file:
                    self.keys[kind] = file.read()

    def _copy(self, session: Session, name: str) -> None:
        if name == "default":
            self.endpoint["Host"] = session.endpoint.address
            return
        directory = session.settings.directory
        self.endpoint = dict(docker_endpoint(get_context(directory, name)))
        self.keys = read_keys(directory, name)


def read_keys(directory: str, name: str) -> dict[str, bytes]:
    keys = {}
    for kind in PEM:
        path = f"{tls_directory(directory, name)}/docker/{kind}.pem"
        if os.path.exists(path):
            with open(path, "rb") as file:
                keys[kind] = file.read()
    return keys


def create(session: Session, options: Options, names: list[str]) -> None:
    name, directory = names[0], session.settings.directory
    check_name(name)
    if find_context(directory, name):
        raise Fault(f'context "{name}" already exists')
    source = options.text("from") or ("" if options.text("docker") else "default")
    given = Given(session, f"from={source}" if source else options.text("docker"))
    meta = {
        "Name": name,
        "Metadata": {"Description": options.text("description")},
        "Endpoints": {"docker": given.endpoint},
    }
    save_context(directory, meta, given.keys)
    out(name)
    err(f'Successfully created context "{name}"')


def update(session: Session, options: Options, names: list[str]) -> None:
    name, directory = names[0], session.settings.directory
    check_name(name)
    meta = get_context(directory, name)
    keys: dict[str, bytes] = {}
    if "description" in options.given:
        meta["Metadata"] = {**meta.get("Metadata", {}), "Description": options.text("description")}
    if options.text("docker"):
        given = Given(session, options.text("docker"))
        meta["Endpoints"] = {**meta.get("Endpoints", {}), "docker": given.endpoint}
        keys = given.keys
    save_context(directory, meta, keys)
    out(name)
    err(f'Successfully updated context "{name}"')


def remove(session: Session, options: Options, names: list[str]) -> int:
    directory, current = session.settings.directory, context_name(session.flags, session.settings)

    def remove_one(name: str) -> None:
        if name == "default":
            raise Fault('context "default" cannot be removed')
        if find_context(directory, name) is None and not options.on("force"):
            raise Fault(f'context "{name}" does not exist')
        if name == current:
            if not options.on("force"):
                raise Fault(f'context "{name}" is in use, set -f flag to force remove')
            session.settings.values.pop("currentContext", None)
            session.settings.save()
        remove_context(directory, name)

    return for_each(names, remove_one)


def use(session: Session, _options: Options, names: list[str]) -> None:
    name = names[0]
    if name != "default":
        get_context(session.settings.directory, name)
    session.settings.values["currentContext"] = "" if name == "default" else name
    session.settings.save()
    out(name)
    err(f'Current context is now "{name}"')
    _warn_overridden()


def _warn_overridden() -> None:
    for variable in ("PIER_HOST", "DOCKER_HOST"):
        if os.environ.get(variable):
            err(
                f"Warning: {variable} environment variable overrides the active context. To use a"
                f" context, either set the global --context flag, or unset {variable} environment"
                " variable."
            )
            return


def show_current(session: Session, _options: Options, _names: list[str]) -> None:
    out(context_name(session.flags, session.settings))


def _default(session: Session) -> Meta:
    flags = type(session.flags)()
    flags.host = session.flags.host
    from pier.cli.address import DEFAULT_HOST, parse_host

    address = flags.host or os.environ.get("PIER_HOST") or os.environ.get("DOCKER_HOST")
    host = parse_host(address) if address else DEFAULT_HOST
    return {
        "Name": "default",
        "Metadata": {},
        "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}},
    }


def _fields(current: str) -> dict[str, Field]:
    def name(row: Row) -> str:
        return f"{row['Name']} *" if row["Name"] == current else str(row["Name"])

    def description(row: Row) -> str:
        if row["Name"] == "default":
            return "Current DOCKER_HOST based configuration"
        return ellipsis((row.get("Metadata") or {}).get("Description", ""), 60)

    return {
        "Name": Field("NAME", name),
        "Description": Field("DESCRIPTION", description),
        "DockerEndpoint": Field("DOCKER ENDPOINT", lambda row: docker_endpoint(row).get("Host")),
        "Current": Field("CURRENT", lambda row: row["Name"] == current),
        "Error": Field("ERROR", lambda _row: ""),
    }


def list_all(session: Session, options: Options, _names: list[str]) -> None:
    rows = [_default(session), *list_contexts(session.settings.directory)]
    fields = _fields(context_name(session.flags, session.settings))
    if options.on("quiet"):
        quiet(rows, Field("NAME", lambda row: row["Name"]))
        return
    form = options.text("format")
    if form not in ("", "table"):
        fields["Name"] = Field("NAME", lambda row: row["Name"])
    show(rows, fields, DEFAULT, form)
    _warn_overridden()


def inspect(session: Session, options: Options, names: list[str]) -> int:
    from pier.cli.commands.inspect import show_objects

    current = context_name(session.flags, session.settings)
    return show_objects(
        names or [current], options.text("format"), lambda name: _inspected(session, name)
    )


def _inspected(session: Session, name: str) -> dict[str, Any]:
    if name == "default":
        storage = {"MetadataPath": _IN_MEMORY, "TLSPath": _IN_MEMORY}
        return _default(session) | {"TLSMaterial": {}, "Storage": storage}
    directory = session.settings.directory
    meta = get_context(directory, name)
    files = [f"{kind}.pem" for kind in read_keys(directory, name)]
    storage = {
        "MetadataPath": meta_directory(directory, name),
        "TLSPath": tls_directory(directory, name),
    }
    return meta | {"TLSMaterial": {"docker": files} if files else {}, "Storage": storage}


def export(session: Session, _options: Options, arguments: list[str]) -> None:
    from pier.cli.context_archive import pack

    name, *target = arguments
    data = pack(session.settings.directory, name)
    path = target[0] if target else f"{name}.dockercontext"
    if path == "-":
        sys.stdout.buffer.write(data)
        return
    with open(path, "xb") as file:
        file.write(data)
    err(f'Written file "{path}"')


def import_(session: Session, _options: Options, arguments: list[str]) -> None:
    from pier.cli.context_archive import unpack

    name, path = arguments
    check_name(name)
    if find_context(session.settings.directory, name):
        raise Fault(f'context "{name}" already exists')
    with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
        unpack(session.settings.directory, name, file.read())
    out(name)
    err(f'Successfully imported context "{name}"')


_DOCKER = Flag("docker", "string", "Where its daemon is: host=,ca=,cert=,key=,skip-tls-verify=")
_DESCRIPTION = Flag("description", "string", "Description of the context")
COMMANDS = {
    "context create": Command(
        create, "[OPTIONS] CONTEXT", "Create a context", (1, 1),
        (_DESCRIPTION, _DOCKER, Flag("from", "string", "Copy this context")),
    ),
    "context update": Command(
        update, "[OPTIONS] CONTEXT", "Change a context", (1, 1), (_DESCRIPTION, _DOCKER)
    ),
    "context rm": Command(
        remove, "CONTEXT [CONTEXT...]", "Remove contexts", (1, -1),
        (Flag("force,f", "bool", "Remove it even if it is in use"),),
        aliases="pier context rm, pier context remove",
    ),
    "context use": Command(use, "CONTEXT", "Talk to this context's daemon from now on", (1, 1)),
    "context show": Command(show_current, "", "Show which context is in use", (0, 0)),
    "context ls": Command(
        list_all, "[OPTIONS]", "List contexts", (0, 0),
        (
            Flag("format", "string", 'Show it this way: "table", "json" or a Go template'),
            Flag("quiet,q", "bool", "Show names only"),
        ),
        aliases="pier context ls, pier context list",
    ),
    "context inspect": Command(
        inspect, "[OPTIONS] [CONTEXT] [CONTEXT...]", "Show everything about contexts", (0, -1),
        (Flag("format,f", "string", 'Show it this way: "json" or a Go template'),),
    ),
    "context export": Command(
        export, "[OPTIONS] CONTEXT [FILE|-]", "Save a context to a tar archive", (1, 2)
    ),
    "context import": Command(
        import_, "CONTEXT FILE|-", "Load a context from a tar or zip archive", (2, 2)
    ),
}  # fmt: skip
