"""A logical line becomes an instruction, or an error with its line and what to write instead.

One function for each keyword. Nothing is expanded here; whatever can be judged without knowing
variables is judged now, so that a mistake on the last line is found before the first step runs.
"""

import re
from collections.abc import Callable
from typing import Final, TypedDict

from pier.build.durations import parse_duration_ns
from pier.build.flags import FlagKind, Flags, suggestion
from pier.build.instructions import (
    Add,
    Arg,
    Argument,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from pier.build.parser import (
    DockerfileError,
    Heredoc,
    Node,
    Unparsable,
    parse_heredoc_word,
    parse_node,
)
from pier.build.run_mounts import origin_of, parse_mount
from pier.build.words import BadPair, Pair, split_blanks, split_json, split_pairs, words_with_quotes
from pier.errors import InvalidArgument

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ONBUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)
_MIN_INTERVAL_NS = 10**6
_MAX_RETRIES = 2**31 - 1

_COPY_FLAGS: Final = {
    "chown": FlagKind.TEXT, "chmod": FlagKind.TEXT, "link": FlagKind.YES_NO,
    "exclude": FlagKind.TEXTS,
}  # fmt: skip
_HEALTH_FLAGS: Final = ("interval", "timeout", "start-period", "start-interval")


class BadInstruction(InvalidArgument):
    """What is wrong with one instruction, without its line."""


class _Place(TypedDict):
    source: str
    line: int
    end_line: int


def parse_instruction(node: Node, escape: str) -> Instruction:
    """The meaning of one line; raise DockerfileError, which names the line."""
    parse = _PARSERS.get(node.keyword)
    try:
        if parse is None:
            guess = suggestion(node.keyword, list(_PARSERS))
            raise BadInstruction(f"unknown instruction: {node.keyword}{guess}")
        return parse(node, escape)
    except DockerfileError:
        raise
    except BadPair as error:
        raise Unparsable(node.start_line, str(error)) from error
    except InvalidArgument as error:
        raise DockerfileError(node.start_line, str(error)) from error


def _place(node: Node) -> _Place:
    return {"source": node.original.strip(), "line": node.start_line, "end_line": node.end_line}


def _no_flags(node: Node) -> None:
    Flags(node.flags, {})


def _words(node: Node) -> tuple[str, ...]:
    """JSON array or words; at least one of them."""
    words = split_json(node.rest)
    if words is None:
        words = split_blanks(node.rest)
    if not words:
        raise BadInstruction(f"{node.keyword} requires at least one argument")
    return words


def _one(node: Node) -> str:
    if not node.rest:
        raise BadInstruction(f"{node.keyword} requires exactly one argument")
    _no_flags(node)
    return node.rest


def _pairs(node: Node, escape: str) -> tuple[Pair, ...]:
    _no_flags(node)
    pairs = split_pairs(node.rest, node.keyword, escape)
    if not pairs:
        raise BadInstruction(f"{node.keyword} requires at least one argument")
    if not all(pair.name for pair in pairs):
        raise BadInstruction(f"{node.keyword} names can not be blank")
    return pairs


def _command(text: str) -> Command:
    words = split_json(text)
    if words is not None:
        return Command(words, in_shell=False)
    return Command((text,) if text else (), in_shell=True)


def _from(node: Node, _escape: str) -> From:
    words = split_blanks(node.rest)
    flags = Flags(node.flags, {"platform": FlagKind.TEXT})
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise BadInstruction(
                f'invalid name for build stage: "{words[2]}", '
                "name can't start with a number or contain symbols"
            )
    elif len(words) != 1:
        raise BadInstruction("FROM requires either one or three arguments")
    return From(image=words[0], name=name, platform=flags.text("platform"), **_place(node))


def _run(node: Node, _escape: str) -> Run:
    flags = Flags(
        node.flags,
        {"mount": FlagKind.TEXTS, "network": FlagKind.TEXT, "security": FlagKind.TEXT},
    )
    network = flags.text("network", "default")
    if network not in ("default", "none", "host"):
        raise BadInstruction(f'invalid network mode "{network}"')
    security = flags.text("security", "sandbox")
    if security not in ("sandbox", "insecure"):
        raise BadInstruction(f'security "{security}" is not valid')
    for mount in flags.texts("mount"):
        _check_mount(mount)
    command = _command(node.rest)
    if not any(command.words):
        raise BadInstruction("RUN requires at least one argument")
    return Run(
        command=command,
        heredocs=node.heredocs,
        mounts=flags.texts("mount"),
        network=network,
        security=security,
        **_place(node),
    )


def _check_mount(text: str) -> None:
    """A mount without variables is judged now; one with them when their values are known."""
    origin_of(text)
    if "$" not in text:
        parse_mount(text)


def _cmd(node: Node, _escape: str) -> Cmd:
    _no_flags(node)
    return Cmd(command=_command(node.rest), **_place(node))


def _entrypoint(node: Node, _escape: str) -> Entrypoint:
    _no_flags(node)
    return Entrypoint(command=_command(node.rest), **_place(node))


def _label(node: Node, escape: str) -> Label:
    return Label(labels=_pairs(node, escape), **_place(node))


def _env(node: Node, escape: str) -> Env:
    return Env(variables=_pairs(node, escape), **_place(node))


def _maintainer(node: Node, _escape: str) -> Maintainer:
    return Maintainer(author=_one(node), **_place(node))


def _user(node: Node, _escape: str) -> User:
    return User(user=_one(node), **_place(node))


def _workdir(node: Node, _escape: str) -> Workdir:
    return Workdir(path=_one(node), **_place(node))


def _stopsignal(node: Node, _escape: str) -> Stopsignal:
    return Stopsignal(signal=_one(node), **_place(node))


def _expose(node: Node, _escape: str) -> Expose:
    _no_flags(node)
    ports = split_blanks(node.rest)
    if not ports:
        raise BadInstruction("EXPOSE requires at least one argument")
    return Expose(ports=tuple(sorted(ports)), **_place(node))


def _volume(node: Node, _escape: str) -> Volume:
    _no_flags(node)
    paths = tuple(path.strip() for path in _words(node))
    if not all(paths):
        raise BadInstruction("VOLUME specified can not be an empty string")
    return Volume(paths=paths, **_place(node))


def _arg(node: Node, escape: str) -> Arg:
    _no_flags(node)
    words = list(words_with_quotes(node.rest, escape))
    if not words:
        raise BadInstruction("ARG requires at least one argument")
    arguments = []
    for word in words:
        name, equals, default = word.partition("=")
        if not name:
            raise BadInstruction("ARG names can not be blank")
        arguments.append(Argument(name, default if equals else None))
    return Arg(arguments=tuple(arguments), **_place(node))


def _shell(node: Node, _escape: str) -> Shell:
    _no_flags(node)
    words = split_json(node.rest)
    if words is None and node.rest:
        raise BadInstruction("SHELL requires the arguments to be in JSON form")
    if not words:
        raise BadInstruction("SHELL requires at least one argument")
    return Shell(shell=words, **_place(node))


def _copy(node: Node, escape: str) -> Copy:
    flags = Flags(node.flags, {**_COPY_FLAGS, "from": FlagKind.TEXT, "parents": FlagKind.YES_NO})
    words = _sources_and_destination(node)
    return Copy(
        sources=_plain_sources(words, escape),
        destination=words[-1],
        heredocs=_heredoc_sources(node, words, escape),
        origin=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.yes("link") or False,
        parents=flags.yes("parents") or False,
        excludes=flags.texts("exclude"),
        **_place(node),
    )


def _add(node: Node, escape: str) -> Add:
    known = {
        **_COPY_FLAGS,
        "keep-git-dir": FlagKind.YES_NO,
        "checksum": FlagKind.TEXT,
        "unpack": FlagKind.YES_NO,
    }
    flags = Flags(node.flags, known)
    words = _sources_and_destination(node)
    return Add(
        sources=_plain_sources(words, escape),
        destination=words[-1],
        heredocs=_heredoc_sources(node, words, escape),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.yes("link") or False,
        excludes=flags.texts("exclude"),
        keep_git_dir=flags.yes("keep-git-dir") or False,
        checksum=flags.text("checksum"),
        unpack=flags.yes("unpack"),
        **_place(node),
    )


def _sources_and_destination(node: Node) -> tuple[str, ...]:
    words = split_json(node.rest)
    if words is None:
        words = split_blanks(node.rest)
    if len(words) < 2:
        raise BadInstruction(
            f"{node.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    if parse_heredoc_word(words[-1]) is not None:
        raise BadInstruction(f"{node.keyword} cannot accept a heredoc as a destination")
    return words


def _plain_sources(words: tuple[str, ...], escape: str) -> tuple[str, ...]:
    return tuple(word for word in words[:-1] if parse_heredoc_word(word, escape) is None)


def _heredoc_sources(node: Node, words: tuple[str, ...], escape: str) -> tuple[Heredoc, ...]:
    openings = (parse_heredoc_word(word, escape) for word in words[:-1])
    by_name = {heredoc.name: heredoc for heredoc in node.heredocs}
    return tuple(by_name[opening.name] for opening in openings if opening and by_name)


def _onbuild(node: Node, escape: str) -> Onbuild:
    _no_flags(node)
    if not node.rest:
        raise BadInstruction("ONBUILD requires at least one argument")
    inner = parse_node(node.rest, escape, start_line=node.start_line)
    if inner.keyword == "ONBUILD":
        raise BadInstruction("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if inner.keyword in ("FROM", "MAINTAINER"):
        raise BadInstruction(f"{inner.keyword} isn't allowed as an ONBUILD trigger")
    trigger = _ONBUILD.sub("", node.original, count=1)
    for heredoc in node.heredocs:
        trigger += f"\n{heredoc.content}{heredoc.name}"
    return Onbuild(trigger=trigger, **_place(node))


def _healthcheck(node: Node, _escape: str) -> Healthcheck:
    if not node.rest:
        raise BadInstruction("HEALTHCHECK requires at least one argument")
    kind, *more = node.rest.split(maxsplit=1)
    rest = more[0] if more else ""
    if kind.upper() == "NONE":
        if rest:
            raise BadInstruction("HEALTHCHECK NONE takes no arguments")
        _no_flags(node)
        return Healthcheck(test=("NONE",), **_place(node))
    if kind.upper() != "CMD":
        raise BadInstruction(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    return _health_command(node, _command(rest))


def _health_command(node: Node, command: Command) -> Healthcheck:
    known = dict.fromkeys((*_HEALTH_FLAGS, "retries"), FlagKind.TEXT)
    flags = Flags(node.flags, known)
    if not command.words:
        raise BadInstruction("Missing command after HEALTHCHECK CMD")
    interval, timeout, start_period, start_interval = (
        _interval_ns(name, flags.text(name)) for name in _HEALTH_FLAGS
    )
    return Healthcheck(
        test=("CMD-SHELL" if command.in_shell else "CMD", *command.words),
        interval_ns=interval,
        timeout_ns=timeout,
        start_period_ns=start_period,
        start_interval_ns=start_interval,
        retries=_retries(flags.text("retries")),
        **_place(node),
    )


def _interval_ns(name: str, text: str) -> int:
    value = parse_duration_ns(text) if text else 0
    if value and value < _MIN_INTERVAL_NS:
        raise BadInstruction(f'Interval "{name}" cannot be less than 1ms')
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII) or abs(int(text)) > _MAX_RETRIES:
        raise BadInstruction(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise BadInstruction(f"--retries cannot be negative ({text})")
    return int(text)


_PARSERS: Final[dict[str, Callable[[Node, str], Instruction]]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env,
    "EXPOSE": _expose, "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _label,
    "MAINTAINER": _maintainer, "ONBUILD": _onbuild, "RUN": _run, "SHELL": _shell,
    "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
