"""What a command is: its flags, its arguments, the function that does it. No I/O.

A flag's *kind* is the word its help shows after the name, and decides how its value is read:
see `parsing.CONVERTERS`. Kinds in `REPEATED` collect their values into a list.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pier.cli.session import Session

    Value = bool | int | float | str | list[str]
    Run = Callable[["Session", "Options", list[str]], int | None]

REPEATED = frozenset(
    ("list", "strings", "map", "filter", "mount", "network", "ulimit", "gpu-request", "stringArray")
)
_ZERO: dict[str, Value] = {
    "bool": False,
    "string": "",
    "duration": 0,
    "bytes": 0,
    "decimal": 0,
}


class Flag:
    """One flag. `names` is `long` or `long,s`; `check` turns a value into what it stands for.

    `check` runs while the command line is read, so that a bad value is reported as the flag's.
    It returns the text to keep; None drops the value.
    """

    __slots__ = ("check", "default", "hidden", "kind", "name", "short", "text")

    def __init__(
        self,
        names: str,
        kind: str = "bool",
        text: str = "",
        default: Value | None = None,
        *,
        check: Callable[[str], str | None] | None = None,
        hidden: bool = False,
    ) -> None:
        self.name, _, self.short = names.partition(",")
        self.kind = kind
        self.text = text
        self.default = _ZERO.get(kind, 0) if default is None else default
        self.check = check
        self.hidden = hidden


class Options:
    """The values of a command's flags in this invocation, by the flags' long names."""

    __slots__ = ("given", "values")

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.values: dict[str, Value] = {
            flag.name: [] if flag.kind in REPEATED else flag.default for flag in flags
        }
        self.given: set[str] = set()

    def on(self, name: str) -> bool:
        return self.values[name] is True

    def text(self, name: str) -> str:
        value = self.values[name]
        return value if isinstance(value, str) else str(value)

    def texts(self, name: str) -> list[str]:
        value = self.values[name]
        return value if isinstance(value, list) else []

    def number(self, name: str) -> int:
        value = self.values[name]
        return int(value) if isinstance(value, int | float) else 0


class Command:
    """One verb. `arguments` is (least, most); most -1 means any number."""

    __slots__ = ("about", "aliases", "arguments", "flags", "interspersed", "run", "usage")

    def __init__(
        self,
        run: Run,
        usage: str,
        about: str,
        arguments: tuple[int, int],
        flags: tuple[Flag, ...] = (),
        *,
        aliases: str = "",
        interspersed: bool = True,
    ) -> None:
        self.run = run
        self.usage = usage
        self.about = about
        self.arguments = arguments
        self.flags = flags
        self.aliases = aliases
        self.interspersed = interspersed


def complaint(command: Command, path: str, count: int) -> str:
    """Return what is wrong with this number of arguments, or ''."""
    least, most = command.arguments
    if least <= count and (most < 0 or count <= most):
        return ""
    if most == 0:
        return f"'{path}' accepts no arguments"
    noun = "argument" if (most if most > 0 else least) == 1 else "arguments"
    if most < 0:
        return f"'{path}' requires at least {least} {noun}"
    if least == most:
        return f"'{path}' requires {least} {noun}"
    if least == 0:
        return f"'{path}' requires at most {most} {noun}"
    return f"'{path}' requires at least {least} and at most {most} {noun}"
