"""`--change` of import and commit: Dockerfile instructions that only touch the config. Pure.

The eleven that Docker takes; variables are expanded from the config's own environment.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from posixpath import join, normpath

from pier.errors import InvalidArgument
from pier.oci.image import Healthcheck, RunConfig

_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?")
_VARIABLE = re.compile(r"(?<!\\)\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_MIN_DURATION_NS = 10**6
_MAX_PORT = 65535
_MAX_CHANGE = 64 * 1024
_HEALTH_FLAGS = {
    "interval": "interval_ns",
    "timeout": "timeout_ns",
    "start-period": "start_period_ns",
    "start-interval": "start_interval_ns",
    "retries": "retries",
}


class InvalidChange(InvalidArgument):
    pass


def apply_changes(run: RunConfig, changes: Sequence[str]) -> RunConfig:
    """The config after `changes`, one instruction or several lines of them each."""
    for change in changes:
        for line in re.sub(r"\\\r?\n", "", change).splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                run = _apply(run, line.strip())
    return run


def _apply(run: RunConfig, line: str) -> RunConfig:
    if len(line) > _MAX_CHANGE:
        raise InvalidChange("change is too long")
    word, _, rest = line.partition(" ")
    change = _CHANGES.get(word.upper())
    if change is None:
        raise InvalidChange(f"{word} is not a valid change command")
    rest = rest.strip()
    if not rest:
        raise InvalidChange(f"{word.upper()} requires at least one argument")
    return change(run, rest)


def _expand(run: RunConfig, text: str) -> str:
    """$NAME, ${NAME}, ${NAME:-word} and ${NAME:+word}, from the config's environment."""
    entries = (entry.partition("=") for entry in run.env)
    values = {name: value for name, _, value in entries}

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1] or match[2], "")
        match match[3]:
            case "-":
                return found or match[4]
            case "+":
                return match[4] if found else ""
            case _:
                return found

    return _VARIABLE.sub(value, text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidChange(f"{error} in: {text}") from error


def _exec_form(text: str) -> tuple[str, ...] | None:
    """A JSON array of strings, or None: then the text is a shell's."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(found) if all(isinstance(word, str) for word in found) else None


def _command(run: RunConfig, text: str) -> tuple[str, ...]:
    words = _exec_form(text)
    return (*(run.shell or _SHELL), text) if words is None else words


def _cmd(run: RunConfig, text: str) -> RunConfig:
    return replace(run, cmd=_command(run, text))


def _entrypoint(run: RunConfig, text: str) -> RunConfig:
    return replace(run, entrypoint=_command(run, text))


def _pairs(name: str, text: str) -> dict[str, str]:
    """`k=v k2="v 2"`, or the old `k the rest`."""
    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) < 2:
            raise InvalidChange(f"{name} must have two arguments")
        return {first[0]: first[1]}
    pairs = [word.partition("=") for word in _words(text)]
    if not all(equals and key for key, equals, _ in pairs):
        raise InvalidChange(
            f"Syntax error - can't find = in {text!r}. Must be of the form: name=value"
        )
    return {key: value for key, _, value in pairs}


def _env(run: RunConfig, text: str) -> RunConfig:
    """A variable that is there already keeps its place."""
    entries = {entry.partition("=")[0]: entry for entry in run.env}
    entries |= {k: f"{k}={v}" for k, v in _pairs("ENV", _expand(run, text)).items()}
    return replace(run, env=tuple(entries.values()))


def _label(run: RunConfig, text: str) -> RunConfig:
    return replace(run, labels={**run.labels, **_pairs("LABEL", _expand(run, text))})


def _expose(run: RunConfig, text: str) -> RunConfig:
    ports = set(run.exposed_ports)
    for word in _words(_expand(run, text)):
        ports |= _ports(word)
    return replace(run, exposed_ports=tuple(sorted(ports)))


def _ports(word: str) -> set[str]:
    match = _PORT.fullmatch(word.lower())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if match is None or not first <= last <= _MAX_PORT:
        raise InvalidChange(f"Invalid containerPort: {word}")
    return {f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)}


def _user(run: RunConfig, text: str) -> RunConfig:
    return replace(run, user=_expand(run, text))


def _volume(run: RunConfig, text: str) -> RunConfig:
    paths = _exec_form(text) or _words(_expand(run, text))
    if not all(path.strip() for path in paths):
        raise InvalidChange("VOLUME specified can not be an empty string")
    return replace(run, volumes=tuple(sorted({*run.volumes, *paths})))


def _workdir(run: RunConfig, text: str) -> RunConfig:
    path = normpath(join("/", run.working_dir, _expand(run, text)))
    return replace(run, working_dir="/" + path.lstrip("/"))


def _stop_signal(run: RunConfig, text: str) -> RunConfig:
    signal = _expand(run, text)
    if not re.fullmatch(r"\d{1,2}|(?:SIG)?[A-Z][A-Z0-9+-]{1,15}", signal.upper()):
        raise InvalidChange(f"invalid signal: {signal}")
    return replace(run, stop_signal=signal)


def _on_build(run: RunConfig, text: str) -> RunConfig:
    word = text.split(None, 1)[0].upper()
    if word == "ONBUILD":
        raise InvalidChange("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if word in ("FROM", "MAINTAINER"):
        raise InvalidChange(f"{word} isn't allowed as an ONBUILD trigger")
    return replace(run, on_build=(*run.on_build, text))


def _healthcheck(run: RunConfig, text: str) -> RunConfig:
    flags: dict[str, int] = {}
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        name, _, value = flag[2:].partition("=")
        if name not in _HEALTH_FLAGS:
            raise InvalidChange(f"unknown flag: {name}")
        flags[_HEALTH_FLAGS[name]] = _retries(value) if name == "retries" else duration_ns(value)
        text = text.lstrip()
    kind, _, command = text.partition(" ")
    return replace(run, healthcheck=_check(kind.upper(), command.strip(), flags))


def _check(kind: str, command: str, flags: Mapping[str, int]) -> Healthcheck:
    if kind == "NONE":
        if command:
            raise InvalidChange("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(test=("NONE",))
    if kind != "CMD":
        raise InvalidChange(f"Unknown type {kind!r} in HEALTHCHECK (try CMD)")
    if not command:
        raise InvalidChange("Missing command after HEALTHCHECK CMD")
    words = _exec_form(command)
    test = ("CMD-SHELL", command) if words is None else ("CMD", *words)
    return Healthcheck(test=test, **flags)


def _retries(text: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise InvalidChange(f"--retries must be at least 0 and a number, not {text!r}")
    return int(text)


def duration_ns(text: str) -> int:
    """Go's durations ("1m30s"); at least a millisecond, or zero."""
    parts = _DURATION.findall(text)
    if text == "0":
        return 0
    if "".join(number + unit for number, unit in parts) != text or not text or len(text) > 32:
        raise InvalidChange(f'time: invalid duration "{text}"')
    total = round(sum(float(number) * _UNITS_NS[unit] for number, unit in parts))
    if 0 < total < _MIN_DURATION_NS:
        raise InvalidChange(f'Interval "{text}" cannot be less than 1ms')
    return total


_CHANGES: Mapping[str, Callable[[RunConfig, str], RunConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
