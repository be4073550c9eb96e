"""How help looks: Docker's layout, at the width of the terminal. Imported only when needed."""

from __future__ import annotations

from pier.cli.command import REPEATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pier.cli.command import Command, Flag

_QUOTED_DEFAULT = ("string",)
_EMPTY_MAP = ("map",)


def columns() -> int:
    """Return the width of the terminal, 80 where there is none."""
    import os

    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def usage_line(command: Command, path: str) -> str:
    return f"Usage:  {path} {command.usage}".rstrip()


def command_help(command: Command, path: str) -> str:
    """Return the help text of one command."""
    parts = [usage_line(command, path), "", command.about]
    if command.aliases:
        parts += ["", "Aliases:", f"  {command.aliases}"]
    if any(not flag.hidden for flag in command.flags):
        parts += ["", "Options:", *flag_lines(command.flags, columns() - 1)]
    return "\n".join(parts) + "\n"


def flag_lines(flags: Sequence[Flag], width: int) -> list[str]:
    """Return the table of flags, wrapped to `width` columns."""
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    heads = [_head(flag) for flag in shown]
    indent = max(map(len, heads), default=0) + 3
    lines: list[str] = []
    for flag, head in zip(shown, heads, strict=True):
        text = flag.text + _default(flag)
        first, *more = _wrapped(text, max(width - indent, 24))
        lines.append(head.ljust(indent) + first)
        lines += [" " * indent + line for line in more]
    return lines


def _head(flag: Flag) -> str:
    short = f"  -{flag.short}, " if flag.short else "      "
    kind = {"bool": "", "swap": "bytes", "stringArray": "stringArray"}.get(flag.kind, flag.kind)
    return f"{short}--{flag.name} {kind}".rstrip()


def _default(flag: Flag) -> str:
    if flag.kind in REPEATED or not flag.default:
        return ""
    if flag.kind == "string":
        return f' (default "{flag.default}")'
    return f" (default {str(flag.default).lower()})"


def _wrapped(text: str, width: int) -> Iterable[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Return the lines of a two-column list of commands."""
    pairs = list(rows)
    indent = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name.ljust(max(indent, 11))} {about}".rstrip() for name, about in pairs]
