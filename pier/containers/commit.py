"""`docker commit`: a container's changes become a layer, and an image on top of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from pier.containers.lifecycle import Lifecycle
from pier.containers.merge import merged_env
from pier.containers.model import Container
from pier.containers.parts import Parts, snapshot_key
from pier.containers.requests import CommitRequest
from pier.containers.spec import ContainerSpec
from pier.containers.state import State
from pier.errors import Conflict
from pier.images.changes import apply_changes
from pier.oci.image import History, ImageConfig, RunConfig
from pier.oci.reference import parse_reference

FROZEN_MARK = "frozen-for-commit"
"""In the bundle of a container that only a commit has paused: a crash must not leave it so."""


class CommitRefused(Conflict):
    def __init__(self, container: Container) -> None:
        super().__init__(
            f"You cannot commit container {container.id} which is Dead or being removed"
        )


class Committer:
    def __init__(self, parts: Parts, lifecycle: Lifecycle) -> None:
        self._parts = parts
        self._lifecycle = lifecycle

    async def commit(self, request: CommitRequest) -> str:
        """The new image's ID. A running container is frozen meanwhile, unless told not to.

        Raises NotFound, InvalidArgument for a bad reference or change, CommitRefused.
        """
        container = self._parts.store.get(request.container)
        if container.state in (State.REMOVING, State.DEAD):
            raise CommitRefused(container)
        name = parse_reference(request.reference).tagged() if request.reference else None
        run = apply_changes(run_config(container.spec, request.run_config), request.changes)
        config = self._config(container, request, run)
        async with self._frozen(container, wanted=request.pause):
            image = await self._parts.images.commit_layer(
                snapshot_key(container.id),
                config,
                parent=container.image_id,
                names=[name] if name else [],
            )
        told = {"comment": request.comment, "imageID": image.id}
        if name:
            told["imageRef"] = name.familiar()
        self._parts.announce(container, "commit", **told)
        return image.id

    def _config(self, container: Container, request: CommitRequest, run: RunConfig) -> ImageConfig:
        base = self._parts.images.get(container.image_id).config
        now_ns = self._parts.clock_ns()
        step = History(
            created_ns=now_ns,
            created_by=" ".join(container.path_and_args),
            author=request.author,
            comment=request.comment,
        )
        return replace(
            base,
            created_ns=now_ns,
            author=request.author,
            run=run,
            history=(*base.history, step),
            raw=b"",
        )

    @asynccontextmanager
    async def _frozen(self, container: Container, *, wanted: bool) -> AsyncIterator[None]:
        if not wanted or container.state is not State.RUNNING:
            yield
            return
        mark = self._parts.bundle(container.id) / FROZEN_MARK
        mark.touch()
        try:
            await self._lifecycle.pause(container.id)
            try:
                yield
            finally:
                await self._lifecycle.unpause(container.id)
        finally:
            mark.unlink(missing_ok=True)


def run_config(spec: ContainerSpec, asked: ContainerSpec | None) -> RunConfig:
    """The container's own configuration, with what the request says instead."""
    said = asked or ContainerSpec()
    return RunConfig(
        user=said.user or spec.user,
        exposed_ports=tuple(sorted({*spec.exposed_ports, *said.exposed_ports})),
        env=merged_env(said.env, spec.env),
        entrypoint=spec.entrypoint if said.entrypoint is None else said.entrypoint,
        cmd=spec.cmd if said.cmd is None else said.cmd,
        volumes=tuple(sorted({*spec.volumes, *said.volumes})),
        working_dir=said.working_dir or spec.working_dir,
        labels={**spec.labels, **said.labels},
        stop_signal=said.stop_signal or spec.stop_signal,
        healthcheck=said.healthcheck or spec.healthcheck,
        on_build=said.on_build or spec.on_build,
        shell=said.shell or spec.shell,
    )
