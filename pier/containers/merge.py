"""The image's defaults under what was asked (pure). Docker's rules: surface.md b.4.

The user's word wins; env, labels, ports and volumes are united; an image's Cmd belongs to its
Entrypoint, so an entrypoint of the user's own drops it.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import replace

from pier.containers.spec import ContainerSpec
from pier.errors import InvalidArgument
from pier.oci.image import Healthcheck, RunConfig


class NoCommand(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("no command specified")


def merge(spec: ContainerSpec, image: RunConfig) -> ContainerSpec:
    """`spec` with what `image` adds. Raises NoCommand if there is nothing to run."""
    entrypoint, cmd = _command(spec, image)
    if not entrypoint and not cmd:
        raise NoCommand
    return replace(
        spec,
        user=spec.user or image.user,
        working_dir=_normalized(spec.working_dir) or image.working_dir,
        stop_signal=spec.stop_signal or image.stop_signal,
        exposed_ports=_united(spec.exposed_ports, image.exposed_ports),
        volumes=_united(spec.volumes, image.volumes),
        labels={**image.labels, **spec.labels},
        env=merged_env(spec.env, image.env),
        healthcheck=_healthcheck(spec.healthcheck, image.healthcheck),
        entrypoint=entrypoint,
        cmd=cmd,
        on_build=spec.on_build or image.on_build,
        shell=spec.shell or image.shell,
    )


def merged_env(asked: Iterable[str], defaults: Iterable[str]) -> tuple[str, ...]:
    """`asked` in its order, then the defaults whose key it does not mention.

    An entry without "=" removes the variable and is kept: it must also win over the defaults
    that come later (PATH and the like).
    """
    own = tuple(asked)
    keys = {entry.partition("=")[0] for entry in own}
    return own + tuple(entry for entry in defaults if entry.partition("=")[0] not in keys)


def _command(
    spec: ContainerSpec, image: RunConfig
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    if spec.entrypoint is None:
        return image.entrypoint, (spec.cmd if spec.cmd is not None else image.cmd)
    if spec.entrypoint in ((), ("",)):  # --entrypoint "": run the command alone
        return None, spec.cmd
    return spec.entrypoint, spec.cmd


def _normalized(path: str) -> str:
    """Without `..` and slashes that mean nothing; an image's path stays as it is."""
    return posixpath.normpath(path).replace("//", "/", 1) if path else ""


def _united(asked: Iterable[str], image: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*asked, *image}))


def _healthcheck(asked: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    if asked is None or image is None:
        return asked or image
    return Healthcheck(
        test=asked.test or image.test,
        interval_ns=asked.interval_ns or image.interval_ns,
        timeout_ns=asked.timeout_ns or image.timeout_ns,
        start_period_ns=asked.start_period_ns or image.start_period_ns,
        start_interval_ns=asked.start_interval_ns or image.start_interval_ns,
        retries=asked.retries or image.retries,
    )
