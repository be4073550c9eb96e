"""`docker update`: new limits and a new restart policy, at once where the container runs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pier.containers.facts import HostFacts
from pier.containers.host import block_devices
from pier.containers.model import Container
from pier.containers.parts import Parts
from pier.containers.resources import (
    limits_ended,
    resources_to_oci,
    supported,
    with_defaults,
)
from pier.containers.spec import Resources, RestartPolicy
from pier.containers.state import State
from pier.errors import Conflict, Failed, InvalidArgument, PierError
from pier.linux import cgroup


class UpdateRefused(Conflict):
    def __init__(self, container: Container, why: str) -> None:
        super().__init__(f"Cannot update container {container.id}: {why}")


class Updater:
    def __init__(
        self, parts: Parts, facts: HostFacts, cgroups_path: Callable[[Container], str]
    ) -> None:
        self._parts = parts
        self._facts = facts
        self._cgroups_path = cgroups_path

    async def update(
        self, name: str, changes: Mapping[str, object], restart: RestartPolicy | None
    ) -> Sequence[str]:
        """Warnings. `changes`: fields of Resources that were asked for, by name.

        Raises UpdateRefused for what contradicts the stored spec, InvalidArgument for nonsense;
        the record is only changed once the kernel has taken the limits.
        """
        container = self._parts.store.get(name)
        async with self._parts.live[container.id].lock:
            container = self._parts.store.get(container.id)
            if container.state in (State.REMOVING, State.DEAD):
                raise UpdateRefused(
                    container, 'Container is marked for removal and cannot be "update".'
                )
            resources = merged(container, changes)
            kept = supported(resources, self._facts, update=True)
            if restart is not None and container.spec.host.auto_remove and restart.name != "no":
                raise UpdateRefused(
                    container,
                    "Restart policy cannot be updated because AutoRemove is enabled for the "
                    "container",
                )
            if container.state in (State.RUNNING, State.PAUSED) and changes:
                await self._apply(container, kept.resources, changes)
            host = replace(
                container.spec.host,
                resources=with_defaults(resources, update=True),
                restart=restart or container.spec.host.restart,
            )
            changed = replace(container, spec=replace(container.spec, host=host))
            self._parts.store.update(changed)
        self._parts.announce(changed, "update")
        return kept.warnings

    async def _apply(
        self, container: Container, resources: Resources, changes: Mapping[str, object]
    ) -> None:
        limits = resources_to_oci(resources, block_devices(resources))
        ended = limits_ended(changes, cgroup_version=self._facts.cgroup_version)
        try:
            await self._parts.runtimes.update(
                self._parts.runtime_of(container), container.id, limits
            )
            for controller, file, value in ended:
                if controller in cgroup.layout().controllers:
                    group = cgroup.layout().path(controller, self._cgroups_path(container))
                    await asyncio.to_thread(cgroup.write, group, file, value)
        except (PierError, OSError) as error:
            raise Failed(f"Cannot update container {container.id}: {error}") from error


def merged(container: Container, changes: Mapping[str, object]) -> Resources:
    """The stored limits with `changes`. Raises UpdateRefused where both cannot be."""
    stored = container.spec.host.resources
    if changes.get("nano_cpus") and (stored.cpu_period_us or stored.cpu_quota_us):
        what = "CPU Period" if stored.cpu_period_us else "CPU Quota"
        raise UpdateRefused(
            container,
            f"Conflicting options: Nano CPUs cannot be updated as {what} has already been set",
        )
    for field, words in (("cpu_period_us", "CPU Period"), ("cpu_quota_us", "CPU Quota")):
        if changes.get(field) and stored.nano_cpus:
            raise UpdateRefused(
                container,
                f"Conflicting options: {words} cannot be updated as NanoCPUs has already been set",
            )
    memory, swap = changes.get("memory"), changes.get("memory_swap")
    if isinstance(memory, int) and memory and not swap and 0 < stored.memory_swap < memory:
        raise UpdateRefused(
            container,
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time",
        )
    try:
        return replace(stored, **changes)  # type: ignore[arg-type]  # the API decoded the values
    except TypeError as error:
        raise InvalidArgument(str(error)) from error
