"""The grammar of flags: the POSIX and GNU forms as Go's pflag reads them. Pure.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, `-itd`, and `--flag=false` for
booleans, which never take the next word. `--` ends the flags. A command that is not interspersed
(`run`, `exec`) ends them at its first argument: what follows belongs to the container.
"""

from __future__ import annotations

from pier.cli.command import REPEATED, Flag, Options
from pier.cli.faults import UsageFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pier.cli.command import Value

TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")


class HelpWanted(Exception):
    """`--help` was given: show the help, do nothing."""


class Parsed:
    __slots__ = ("arguments", "options")

    def __init__(self, options: Options, arguments: list[str]) -> None:
        self.options = options
        self.arguments = arguments


def parse(words: Sequence[str], flags: Sequence[Flag], *, interspersed: bool) -> Parsed:
    """Split `words` into options and arguments; raise UsageFault or HelpWanted."""
    long = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in flags if flag.short}
    options = Options(flags)
    arguments: list[str] = []
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            return Parsed(options, arguments + rest[::-1])
        if word.startswith("--"):
            _long_flag(word, rest, long, options)
        elif word.startswith("-") and word != "-":
            _short_flags(word, rest, short, options)
        elif interspersed:
            arguments.append(word)
        else:
            return Parsed(options, [word, *rest[::-1]])
    return Parsed(options, arguments)


def _long_flag(word: str, rest: list[str], known: dict[str, Flag], options: Options) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise UsageFault(f"bad flag syntax: {word}")
    flag = known.get(name)
    if flag is None:
        if name == "help":
            raise HelpWanted
        raise UsageFault(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == "bool":
            value = "true"
        elif not rest:
            raise UsageFault(f"flag needs an argument: --{name}")
        else:
            value = rest.pop()
    assign(flag, value, options)


def _short_flags(word: str, rest: list[str], known: dict[str, Flag], options: Options) -> None:
    letters = word[1:]
    while letters:
        flag = known.get(letters[0])
        if flag is None:
            if letters[0] == "h":
                raise HelpWanted
            raise UsageFault(f"unknown shorthand flag: '{letters[0]}' in -{letters}")
        if letters[1:2] == "=" and len(letters) > 2:
            assign(flag, letters[2:], options)
            return
        if flag.kind == "bool":
            assign(flag, "true", options)
            letters = letters[1:]
            continue
        if len(letters) > 1:
            assign(flag, letters[1:], options)
        elif rest:
            assign(flag, rest.pop(), options)
        else:
            raise UsageFault(f"flag needs an argument: '{letters[0]}' in -{letters}")
        return


def assign(flag: Flag, text: str, options: Options) -> None:
    """Give `flag` the value `text`; raise UsageFault if it does not have that form."""
    convert = CONVERTERS.get(flag.kind)
    try:
        checked = flag.check(text) if flag.check else text
        value = convert(checked) if convert and checked is not None else checked
    except ValueError as error:
        shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
        raise UsageFault(f'invalid argument "{text}" for "{shown}" flag: {error}') from error
    options.given.add(flag.name)
    if flag.kind not in REPEATED:
        options.values[flag.name] = value if value is not None else ""
        return
    kept = options.texts(flag.name)
    if isinstance(value, list):
        kept.extend(value)
    elif isinstance(value, str):
        kept.append(value)


def parse_bool(text: str) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _parse_int(text: str, lowest: int, highest: int, function: str) -> int:
    try:
        number = int(text, 0) if text[:1] != "0" or len(text) < 2 else int(text, 8)
    except ValueError:
        try:
            number = int(text, 0)
        except ValueError:
            message = f'strconv.{function}: parsing "{text}": invalid syntax'
            raise ValueError(message) from None
    if not lowest <= number <= highest:
        if lowest == 0 and number < 0:
            raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return number


def parse_int(text: str) -> int:
    return _parse_int(text, -(1 << 63), (1 << 63) - 1, "ParseInt")


def parse_uint(text: str) -> int:
    return _parse_int(text, 0, (1 << 64) - 1, "ParseUint")


def parse_uint16(text: str) -> int:
    return _parse_int(text, 0, (1 << 16) - 1, "ParseUint")


def _parse_bytes(text: str) -> int:
    from pier.cli.units import parse_bytes

    return parse_bytes(text)


def _parse_swap_bytes(text: str) -> int:
    return -1 if text == "-1" else _parse_bytes(text)


def _parse_duration(text: str) -> int:
    from pier.cli.gotime import parse_duration

    return parse_duration(text)


def _parse_nano(text: str) -> int:
    from pier.cli.units import parse_nano

    return parse_nano(text)


def split_csv(text: str) -> list[str]:
    """Split one line of CSV, with its quotes, as pflag's string slices are."""
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    return next(csv.reader([text]), [])


def check_filter(text: str) -> str:
    """Refuse a filter without `=`; names are folded to lower case and trimmed, as Docker does."""
    if text and "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


CONVERTERS: dict[str, Callable[[str], Value]] = {
    "bool": parse_bool,
    "int": parse_int,
    "uint": parse_uint,
    "uint16": parse_uint16,
    "bytes": _parse_bytes,
    "swap": _parse_swap_bytes,
    "duration": _parse_duration,
    "decimal": _parse_nano,
    "strings": split_csv,
    "filter": check_filter,
}
"""How each kind of flag reads its text: a value, or ValueError with Docker's words."""
