"""Exec: what is asked of a further process, and what became of it. Pure."""

from typing import ClassVar

import msgspec
from msgspec import field

from pier.api.versions import ApiVersion
from pier.containers.requests import ExecRecord, ExecSpec
from pier.errors import InvalidArgument


class NoExecCommand(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("No exec command specified")


class ExecBody(msgspec.Struct, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "container.ExecOptions"
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: tuple[int, int] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] = []
    cmd: list[str] | str = []
    privileged: bool = False
    user: str = ""
    working_dir: str = ""


class ExecStartBody(msgspec.Struct, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "container.ExecStartOptions"
    detach: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None


class ProcessJson(msgspec.Struct, kw_only=True):
    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool
    user: str | msgspec.UnsetType = msgspec.UNSET


class ExecInspectJson(msgspec.Struct, rename="pascal", kw_only=True):
    id: str = field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ProcessJson
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = field(name="ContainerID")
    detach_keys: str
    pid: int


def to_exec(body: ExecBody, version: ApiVersion) -> ExecSpec:
    """Raises NoExecCommand."""
    cmd = (body.cmd,) if isinstance(body.cmd, str) else tuple(body.cmd)
    if not cmd:
        raise NoExecCommand
    return ExecSpec(
        cmd=cmd,
        tty=body.tty,
        attach_stdin=body.attach_stdin,
        attach_stdout=body.attach_stdout,
        attach_stderr=body.attach_stderr,
        detach_keys=body.detach_keys,
        env=tuple(body.env),
        privileged=body.privileged,
        user=body.user,
        working_dir=body.working_dir,
        console_size=body.console_size if body.tty and version.at_least(42) else None,
    )


def inspect_json(record: ExecRecord) -> ExecInspectJson:
    spec = record.spec
    return ExecInspectJson(
        id=record.id,
        running=record.running,
        exit_code=record.exit_code,
        process_config=ProcessJson(
            tty=spec.tty,
            entrypoint=spec.cmd[0],
            arguments=list(spec.cmd[1:]),
            privileged=spec.privileged,
            user=spec.user or msgspec.UNSET,
        ),
        open_stdin=spec.attach_stdin,
        open_stderr=spec.attach_stderr,
        open_stdout=spec.attach_stdout,
        can_remove=record.exit_code is not None,
        container_id=record.container_id,
        detach_keys=spec.detach_keys,
        pid=record.pid,
    )
