"""`pier start`: one container attached, or several in the background."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.each import for_each
from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.command import Options
    from pier.cli.session import Session


def start(session: Session, options: Options, names: list[str]) -> int:
    if options.text("checkpoint"):
        raise Fault("checkpoints are not supported by Pier")
    if options.on("attach") or options.on("interactive"):
        if len(names) > 1:
            raise Fault("you cannot start and attach multiple containers at once")
        return _start_attached(session, options, names[0])
    query = {"detachKeys": options.text("detach-keys") or None}
    failed: list[str] = []

    def start_one(name: str) -> None:
        try:
            session.client.post(f"/containers/{quote(name)}/start", query)
        except Fault:
            failed.append(name)
            raise

    for_each(names, start_one)
    if failed:
        raise Fault(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(session: Session, options: Options, name: str) -> int:
    from pier.cli.attaching import Conversation, ExitWait, SignalProxy, detach_keys, follow_size

    client = session.client
    config = client.get(f"/containers/{quote(name)}/json")
    container_id, tty = config["Id"], bool(config["Config"].get("Tty"))
    removed = bool((config.get("HostConfig") or {}).get("AutoRemove"))
    streams = ["stdout", "stderr"]
    if options.on("interactive") and config["Config"].get("OpenStdin"):
        streams.insert(0, "stdin")
    keys = detach_keys(session, options.text("detach-keys"))
    query = {"detachKeys": keys or None, "stream": True, **dict.fromkeys(streams, True)}
    attached = client.hijack(f"/containers/{container_id}/attach", query)
    conversation = Conversation(attached, streams=streams, tty=tty, keys=keys)
    waiting = ExitWait(client, container_id, "removed" if removed else "next-exit")
    with SignalProxy(client, container_id, enabled=not tty):
        with conversation:
            client.post(f"/containers/{container_id}/start")
            if tty:
                follow_size(client, f"/containers/{container_id}")
            detached = conversation.run()
        return 0 if detached else waiting.exit_status()


COMMANDS = {
    "container start": Command(
        start,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Start stopped containers",
        (1, -1),
        (
            Flag("attach,a", "bool", "Show its output and pass signals on"),
            Flag("interactive,i", "bool", "Pass our input on"),
            Flag("detach-keys", "string", "Keys that detach from the container"),
            Flag("checkpoint", "string", "Not supported", hidden=True),
            Flag("checkpoint-dir", "string", "Not supported", hidden=True),
        ),
        aliases="pier container start, pier start",
    )
}
