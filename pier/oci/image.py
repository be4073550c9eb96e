"""Image configs: what to run, which layers, how it was made.

OCI image spec, config.md, and Docker's additions (Healthcheck, OnBuild, Shell). The digest of
the config's bytes *is* the image's ID, so `ImageConfig.raw` keeps them as they came and unknown
fields survive. Times are nanoseconds since the epoch, 0 for none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from pier.errors import InvalidArgument
from pier.oci.digest import Digest, parse_digest
from pier.oci.timestamp import format_time, parse_time

MAX_LAYERS = 125
_LATEST_NS = 2**63 - 1
"""The year 2262, and 1677 the other way: what 64 bits of nanoseconds hold, and a row."""


class InvalidImageConfig(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(f"invalid image config: {why}")


class TooManyLayers(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("max depth exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """`test` empty: inherit; ["NONE"]; ["CMD", ...]; ["CMD-SHELL", line]. 0: the default."""

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Defaults for a container of the image: the config's `config` object."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    """ "80/tcp", sorted."""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    """Paths, sorted."""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    args_escaped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One step of how the image was made, oldest first in a config."""

    created_ns: int = 0
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """A parsed config. `raw` is what was parsed; b"" in one made here until it is formatted."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    created_ns: int = 0
    author: str = ""
    run: RunConfig = RunConfig()
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    raw: bytes = field(default=b"", repr=False, compare=False)


_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What a client written in Go can read."""
_Words = list[str | None] | None
"""As Go reads them, which other tools rely on: null is "" wherever a string may be."""


class _Healthcheck(msgspec.Struct, omit_defaults=True):
    Test: _Words = None
    Interval: _Int64 | None = None
    Timeout: _Int64 | None = None
    StartPeriod: _Int64 | None = None
    StartInterval: _Int64 | None = None
    Retries: _Int64 | None = None


class _Run(msgspec.Struct, omit_defaults=True):
    User: str | None = None
    ExposedPorts: dict[str, dict[str, object] | None] | None = None
    Env: _Words = None
    Entrypoint: _Words | str = None
    Cmd: _Words | str = None
    Volumes: dict[str, dict[str, object] | None] | None = None
    WorkingDir: str | None = None
    Labels: dict[str, str | None] | None = None
    StopSignal: str | None = None
    Healthcheck: _Healthcheck | None = None
    OnBuild: _Words = None
    Shell: _Words | str = None
    ArgsEscaped: bool | None = None


class _History(msgspec.Struct, omit_defaults=True):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _RootFs(msgspec.Struct):
    type: str = "layers"
    diff_ids: list[str] | None = None


class _Config(msgspec.Struct, omit_defaults=True):
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)
    os_features: list[str] | None = msgspec.field(name="os.features", default=None)
    created: str | None = None
    author: str | None = None
    config: _Run | None = None
    rootfs: _RootFs | None = None
    history: list[_History] | None = None


def parse_image_config(data: bytes) -> ImageConfig:
    """Read a config's bytes; raise InvalidImageConfig with the path of what is wrong."""
    try:
        wire = msgspec.json.decode(data, type=_Config)
        return _from_wire(wire, data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidImageConfig(str(error)) from error


def _from_wire(wire: _Config, data: bytes) -> ImageConfig:
    diff_ids = (wire.rootfs.diff_ids if wire.rootfs else None) or ()
    return ImageConfig(
        architecture=wire.architecture or "",
        os=wire.os or "",
        variant=wire.variant or "",
        os_version=wire.os_version or "",
        os_features=tuple(wire.os_features or ()),
        created_ns=min(max(parse_time(wire.created or ""), -_LATEST_NS), _LATEST_NS),
        author=wire.author or "",
        run=_run_from_wire(wire.config or _Run()),
        diff_ids=tuple(parse_digest(text) for text in diff_ids),
        history=tuple(_history_from_wire(entry) for entry in wire.history or ()),
        raw=data,
    )


def _run_from_wire(wire: _Run) -> RunConfig:
    return RunConfig(
        user=wire.User or "",
        exposed_ports=tuple(sorted(wire.ExposedPorts or ())),
        env=_words(wire.Env),
        entrypoint=None if wire.Entrypoint is None else _words(wire.Entrypoint),
        cmd=None if wire.Cmd is None else _words(wire.Cmd),
        volumes=tuple(sorted(wire.Volumes or ())),
        working_dir=wire.WorkingDir or "",
        labels={key: value or "" for key, value in (wire.Labels or {}).items()},
        stop_signal=wire.StopSignal or "",
        healthcheck=_healthcheck_from_wire(wire.Healthcheck),
        on_build=_words(wire.OnBuild),
        shell=_words(wire.Shell),
        args_escaped=wire.ArgsEscaped or False,
    )


def _words(wire: Sequence[str | None] | str | None) -> tuple[str, ...]:
    """Docker's older tools wrote a command of one word as a string."""
    if isinstance(wire, str):
        return (wire,)
    return tuple(word or "" for word in wire or ())


def _healthcheck_from_wire(wire: _Healthcheck | None) -> Healthcheck | None:
    if wire is None:
        return None
    return Healthcheck(
        test=_words(wire.Test),
        interval_ns=wire.Interval or 0,
        timeout_ns=wire.Timeout or 0,
        start_period_ns=wire.StartPeriod or 0,
        start_interval_ns=wire.StartInterval or 0,
        retries=wire.Retries or 0,
    )


def _history_from_wire(wire: _History) -> History:
    return History(
        created_ns=parse_time(wire.created or ""),
        created_by=wire.created_by or "",
        author=wire.author or "",
        comment=wire.comment or "",
        empty_layer=wire.empty_layer or False,
    )


def format_image_config(config: ImageConfig) -> bytes:
    """The bytes of a config made here, the same for the same value. `config.raw` is ignored."""
    wire = _Config(
        architecture=config.architecture,
        os=config.os,
        variant=config.variant or None,
        os_version=config.os_version or None,
        os_features=list(config.os_features) or None,
        created=format_time(config.created_ns),
        author=config.author or None,
        config=_run_to_wire(config.run),
        rootfs=_RootFs(diff_ids=list(config.diff_ids)),
        history=[_history_to_wire(entry) for entry in config.history],
    )
    return msgspec.json.encode(wire, order="deterministic")


def _run_to_wire(run: RunConfig) -> _Run:
    return _Run(
        User=run.user or None,
        ExposedPorts={port: {} for port in run.exposed_ports} or None,
        Env=list(run.env) or None,
        Entrypoint=None if run.entrypoint is None else list(run.entrypoint),
        Cmd=None if run.cmd is None else list(run.cmd),
        Volumes={path: {} for path in run.volumes} or None,
        WorkingDir=run.working_dir or None,
        Labels=dict(run.labels) or None,
        StopSignal=run.stop_signal or None,
        Healthcheck=_healthcheck_to_wire(run.healthcheck),
        OnBuild=list(run.on_build) or None,
        Shell=list(run.shell) or None,
        ArgsEscaped=run.args_escaped or None,
    )


def _healthcheck_to_wire(check: Healthcheck | None) -> _Healthcheck | None:
    if check is None:
        return None
    return _Healthcheck(
        Test=list(check.test) or None,
        Interval=check.interval_ns or None,
        Timeout=check.timeout_ns or None,
        StartPeriod=check.start_period_ns or None,
        StartInterval=check.start_interval_ns or None,
        Retries=check.retries or None,
    )


def _history_to_wire(entry: History) -> _History:
    return _History(
        created=format_time(entry.created_ns),
        created_by=entry.created_by or None,
        author=entry.author or None,
        comment=entry.comment or None,
        empty_layer=entry.empty_layer or None,
    )


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """The chain ID of each layer on those below it (config.md, "Layer ChainID"), bottom first."""
    if len(diff_ids) > MAX_LAYERS:
        raise TooManyLayers
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(next_chain_id(chain[-1] if chain else "", diff_id))
    return tuple(chain)


def next_chain_id(parent: str, diff_id: Digest) -> Digest:
    """The chain ID of `diff_id` on top of the chain `parent`, "" for none."""
    if not parent:
        return diff_id
    return Digest("sha256:" + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest())
