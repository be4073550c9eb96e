"""`docker commit`: a container's changes become a layer, and an image on top of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from pier.containers.lifecycle import Lifecycle
from pier.containers.merge import merged_env
from pier.containers.model import Container
from pier.containers.parts import Parts, snapshot_key
from pier.containers.requests import CommitRequest
from pier.containers.spec import ContainerSpec
from pier.containers.state import State
from pier.containers.waiting import Condition
from pier.errors import Conflict, NotFound, PierError
from pier.images.changes import apply_changes
from pier.oci.image import History, ImageConfig, RunConfig
from pier.oci.reference import parse_reference

FROZEN_MARK = "frozen-for-commit"
"""In the bundle of a container that only a commit has paused: a crash must not leave it so."""


_SETTLING_S = 5.0
"""How long the end of a process may take to get into the container's record."""


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
        async with self._still(container, pause=request.pause):
            try:
                image = await self._parts.images.commit_layer(
                    snapshot_key(container.id),
                    config,
                    parent=container.image_id,
                    names=[name] if name else [],
                )
            except (NotFound, OSError):
                self._parts.store.get(container.id)  # NoSuchContainer: it ended, and --rm took it
                raise
            self._parts.images.announce("create", image, image.id)
            if name:
                self._parts.images.announce("tag", image, name.familiar())
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
    async def _still(self, container: Container, *, pause: bool) -> AsyncIterator[None]:
        """While nothing writes: frozen if it runs, unless told not to; else held as it is."""
        if container.state is State.RUNNING and not pause:
            yield
        elif container.state is State.RUNNING and await self._freeze(container.id):
            try:
                yield
            finally:
                await self._thaw(container.id)
        else:
            async with self._parts.live[container.id].lock:
                self._parts.store.get(container.id)
                yield

    async def _freeze(self, container_id: str) -> bool:
        """False if it ended meanwhile, or somebody has paused it."""
        mark = self._parts.bundle(container_id) / FROZEN_MARK
        try:
            mark.touch()
            await self._lifecycle.pause(container_id)
        except (PierError, OSError):
            mark.unlink(missing_ok=True)
            if await self._stays(container_id, State.RUNNING):
                raise
            return False
        return True

    async def _thaw(self, container_id: str) -> None:
        """What was killed meanwhile, or thawed by somebody, need not be."""
        try:
            if self._state(container_id) is State.PAUSED:
                await self._lifecycle.unpause(container_id)
        except PierError:
            if await self._stays(container_id, State.PAUSED):
                raise
        finally:
            (self._parts.bundle(container_id) / FROZEN_MARK).unlink(missing_ok=True)

    async def _stays(self, container_id: str, state: State) -> bool:
        """Whether it is not that its process is gone: the record follows in a moment."""
        waiter = self._parts.live[container_id].waiters.add(Condition.NOT_RUNNING)
        try:
            if self._state(container_id) is state:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SETTLING_S):
                        await waiter.result()
            return self._state(container_id) is state
        finally:
            waiter.close()

    def _state(self, container_id: str) -> State | None:
        found = self._parts.store.find(container_id)
        return found.state if found else None


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
