"""Instructions that change files, with everything in them settled: what exactly is to be done.

Pure: the state's values go in, a step comes out; `copy` and `run` do it. A step names nothing by
a variable any more, so it is also what the cache is asked about.
"""

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pier.build.instructions import Add, Copy, Run, Workdir
from pier.build.parser import Heredoc, parse_heredoc_word
from pier.build.plan import Source
from pier.build.run_mounts import RunMount, parse_mount
from pier.build.state import PROXIES, StageState, command_words, working_dir
from pier.errors import InvalidArgument

_REMOTE_SCHEMES = ("http://", "https://")
_GIT_SCHEMES = ("git://", "git@", "ssh://")


class BadStep(InvalidArgument):
    """An instruction that makes no sense with the values it has come to."""


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A heredoc as a file to be copied."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStep:
    """`destination` is absolute; a trailing slash says it is a directory."""

    sources: tuple[str, ...]
    inline: tuple[InlineFile, ...]
    destination: str
    origin: Source
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    unpack: bool | None = False
    """None: local archives only. True: downloads too."""
    remotes: bool = False
    checksum: str = ""
    keep_git_dir: bool = False

    @property
    def into_directory(self) -> bool:
        return self.destination.endswith("/") or len(self.sources) + len(self.inline) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """`environment` is the process's; of it, `hidden` names are not part of the cache's key.

    `script`: an executable file to be run (a heredoc that begins with #!), else "".
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    arguments: Mapping[str, str]
    hidden: frozenset[str]
    user: str
    working_dir: str
    mounts: tuple[RunMount, ...]
    network: str
    security: str
    script: str = ""


@dataclass(frozen=True, slots=True)
class WorkdirStep:
    path: str


def is_git_url(text: str) -> bool:
    bare = text.partition("#")[0].partition("?")[0]
    remote = text.startswith(_REMOTE_SCHEMES)
    return text.startswith(_GIT_SCHEMES) or (remote and bare.endswith(".git"))


def is_http_url(text: str) -> bool:
    return text.startswith(_REMOTE_SCHEMES) and not is_git_url(text)


def is_remote(text: str) -> bool:
    return is_git_url(text) or is_http_url(text)


def resolve_workdir(instruction: Workdir, state: StageState) -> WorkdirStep:
    return WorkdirStep(working_dir(instruction, state))


def resolve_copy(instruction: Copy, state: StageState, origin: Source) -> CopyStep:
    """A COPY or ADD with its words expanded."""
    destination = _absolute(state.expanded(instruction.destination), state)
    inline = tuple(_inline_file(heredoc, state) for heredoc in instruction.heredocs)
    sources = tuple(state.expanded(source) for source in instruction.sources)
    step = CopyStep(
        sources=sources,
        inline=inline,
        destination=destination,
        origin=origin,
        chown=state.expanded(instruction.chown),
        chmod=state.expanded(instruction.chmod),
        link=instruction.link,
        parents=instruction.parents,
        excludes=tuple(state.expanded(text) for text in instruction.excludes),
    )
    if isinstance(instruction, Add):
        step = replace(
            step,
            unpack=instruction.unpack,
            remotes=True,
            checksum=state.expanded(instruction.checksum),
            keep_git_dir=instruction.keep_git_dir,
        )
    _check_copy(instruction.keyword, step)
    return step


def _check_copy(keyword: str, step: CopyStep) -> None:
    if len(step.sources) + len(step.inline) > 1 and not step.destination.endswith("/"):
        raise BadStep(
            f"When using {keyword} with more than one source file, the destination must be a "
            "directory and end with a /"
        )
    if any(not source for source in step.sources):
        raise BadStep(f"{keyword} source can not be empty")
    if not step.remotes and any(is_remote(source) for source in step.sources):
        raise BadStep("source can't be a URL for COPY")
    if step.checksum and (len(step.sources) != 1 or not is_remote(step.sources[0])):
        raise BadStep("checksum requires a single HTTP(S) or Git source")


def resolve_run(instruction: Run, state: StageState) -> RunStep:
    """A RUN with its command line, environment and mounts as they will be."""
    argv, script = _command(instruction, state)
    hidden = {n: v for n, v in state.given.items() if n in PROXIES and n not in state.arguments}
    return RunStep(
        argv=argv,
        environment={**hidden, **state.variables},
        arguments=dict(sorted(state.arguments.items())),
        hidden=frozenset(hidden),
        user=state.run.user,
        working_dir=state.working_dir,
        mounts=tuple(_mount(text, state) for text in instruction.mounts),
        network=instruction.network,
        security=instruction.security,
        script=script,
    )


def _command(instruction: Run, state: StageState) -> tuple[tuple[str, ...], str]:
    """The argv, and the text of a script if that is what the heredoc is."""
    command, heredocs = instruction.command, instruction.heredocs
    if not heredocs or not command.in_shell:
        return command_words(command, state.shell), ""
    line = command.words[0]
    if parse_heredoc_word(line, state.escape) is None:
        line += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in heredocs)
        return (*state.shell, line), ""
    body = heredocs[0].text
    return ((), body) if body.startswith("#!") else ((*state.shell, body), "")


def _mount(text: str, state: StageState) -> RunMount:
    mount = parse_mount(text, state.expanded)
    if mount.target and mount.type != "ssh":
        return replace(mount, target=_absolute(mount.target, state).rstrip("/") or "/")
    return mount


def _inline_file(heredoc: Heredoc, state: StageState) -> InlineFile:
    text = heredoc.text
    if heredoc.expand:
        text = _expanded_lines(text, state)
    return InlineFile(heredoc.name, text.encode())


def _expanded_lines(text: str, state: StageState) -> str:
    """Variables in a heredoc are replaced; quotes in it are only text."""
    protected = "".join("\\" + char if char in "\"'" else char for char in _no_quotes(text))
    return replace(state, escape="\\").expanded(protected)


def _no_quotes(text: str) -> str:
    r"""Only `\$` and `\\` are escapes in a heredoc: any other backslash stands for itself."""
    out: list[str] = []
    following = {"$", "\\"}
    index = 0
    while index < len(text):
        char = text[index]
        out.append(char)
        if char == "\\":
            escapes = text[index + 1 : index + 2] in following
            out.append(text[index + 1] if escapes else "\\")
            index += escapes
        index += 1
    return "".join(out)


def _absolute(path: str, state: StageState) -> str:
    """Relative to the working directory; keeps the slash (or `/.`) that says directory."""
    directory = path.endswith("/") or posixpath.basename(path) in ("", ".", "..")
    joined = posixpath.normpath(posixpath.join(state.working_dir, path))
    absolute = "/" + joined.lstrip("/")
    return absolute + "/" if directory and absolute != "/" else absolute


def told_run(instruction: Run, step: RunStep) -> str:
    """How the image's history tells a RUN: the arguments in force, then the command line."""
    command = " ".join(step.argv) if not step.script else f"<<{instruction.heredocs[0].name}"
    if not instruction.command.in_shell:
        command = " ".join(step.argv)
    if step.arguments:
        pairs = " ".join(f"{name}={value}" for name, value in step.arguments.items())
        command = f"|{len(step.arguments)} {pairs} {command}"
    return f"RUN {command} # buildkit"


def told_copy(keyword: str, step: CopyStep) -> str:
    sources = [*step.sources, *(f"<<{file.name}" for file in step.inline)]
    flags = [f"--chown={step.chown}"] * bool(step.chown)
    flags += [f"--chmod={step.chmod}"] * bool(step.chmod)
    words = [*flags, *sources, step.destination]
    if any(" " in word for word in words):
        return f"{keyword} {json.dumps(words, ensure_ascii=False)} # buildkit"
    return f"{keyword} {' '.join(words)} # buildkit"
