"""`pier exec`: another process in a running container."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.session import out
from pier.cli.values.variables import check_env, read_env

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session


def execute(session: Session, options: Options, arguments: list[str]) -> int:
    container, *command = arguments
    client, tty, detach = session.client, options.on("tty"), options.on("detach")
    if not detach and (tty or options.on("interactive")):
        from pier.cli.attaching import check_terminal

        check_terminal(stdin=options.on("interactive"), tty=tty)
    keys = options.text("detach-keys") or session.settings.text("detachKeys")
    body = _body(options, command, keys)
    exec_id = client.post(f"/containers/{quote(container)}/exec", None, body)["Id"]
    start = {"Detach": detach, "Tty": tty}
    if tty and body.get("ConsoleSize"):
        start["ConsoleSize"] = body["ConsoleSize"]
    if detach:
        client.post(f"/exec/{exec_id}/start", None, start)
        return 0
    return _converse(session, options, exec_id, start, keys)


def _body(options: Options, command: list[str], keys: str) -> dict[str, Any]:
    body: dict[str, Any] = {"Cmd": command}
    if not options.on("detach"):
        body |= {"AttachStdout": True, "AttachStderr": True}
        if options.on("interactive"):
            body["AttachStdin"] = True
    if options.on("tty"):
        body["Tty"] = True
        from pier.cli.terminal import size

        console = list(size())
        if any(console):
            body["ConsoleSize"] = console
    variables = read_env(options.texts("env-file"), options.texts("env"))
    more = {
        "Env": variables,
        "User": options.text("user"),
        "WorkingDir": options.text("workdir"),
        "Privileged": options.on("privileged"),
        "DetachKeys": keys,
    }
    return body | {key: value for key, value in more.items() if value}


def _converse(
    session: Session, options: Options, exec_id: str, start: dict[str, Any], keys: str
) -> int:
    from pier.cli.attaching import Conversation, follow_size, when_back

    client, tty = session.client, options.on("tty")
    streams = ["stdout", "stderr", *(["stdin"] if options.on("interactive") else [])]
    attached = client.hijack(f"/exec/{exec_id}/start", {}, start)
    conversation = Conversation(attached, streams=streams, tty=tty, keys=keys)
    with conversation:
        if tty:
            follow_size(client, f"/exec/{exec_id}")
        detached = conversation.run()
    if detached:
        out("read escape sequence")
        return 1
    ended = when_back(lambda: client.get(f"/exec/{exec_id}/json"))
    return int(ended.get("ExitCode") or 0)


COMMANDS = {
    "container exec": Command(
        execute,
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Run a command in a running container",
        (2, -1),
        (
            Flag("detach,d", "bool", "Run it in the background"),
            Flag("detach-keys", "string", "Keys that detach from it"),
            Flag("env,e", "list", "Set an environment variable", check=check_env),
            Flag("env-file", "list", "Read environment variables from a file"),
            Flag("interactive,i", "bool", "Pass our input on"),
            Flag("privileged", "bool", "Give it nearly every right of the host's root"),
            Flag("tty,t", "bool", "Give it a terminal"),
            Flag("user,u", "string", "User, and group, as <name|uid>[:<group|gid>]"),
            Flag("workdir,w", "string", "Working directory inside the container"),
        ),
        aliases="pier container exec, pier exec",
        interspersed=False,
    )
}
