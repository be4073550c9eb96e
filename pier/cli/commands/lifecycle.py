"""stop, restart, kill, pause, unpause, wait, rm, rename."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.each import for_each
from pier.cli.faults import Fault
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


_NOT_FOUND = 404


def _path(name: str, action: str) -> str:
    return f"/containers/{quote(name)}/{action}"


def _stop_query(options: Options) -> dict[str, str | int | None]:
    timeout = None
    for flag in ("timeout", "time"):
        if flag in options.given:
            timeout = options.number(flag)
    return {"signal": options.text("signal") or None, "t": timeout}


def stop(session: Session, options: Options, names: list[str]) -> int:
    query = _stop_query(options)
    return for_each(names, lambda name: session.client.post(_path(name, "stop"), query))


def restart(session: Session, options: Options, names: list[str]) -> int:
    query = _stop_query(options)
    return for_each(names, lambda name: session.client.post(_path(name, "restart"), query))


def kill(session: Session, options: Options, names: list[str]) -> int:
    query = {"signal": options.text("signal") or None}
    return for_each(names, lambda name: session.client.post(_path(name, "kill"), query))


def pause(session: Session, _options: Options, names: list[str]) -> int:
    return for_each(names, lambda name: session.client.post(_path(name, "pause")))


def unpause(session: Session, _options: Options, names: list[str]) -> int:
    return for_each(names, lambda name: session.client.post(_path(name, "unpause")))


def wait(session: Session, _options: Options, names: list[str]) -> int:
    def wait_for(name: str) -> None:
        answer = session.client.post(_path(name, "wait")) or {}
        problem = (answer.get("Error") or {}).get("Message")
        if problem:
            raise Fault(problem)
        if "StatusCode" not in answer:
            raise Fault("error waiting for container: the daemon gave no exit code")
        out(str(answer["StatusCode"]))

    return for_each(names, wait_for, echo=False)


def remove(session: Session, options: Options, names: list[str]) -> int:
    query = {
        "force": options.on("force"),
        "link": options.on("link"),
        "v": options.on("volumes"),
    }

    def remove_one(name: str) -> None:
        name = name.strip("/")
        if not name:
            raise Fault("container name cannot be empty")
        session.client.delete(f"/containers/{quote(name)}", query)

    def gone(fault: Fault) -> bool:
        return options.on("force") and getattr(fault, "status", 0) == _NOT_FOUND

    return for_each(names, remove_one, forgive=gone)


def rename(session: Session, _options: Options, names: list[str]) -> None:
    old, new = (name.strip() for name in names)
    if not old or not new:
        raise Fault("Error: Neither old nor new names may be empty")
    try:
        session.client.post(_path(old, "rename"), {"name": new})
    except Fault as fault:
        raise Fault(f"{fault.text}\nfailed to rename container named {old}") from fault


_SEVERAL = "CONTAINER [CONTAINER...]"
_SIGNAL = Flag("signal,s", "string", "Signal to send")
_STOP_FLAGS = (
    _SIGNAL,
    Flag("timeout,t", "int", "Seconds to wait before killing it"),
    Flag("time", "int", "The same as --timeout", hidden=True),
)


def _aliases(verb: str) -> str:
    return f"pier container {verb}, pier {verb}"


COMMANDS = {
    "container stop": Command(
        stop, f"[OPTIONS] {_SEVERAL}", "Stop containers", (1, -1), _STOP_FLAGS,
        aliases=_aliases("stop"),
    ),
    "container restart": Command(
        restart, f"[OPTIONS] {_SEVERAL}", "Stop containers and start them again", (1, -1),
        _STOP_FLAGS, aliases=_aliases("restart"),
    ),
    "container kill": Command(
        kill, f"[OPTIONS] {_SEVERAL}", "Send a signal to containers, SIGKILL by default",
        (1, -1), (_SIGNAL,), aliases=_aliases("kill"),
    ),
    "container pause": Command(
        pause, _SEVERAL, "Freeze all processes of containers", (1, -1), aliases=_aliases("pause")
    ),
    "container unpause": Command(
        unpause, _SEVERAL, "Thaw the processes of containers", (1, -1),
        aliases=_aliases("unpause"),
    ),
    "container wait": Command(
        wait, _SEVERAL, "Wait until containers exit, then print their exit codes", (1, -1),
        aliases=_aliases("wait"),
    ),
    "container rm": Command(
        remove,
        f"[OPTIONS] {_SEVERAL}",
        "Remove containers",
        (1, -1),
        (
            Flag("force,f", "bool", "Kill it first if it is running"),
            Flag("link,l", "bool", "Remove the link of this name instead"),
            Flag("volumes,v", "bool", "Remove its anonymous volumes too"),
        ),
        aliases="pier container rm, pier container remove, pier rm",
    ),
    "container rename": Command(
        rename, "CONTAINER NEW_NAME", "Rename a container", (2, 2), aliases=_aliases("rename")
    ),
}  # fmt: skip
