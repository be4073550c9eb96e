"""`pier info`: the daemon as it describes itself."""

from __future__ import annotations

from pier.cli.command import Command, Flag
from pier.cli.commands.version import CLIENT_VERSION
from pier.cli.endpoint import context_name
from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json
from pier.cli.session import err, out
from pier.cli.units import format_binary_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

    Info = dict[str, Any]  # the API's SystemInfo


def info(session: Session, options: Options, _arguments: list[str]) -> int:
    form = options.text("format")
    answer: Info = {}
    problem = ""
    try:
        answer = session.client.get("/info")
    except Fault as fault:
        problem = fault.text
    if form:
        _show_formatted(session, form, answer, problem)
        return int(bool(problem))
    context = context_name(session.flags, session.settings)
    out(f"Client:\n Version:    {CLIENT_VERSION}\n Context:    {context}")
    out(f" Debug Mode: {_bool(session.debug)}\n\nServer:")
    if problem:
        err(f"{problem}\nerrors pretty printing info")
        return 1
    for line in _lines(answer):
        out(line)
    out("")
    for warning in answer.get("Warnings") or ():
        err(warning)
    return 0


def _show_formatted(session: Session, form: str, answer: Info, problem: str) -> None:
    client = {
        "Debug": session.debug,
        "Context": context_name(session.flags, session.settings),
        "Version": CLIENT_VERSION,
        "Warnings": None,
    }
    whole = answer | {"ClientInfo": client}
    if problem:
        whole["ServerErrors"] = [problem]
    if form == "json":
        out(format_json(whole))
        return
    from pier.cli.templates import render_object

    out(render_object(form, whole))


def _bool(value: object) -> str:
    return "true" if value else "false"


def _lines(answer: Info) -> Iterator[str]:
    yield f" Containers: {answer.get('Containers', 0)}"
    for name in ("Running", "Paused", "Stopped"):
        yield f"  {name}: {answer.get(f'Containers{name}', 0)}"
    yield f" Images: {answer.get('Images', 0)}"
    yield from _some(answer, {"ServerVersion": "Server Version", "Driver": "Storage Driver"})
    for name, value in answer.get("DriverStatus") or ():
        yield f"  {name}: {value}"
    yield from _some(
        answer,
        {
            "LoggingDriver": "Logging Driver",
            "CgroupDriver": "Cgroup Driver",
            "CgroupVersion": "Cgroup Version",
        },
    )
    yield from _plugins(answer)
    yield f" Swarm: {(answer.get('Swarm') or {}).get('LocalNodeState', 'inactive')}"
    yield from _runtimes(answer)
    yield from _security(answer)
    yield from _host(answer)
    yield from _debug(answer)
    yield from _network(answer)
    yield ""


def _some(answer: Info, names: dict[str, str]) -> Iterator[str]:
    for key, name in names.items():
        if answer.get(key):
            yield f" {name}: {answer[key]}"


def _plugins(answer: Info) -> Iterator[str]:
    yield " Plugins:"
    plugins = answer.get("Plugins") or {}
    for kind in ("Volume", "Network", "Authorization", "Log"):
        names = plugins.get(kind) or ()
        if names or kind in ("Volume", "Network", "Log"):
            yield f"  {kind}: {' '.join(names)}"
    if answer.get("CDISpecDirs"):
        yield " CDI spec directories:"
        for directory in answer["CDISpecDirs"]:
            yield f"  {directory}"


def _runtimes(answer: Info) -> Iterator[str]:
    yield f" Runtimes: {' '.join(answer.get('Runtimes') or {})}"
    yield f" Default Runtime: {answer.get('DefaultRuntime', '')}"
    yield from _some(answer, {"InitBinary": "Init Binary"})
    for key, name in (("Containerd", "containerd"), ("Runc", "runc"), ("Init", "init")):
        yield f" {name} version: {(answer.get(f'{key}Commit') or {}).get('ID', '')}"


def _security(answer: Info) -> Iterator[str]:
    if not answer.get("SecurityOptions"):
        return
    yield " Security Options:"
    for option in answer["SecurityOptions"]:
        values = dict(part.partition("=")[::2] for part in option.split(","))
        yield f"  {values.pop('name', option)}"
        for key, value in values.items():
            yield f"   {key.capitalize()}: {value}"


def _host(answer: Info) -> Iterator[str]:
    yield from _some(
        answer,
        {
            "KernelVersion": "Kernel Version",
            "OperatingSystem": "Operating System",
            "OSType": "OSType",
            "Architecture": "Architecture",
        },
    )
    yield f" CPUs: {answer.get('NCPU', 0)}"
    yield f" Total Memory: {format_binary_size(answer.get('MemTotal', 0))}"
    yield from _some(answer, {"Name": "Name", "ID": "ID", "DockerRootDir": "Docker Root Dir"})
    yield f" Debug Mode: {_bool(answer.get('Debug'))}"


def _debug(answer: Info) -> Iterator[str]:
    if answer.get("Debug"):
        yield f"  File Descriptors: {answer.get('NFd', 0)}"
        yield f"  Goroutines: {answer.get('NGoroutines', 0)}"
        yield f"  System Time: {answer.get('SystemTime', '')}"
        yield f"  EventsListeners: {answer.get('NEventsListener', 0)}"


def _network(answer: Info) -> Iterator[str]:
    names = {"HttpProxy": "HTTP Proxy", "HttpsProxy": "HTTPS Proxy", "NoProxy": "No Proxy"}
    yield from _some(answer, names)
    if answer.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in answer["Labels"])
    yield f" Experimental: {_bool(answer.get('ExperimentalBuild'))}"
    registries = answer.get("RegistryConfig") or {}
    indexes = registries.get("IndexConfigs") or {}
    insecure = [name for name, index in indexes.items() if not index.get("Secure")]
    insecure += registries.get("InsecureRegistryCIDRs") or []
    if insecure:
        yield " Insecure Registries:"
        yield from (f"  {name}" for name in insecure)
    if registries.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in registries["Mirrors"])
    yield f" Live Restore Enabled: {_bool(answer.get('LiveRestoreEnabled'))}"
    if answer.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        for pool in answer["DefaultAddressPools"]:
            yield f"   Base: {pool['Base']}, Size: {pool['Size']}"


COMMANDS = {
    "system info": Command(
        info,
        "[OPTIONS]",
        "Show everything about the daemon",
        (0, 0),
        (Flag("format,f", "string", 'Show it this way: "json" or a Go template'),),
        aliases="pier system info, pier info",
    )
}
