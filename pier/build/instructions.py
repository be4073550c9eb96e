"""The eighteen instructions as values, exactly as the Dockerfile says them.

Nothing here is expanded: variables, quotes and heredoc bodies are as written, because their
meaning depends on where in a build they stand. `pier.build.syntax` makes these.
"""

from dataclasses import dataclass

from pier.build.parser import Heredoc
from pier.build.words import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """`source` is the joined line; `line` and `end_line` say where it stands."""

    source: str
    line: int
    end_line: int = 0

    @property
    def keyword(self) -> str:
        return type(self).__name__.upper()


@dataclass(frozen=True, slots=True)
class Command:
    """The exec form is its words; the shell form is one string still to be given to a shell."""

    words: tuple[str, ...]
    in_shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    image: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """`mounts` are the texts of `--mount`: they may hold variables (see run_mounts)."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    labels: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    variables: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """COPY. A heredoc among the sources stands in `heredocs`, not in `sources`."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    origin: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Copy):
    """ADD. `unpack` None: archives of the context yes, downloads no."""

    keep_git_dir: bool = False
    checksum: str = ""
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True)
class Argument:
    """One `name[=default]`; None: no default."""

    name: str
    default: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """`trigger` is the text kept in the image, with its heredocs."""

    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopsignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """`test` as the image config has it: NONE; CMD and words; CMD-SHELL and a line."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    shell: tuple[str, ...]
