"""`pier --help` and `pier container --help`: the commands there are."""

from __future__ import annotations

from pier.cli.index import (
    ABOUT,
    COMMON,
    GROUPS,
    HIDDEN,
    PLAIN,
    TOP,
    find_group_command,
    find_top_command,
)
from pier.cli.usage import columns, flag_lines, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pier.cli.command import Flag


def overview(flags: Sequence[Flag]) -> str:
    others = sorted((set(TOP) | set(PLAIN)) - set(COMMON))
    parts = [
        "Usage:  pier [OPTIONS] COMMAND",
        "",
        "Run containers: an engine that Docker's clients already know",
        "",
        "Common Commands:",
        *table(_top(COMMON)),
        "",
        "Management Commands:",
        *table(sorted(ABOUT.items())),
        "",
        "Commands:",
        *table(_top(others)),
        "",
        "Daemon Commands:",
        *table([("daemon", "Run the daemon"), ("registry", "Run a registry")]),
        "",
        "Global Options:",
        *flag_lines(flags, columns() - 1),
        "",
        "Run 'pier COMMAND --help' for more information on a command.",
    ]
    return "\n".join(parts) + "\n"


def _top(names: Iterable[str]) -> list[tuple[str, str]]:
    commands = [(name, find_top_command(name)) for name in names]
    return [(name, command.about.partition("\n")[0]) for name, command in commands if command]


def group_help(group: str) -> str:
    rows = []
    for verb in sorted(GROUPS[group]):
        command = find_group_command(group, verb)
        if command and (group, verb) not in HIDDEN:
            rows.append((verb, command.about.partition("\n")[0]))
    parts = [
        f"Usage:  pier {group} COMMAND",
        "",
        ABOUT[group],
        "",
        "Commands:",
        *table(rows),
        "",
        f"Run 'pier {group} COMMAND --help' for more information on a command.",
    ]
    return "\n".join(parts) + "\n"
