"""`pier run` and `pier create`.

The order is Docker's: create, attach, wait, start, and only then the terminal's size. Attached
before the start, no output is lost; waited for before the start, no exit is.
"""

from __future__ import annotations

from pier.cli.command import Command
from pier.cli.container_body import attached_streams
from pier.cli.container_flags import CREATE_FLAGS, RUN_FLAGS
from pier.cli.creating import build_body, create
from pier.cli.faults import ApiFault, Fault, UsageFault
from pier.cli.session import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.attaching import ExitWait
    from pier.cli.command import Options
    from pier.cli.container_body import Json
    from pier.cli.session import Session

COMMAND_NOT_FOUND, CANNOT_EXECUTE, ENGINE_FAILED = 127, 126, 125
_NOT_FOUND = (
    "executable file not found",
    "no such file or directory",
    "system cannot find the file",
)
_NOT_ALLOWED = ("permission denied", "is a directory")


def create_only(session: Session, options: Options, arguments: list[str]) -> None:
    try:
        body = _add_console(build_body(session, options, arguments))
    except Fault as fault:
        raise _as_run_fault(session, fault) from fault
    out(create(session, options, body))


def _add_console(body: Json) -> Json:
    if body.get("Tty"):
        from pier.cli.terminal import size

        body["HostConfig"]["ConsoleSize"] = list(size())
    return body


def run(session: Session, options: Options, arguments: list[str]) -> int:
    if options.on("detach") and options.texts("attach"):
        raise Fault("conflicting options: cannot specify both --attach and --detach")
    streams = attached_streams(options)
    if streams:
        from pier.cli.attaching import check_terminal

        check_terminal(stdin="stdin" in streams, tty=options.on("tty"))
    try:
        body = _add_console(build_body(session, options, arguments))
        container_id = create(session, options, body)
        if streams:
            return _run_attached(session, options, container_id, streams)
        return _run_detached(session, options, container_id)
    except UsageFault:
        raise
    except Fault as fault:
        raise _as_run_fault(session, fault) from fault


def _as_run_fault(session: Session, fault: Fault) -> Fault:
    """`run` tells its own failures from the container's by exit codes of their own."""
    if fault.text.startswith('"--'):
        return fault
    text = f"pier: {fault.text}\n\nRun '{session.path} --help' for more information"
    return Fault(text, _exit_code(fault))


def _exit_code(fault: Fault) -> int:
    if not isinstance(fault, ApiFault) or not getattr(fault, "starting", False):
        return fault.code if fault.code == COMMAND_NOT_FOUND else ENGINE_FAILED
    text = fault.message.lower()
    if any(words in text for words in _NOT_FOUND):
        return COMMAND_NOT_FOUND
    if any(words in text for words in _NOT_ALLOWED):
        return CANNOT_EXECUTE
    return ENGINE_FAILED


class StartFault(ApiFault):
    """The container was created and could not be started."""

    starting = True


def _start(session: Session, container_id: str) -> None:
    try:
        session.client.post(f"/containers/{container_id}/start")
    except ApiFault as fault:
        raise StartFault(fault.status, fault.message) from fault


def _run_detached(session: Session, options: Options, container_id: str) -> int:
    del options
    _start(session, container_id)
    out(container_id)
    return 0


def _run_attached(session: Session, options: Options, container_id: str, streams: list[str]) -> int:
    from pier.cli.attaching import Conversation, ExitWait, SignalProxy, detach_keys, follow_size

    client, tty = session.client, options.on("tty")
    keys = detach_keys(session, options.text("detach-keys"))
    query = {"detachKeys": keys or None, "stream": True, **dict.fromkeys(streams, True)}
    attached = client.hijack(f"/containers/{container_id}/attach", query)
    conversation = Conversation(attached, streams=streams, tty=tty, keys=keys)
    condition = "removed" if options.on("rm") else "next-exit"
    waiting = ExitWait(client, container_id, condition)
    # A terminal's own keys make the signals, inside the container.
    with SignalProxy(client, container_id, enabled=options.on("sig-proxy") and not tty):
        with conversation:
            _start_attached(session, container_id, options, waiting)
            if tty:
                follow_size(client, f"/containers/{container_id}")
            detached = conversation.run()
        if detached:
            waiting.close()
            return 0
        return waiting.exit_status()


def _start_attached(
    session: Session, container_id: str, options: Options, waiting: ExitWait
) -> None:
    try:
        _start(session, container_id)
    except Fault:
        # The daemon removes a container that did not start; not before that is it gone.
        if options.on("rm"):
            waiting.exit_status()
        raise


COMMANDS = {
    "container create": Command(
        create_only,
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create a container",
        (1, -1),
        CREATE_FLAGS,
        aliases="pier container create, pier create",
        interspersed=False,
    ),
    "container run": Command(
        run,
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create a container from an image and run it",
        (1, -1),
        RUN_FLAGS,
        aliases="pier container run, pier run",
        interspersed=False,
    ),
}
