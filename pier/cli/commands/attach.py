"""`pier attach`: the streams of a running container."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.container_body import Json
    from pier.cli.session import Session


def attach(session: Session, options: Options, names: list[str]) -> int:
    from pier.cli.attaching import (
        Conversation,
        ExitWait,
        SignalProxy,
        check_terminal,
        detach_keys,
        follow_size,
    )

    client = session.client
    container = client.get(f"/containers/{quote(names[0])}/json")
    _check_state(container)
    container_id, tty = container["Id"], bool(container["Config"].get("Tty"))
    streams = ["stdout", "stderr"]
    if not options.on("no-stdin") and container["Config"].get("OpenStdin"):
        streams.insert(0, "stdin")
    check_terminal(stdin="stdin" in streams, tty=tty)
    keys = detach_keys(session, options.text("detach-keys"))
    # Waited for before it is attached to, so that an exit in between is not missed.
    waiting = ExitWait(client, container_id, "")
    query = {"detachKeys": keys or None, "stream": True, **dict.fromkeys(streams, True)}
    attached = client.hijack(f"/containers/{container_id}/attach", query)
    conversation = Conversation(attached, streams=streams, tty=tty, keys=keys)
    with SignalProxy(client, container_id, enabled=options.on("sig-proxy") and not tty):
        with conversation:
            if tty:
                follow_size(client, f"/containers/{container_id}")
            detached = conversation.run()
        if detached:
            raise Fault("read escape sequence")
        return waiting.exit_status()


def _check_state(container: Json) -> None:
    state = container["State"]
    if not state.get("Running"):
        raise Fault("cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Fault("cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise Fault("cannot attach to a restarting container, wait until it is running")


COMMANDS = {
    "container attach": Command(
        attach,
        "[OPTIONS] CONTAINER",
        "Attach to the input and output of a running container",
        (1, 1),
        (
            Flag("detach-keys", "string", "Keys that detach from the container"),
            Flag("no-stdin", "bool", "Leave its input alone"),
            Flag("sig-proxy", "bool", "Pass received signals on to the process", True),
        ),
        aliases="pier container attach, pier attach",
    )
}
