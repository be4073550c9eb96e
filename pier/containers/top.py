"""`docker top`: the host's ps, of which a container's processes are shown. surface.md k.7."""

import re
import shlex
from collections.abc import Collection
from pathlib import Path

from pier.containers.model import Container
from pier.containers.requests import TopRows
from pier.errors import Failed, InvalidArgument
from pier.linux import cgroup
from pier.linux.process import run

_TIMEOUT_S = 10.0
_RENAMED = re.compile(r"\s(\S*)=\s*(PID\S*)")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "COLUMNS": "4096"}


class NoPidField(Failed):
    def __init__(self) -> None:
        super().__init__("Couldn't find PID field in ps output")


class BadPsArguments(InvalidArgument):
    def __init__(self, message: str) -> None:
        super().__init__(message)


class PsFailed(Failed):
    def __init__(self, message: str) -> None:
        super().__init__(f"ps: {message}")


async def top(container: Container, ps_args: str) -> TopRows:
    """The processes of a running container. Raises BadPsArguments, NoPidField, PsFailed."""
    arguments = parse_ps_arguments(ps_args)
    pids = container_pids(container)
    try:
        finished = await run(["ps", *arguments], timeout_s=_TIMEOUT_S, env=_ENVIRONMENT)
    except (OSError, TimeoutError) as error:
        raise PsFailed(str(error) or "it did not answer in time") from error
    if finished.code:
        first = finished.message.partition("\n")[0]  # below it is how to use ps
        raise PsFailed(first)
    return parse_ps(finished.stdout.decode(errors="replace"), pids)


def container_pids(container: Container) -> list[int]:
    """Its processes now, by its control group; none once it has ended."""
    try:
        text = Path(f"/proc/{container.status.pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    group = container_group(container.id, text)
    return cgroup.pids(group) if group else []


def parse_ps_arguments(ps_args: str) -> list[str]:
    """Raises BadPsArguments for quotes that do not match, and for another column named PID."""
    renamed = _RENAMED.search(ps_args)
    if renamed and renamed[1].lower() != "pid":
        raise BadPsArguments(f'specifying "{renamed[1]}={renamed[2]}" is not allowed')
    if "\0" in ps_args:
        raise BadPsArguments("ps: NUL in the arguments")
    try:
        return shlex.split(ps_args or "-ef")
    except ValueError as error:
        raise BadPsArguments(f"ps: {error}") from error


def parse_ps(output: str, pids: Collection[int]) -> TopRows:
    """The lines of `pids`. A line without a PID is a thread of the process above it."""
    lines = output.splitlines()
    titles = tuple(lines[0].split()) if lines else ()
    if "PID" not in titles:
        raise NoPidField
    column = titles.index("PID")
    rows, shown = [], False
    for line in lines[1:]:
        fields = line.split(maxsplit=len(titles) - 1)
        if len(fields) <= column:
            continue
        if fields[column] != "-":
            shown = fields[column].isdecimal() and int(fields[column]) in pids
        if shown:
            rows.append(tuple(fields))
    return TopRows(titles, tuple(rows))


def container_group(container_id: str, proc_cgroup: str) -> str:
    """The group of a container, from its first process's /proc/<pid>/cgroup; "" if not its own.

    The process may have moved itself deeper (systemd in a container does).
    """
    for line in proc_cgroup.splitlines():
        path = line.split(":", 2)[2]
        parts = path.split("/")
        for index, part in enumerate(parts):
            if container_id in part:
                return "/".join(parts[: index + 1])
    return ""
