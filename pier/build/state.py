"""What a stage has come to: its run config, its arguments, and how each instruction changes them.

Pure. `apply` handles every instruction that only says something about the image; those that
change files are resolved by `pier.build.steps` and only leave their mark here (WORKDIR).
"""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from pier.build.expansion import Expanded, expand
from pier.build.instructions import (
    Arg,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from pier.errors import InvalidArgument
from pier.oci import image

DEFAULT_SHELL: Final = ("/bin/sh", "-c")
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES: Final = frozenset(
    name
    for base in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (base, base.lower())
)
_PORT = re.compile(
    r"(?:(?:[\d.]*:|\[[\da-f:]*\]:)?(?:\d{1,5}(?:-\d{1,5})?)?:)?"  # where it would be published
    r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?",
    re.IGNORECASE | re.ASCII,
)
_SIGNAL = re.compile(r"(?:SIG)?([A-Z][A-Z0-9]*(?:[+-]\d{1,2})?)", re.IGNORECASE | re.ASCII)
_SIGNALS: Final = frozenset(
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT "
    "STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX".split()
)


class BadValue(InvalidArgument):
    """An expanded value that the instruction cannot take."""


@dataclass(frozen=True, kw_only=True)
class StageState:  # no slots: what is derived is kept
    """`arguments` are the ARGs in force; `given` what the request passed, `outer` what it and the
    ARGs before the first FROM offer to an ARG without a value. `own_cmd`: CMD stood in this stage.
    """

    run: image.RunConfig = field(default_factory=image.RunConfig)
    author: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    outer: Mapping[str, str] = field(default_factory=dict)
    own_cmd: bool = False
    escape: str = "\\"

    @cached_property
    def environment(self) -> Mapping[str, str]:
        return dict(_split_env(self.run.env))

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """What an expansion sees: the environment before the arguments."""
        return {**self.arguments, **self.environment}

    @property
    def shell(self) -> tuple[str, ...]:
        return self.run.shell or DEFAULT_SHELL

    @property
    def working_dir(self) -> str:
        return self.run.working_dir or "/"

    def expanded(self, word: str) -> str:
        return self.expansion(word).text

    def expansion(self, word: str) -> Expanded:
        return expand(word, self.variables, self.escape)


def first_state(
    run: image.RunConfig,
    *,
    author: str = "",
    given: Mapping[str, str],
    outer: Mapping[str, str],
    escape: str,
    arguments: Mapping[str, str] | None = None,
) -> StageState:
    """The state right after FROM: triggers are taken out, PATH is there.

    arguments are those of the stage this one is built on: they are inherited.
    """
    env = run.env
    if not any(entry.startswith("PATH=") for entry in env):
        env = (f"PATH={DEFAULT_PATH}", *env)
    return StageState(
        run=replace(run, on_build=(), env=env),
        author=author,
        arguments=dict(arguments or {}),
        given=given,
        outer=outer,
        escape=escape,
    )


def apply(instruction: Instruction, state: StageState) -> StageState:
    """The state after an instruction that changes no files; raise InvalidArgument."""
    match instruction:
        case Arg():
            return _with_arguments(instruction, state)
        case Cmd():
            cmd = command_words(instruction.command, state.shell)
            return replace(state, run=replace(state.run, cmd=cmd), own_cmd=True)
        case Entrypoint():
            return _with_entrypoint(instruction, state)
        case Shell():
            return replace(state, run=replace(state.run, shell=instruction.shell))
        case Healthcheck():
            return replace(state, run=replace(state.run, healthcheck=_healthcheck(instruction)))
        case Maintainer():
            return replace(state, author=instruction.author)
        case Onbuild():
            triggers = (*state.run.on_build, instruction.trigger)
            return replace(state, run=replace(state.run, on_build=triggers))
        case _:
            return replace(state, run=_with_expanded(instruction, state))


def _with_expanded(instruction: Instruction, state: StageState) -> image.RunConfig:
    """Those whose words are expanded, with the values from before the instruction."""
    run = state.run
    match instruction:
        case Env():
            pairs = {state.expanded(p.name): state.expanded(p.value) for p in instruction.variables}
            return replace(run, env=merged_env(run.env, pairs))
        case Label():
            labels = {state.expanded(p.name): state.expanded(p.value) for p in instruction.labels}
            return replace(run, labels={**run.labels, **labels})
        case Expose():
            ports = [port for word in instruction.ports for port in _ports(word, state)]
            return replace(run, exposed_ports=tuple(sorted({*run.exposed_ports, *ports})))
        case User():
            return replace(run, user=state.expanded(instruction.user))
        case Volume():
            paths = (state.expanded(path) for path in instruction.paths)
            return replace(run, volumes=tuple(sorted({*run.volumes, *_volumes(paths)})))
        case Stopsignal():
            return replace(run, stop_signal=_signal(state.expanded(instruction.signal)))
        case Workdir():
            return replace(run, working_dir=working_dir(instruction, state))
        case _:
            raise TypeError(f"{instruction.keyword} changes files")


def working_dir(instruction: Workdir, state: StageState) -> str:
    path = state.expanded(instruction.path)
    if not path:
        raise BadValue("WORKDIR can not be empty")
    joined = posixpath.normpath(posixpath.join(state.working_dir, path))
    return "/" + joined.lstrip("/")


def command_words(command: Command, shell: tuple[str, ...]) -> tuple[str, ...]:
    return (*shell, *command.words) if command.in_shell and command.words else command.words


def merged_env(env: Iterable[str], changes: Mapping[str, str]) -> tuple[str, ...]:
    """`env` with `changes`: a known name keeps its place, a new one goes to the end."""
    values = {**dict(_split_env(env)), **changes}
    if "" in values:
        raise BadValue("ENV names can not be blank")
    return tuple(f"{name}={value}" for name, value in values.items())


def _split_env(env: Iterable[str]) -> Iterable[tuple[str, str]]:
    for entry in env:
        name, _, value = entry.partition("=")
        yield name, value


def _with_arguments(instruction: Arg, state: StageState) -> StageState:
    """A given value, else the default, else the one from before the first FROM; else unset.

    Unlike in any other instruction, a default sees the arguments before it on the line.
    """
    for argument in instruction.arguments:
        name = state.expanded(argument.name)
        value = state.given.get(name)
        if value is None and argument.default is not None:
            value = state.expanded(argument.default)
        if value is None:
            value = state.outer.get(name)
        arguments = {key: text for key, text in state.arguments.items() if key != name}
        if value is not None:
            arguments[name] = value
        state = replace(state, arguments=arguments)
    return state


def _with_entrypoint(instruction: Entrypoint, state: StageState) -> StageState:
    """A new entrypoint makes the base's CMD meaningless, unless this stage set one itself."""
    words = command_words(instruction.command, state.shell)
    run = replace(state.run, entrypoint=words or None)
    if not state.own_cmd:
        run = replace(run, cmd=None)
    return replace(state, run=run)


def _healthcheck(instruction: Healthcheck) -> image.Healthcheck:
    return image.Healthcheck(
        test=instruction.test,
        interval_ns=instruction.interval_ns,
        timeout_ns=instruction.timeout_ns,
        start_period_ns=instruction.start_period_ns,
        start_interval_ns=instruction.start_interval_ns,
        retries=instruction.retries,
    )


def _ports(word: str, state: StageState) -> Iterable[str]:
    for text in state.expansion(word).words:
        found = _PORT.fullmatch(text)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if found is None or not first <= last <= 65535:
            raise BadValue(f"Invalid containerPort: {text}")
        for port in range(first, last + 1):
            yield f"{port}/{(found[3] or 'tcp').lower()}"


def _volumes(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        if not path:
            raise BadValue("VOLUME specified can not be an empty string")
        yield path


def _signal(text: str) -> str:
    if text.isdecimal() and text.isascii() and 1 <= int(text[:4]) <= 64:
        return text
    found = _SIGNAL.fullmatch(text)
    if found is None or found[1].upper().partition("+")[0].partition("-")[0] not in _SIGNALS:
        raise BadValue(f"invalid signal: {text}")
    return text


def described(instruction: Instruction, state: StageState) -> str:
    """The instruction as the image's history tells it, with values as they came out."""
    match instruction:
        case Cmd() | Entrypoint():
            words = command_words(instruction.command, state.shell)
            return f"{instruction.keyword} {json.dumps(words, ensure_ascii=False)}"
        case Env():
            pairs = (
                (state.expanded(p.name), state.expanded(p.value)) for p in instruction.variables
            )
            return "ENV " + " ".join(f"{name}={value}" for name, value in pairs)
        case Label():
            pairs = ((state.expanded(p.name), state.expanded(p.value)) for p in instruction.labels)
            return "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
        case Arg():
            return "ARG " + " ".join(_told_arguments(instruction, state))
        case User():
            return f"USER {state.expanded(instruction.user)}"
        case Workdir():
            return f"WORKDIR {working_dir(instruction, state)}"
        case _:
            return instruction.source


def _told_arguments(instruction: Arg, state: StageState) -> Iterable[str]:
    values = _with_arguments(instruction, state).arguments
    for argument in instruction.arguments:
        name = state.expanded(argument.name)
        yield f"{name}={values[name]}" if name in values else name
