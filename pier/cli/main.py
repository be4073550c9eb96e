"""From the words of the command line to an exit code.

Global flags, then the command, then the command's own flags. Exit codes: 125 for a command line
that cannot be read, 1 for one that failed, and whatever the command itself says.
"""

from __future__ import annotations

import os
import sys

from pier.cli.command import Command, Flag, complaint
from pier.cli.endpoint import GlobalFlags
from pier.cli.faults import Fault, ForcedExit, UsageFault
from pier.cli.index import GROUPS, UNSUPPORTED, find_group_command, find_top_command
from pier.cli.parsing import HelpWanted, Parsed, parse
from pier.cli.session import Session, err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "pier"
VERSION = "0.1.0"
INTERRUPTED = 130
GLOBAL_FLAGS = (
    Flag("config", "string", "Directory of the client's configuration files"),
    Flag(
        "context,c",
        "string",
        "Name of the context whose daemon to talk to (wins over the environment and over"
        ' "pier context use")',
    ),
    Flag("debug,D", "bool", "Show tracebacks of the client"),
    Flag("host,H", "list", "Address of the daemon to talk to"),
    Flag("log-level,l", "string", 'Level of logging ("debug", "info", "warn", "error", "fatal")'),
    Flag("tls", "bool", "Use TLS; implied by --tlsverify"),
    Flag("tlscacert", "string", "Trust only daemons whose certificate this CA signed"),
    Flag("tlscert", "string", "Path of the client's TLS certificate"),
    Flag("tlskey", "string", "Path of the client's TLS key"),
    Flag("tlsverify", "bool", "Use TLS and verify the daemon"),
    Flag("version,v", "bool", "Print the version and quit"),
)


def main(words: Sequence[str]) -> int:
    """Run the command that `words` (without the program's name) spell; return the exit code."""
    _prepare_streams()
    try:
        code = _run(words)
        return _flush() or code
    except ForcedExit as leaving:
        err(f"\n{leaving}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone; nothing is left to say, not even at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _flush() -> int:
    """Write what is left of the output; return 1 if it cannot be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the flush at shutdown
        err(_in_words(error))
        return 1
    return 0


def _prepare_streams() -> None:
    """Let names and logs that are not UTF-8 pass through instead of raising.

    A stream that was closed is empty, and its descriptor is nobody else's.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure and getattr(stream, "errors", "") != "surrogateescape":
            reconfigure(errors="surrogateescape")


def _run(words: Sequence[str]) -> int:
    try:
        parsed = parse(words, GLOBAL_FLAGS, interspersed=False)
    except UsageFault as fault:
        _complain(fault, PROGRAM, f"Usage:  {PROGRAM} [OPTIONS] COMMAND [ARG...]")
        return fault.code
    except HelpWanted:
        return _help_overview()
    options = parsed.options
    if options.on("version"):
        sys.stdout.write(f"Pier version {VERSION}\n")
        return 0
    if not parsed.arguments:
        return _help_overview()
    flags = GlobalFlags()
    hosts = options.texts("host")
    if len(hosts) > 1:
        err("specify only one -H")
        return 1
    flags.host = hosts[0] if hosts else ""
    flags.context = options.text("context")
    flags.tls, flags.tlsverify = options.on("tls"), options.on("tlsverify")
    flags.tlscacert = options.text("tlscacert")
    flags.tlscert, flags.tlskey = options.text("tlscert"), options.text("tlskey")
    try:
        session = Session(flags, options.text("config"))
    except Fault as fault:
        err(fault.text)
        return fault.code
    session.debug = options.on("debug")
    return _dispatch(session, parsed.arguments)


def _dispatch(session: Session, words: list[str]) -> int:
    """Find the command in `words` and run it."""
    name, *rest = words
    if name == "help":
        return _help_command(rest)
    if name in GROUPS:
        return _dispatch_group(session, name, rest)
    command = find_top_command(name)
    if command is not None:
        session.path = f"{PROGRAM} {name}"
        return _execute(session, command, rest)
    if name in UNSUPPORTED:
        err(f"{PROGRAM}: '{name}' is not supported by Pier, which runs containers on one host")
        return 1
    from pier.cli.plugins import run_plugin

    run_plugin(session, words)
    err(f"{PROGRAM}: unknown command: {PROGRAM} {name}\n")
    err(f"Run '{PROGRAM} --help' for more information")
    return 1


def _dispatch_group(session: Session, group: str, words: list[str]) -> int:
    path = f"{PROGRAM} {group}"
    if not words or words[0] in ("--help", "-h"):
        return _help_group(group)
    command = find_group_command(group, words[0])
    if command is None:
        usage = f"Usage:  {path}" + " COMMAND" * words[0].startswith("-")
        if words[0].startswith("-"):
            _complain(UsageFault(f"unknown flag: {words[0]}"), path, usage)
            return 125
        err(f"{PROGRAM}: unknown command: {path} {words[0]}\n\n{usage}\n")
        err(f"Run '{path} --help' for more information")
        return 1
    session.path = f"{path} {words[0]}"
    return _execute(session, command, words[1:])


def _execute(session: Session, command: Command, words: list[str]) -> int:
    try:
        parsed = parse(words, command.flags, interspersed=command.interspersed)
        wrong = complaint(command, session.path, len(parsed.arguments))
        if wrong:
            hint = "See" if command.arguments[1] < 0 else "Run"
            raise UsageFault(f"{PROGRAM}: {wrong}", 1, hint=hint)
        return _perform(session, command, parsed)
    except HelpWanted:
        from pier.cli.usage import command_help

        sys.stdout.write(command_help(command, session.path))
        return 0
    except UsageFault as fault:
        from pier.cli.usage import usage_line

        _complain(fault, session.path, usage_line(command, session.path))
        return fault.code
    except Fault as fault:
        if fault.text:
            err(fault.text)
        return fault.code


def _perform(session: Session, command: Command, parsed: Parsed) -> int:
    try:
        return command.run(session, parsed.options, parsed.arguments) or 0
    except (OSError, ValueError) as error:
        if session.debug or isinstance(error, BrokenPipeError):
            raise
        raise Fault(_in_words(error)) from error


def _in_words(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"open {error.filename}: {(error.strerror or '').lower()}"
    text = str(getattr(error, "strerror", None) or error)
    return text[:1].lower() + text[1:]


def _complain(fault: UsageFault, path: str, usage: str) -> None:
    err(f"{fault.text}\n\n{usage}\n\n{fault.hint} '{path} --help' for more information")


def _help_overview() -> int:
    from pier.cli.overview import overview

    sys.stdout.write(overview(GLOBAL_FLAGS))
    return 0


def _help_group(group: str) -> int:
    from pier.cli.overview import group_help

    sys.stdout.write(group_help(group))
    return 0


def _help_command(words: list[str]) -> int:
    """`pier help run` is `pier run --help`."""
    if not words:
        return _help_overview()
    return _dispatch(Session(GlobalFlags()), [*words, "--help"])
