"""Making a container exist: checked and completed, files first, the row last.

asked -> the image's defaults under it -> the daemon's -> checked -> names of other
containers become IDs -> mount points decided -> snapshot, directory, volumes -> row -> event
"""

import asyncio
import os
import platform
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from random import Random

from pier.containers import mounts
from pier.containers.facts import HostFacts
from pier.containers.host import cpu_flags
from pier.containers.image_defaults import usable
from pier.containers.init_program import find_init
from pier.containers.links import Links
from pier.containers.log_order import check_log
from pier.containers.merge import merge
from pier.containers.model import SHORT_ID, Container
from pier.containers.names import made_up_name
from pier.containers.namespaces import joined_container
from pier.containers.parts import Defaults, Parts, snapshot_key
from pier.containers.placement import Placement, existing
from pier.containers.requests_for_networks import attachments
from pier.containers.resources import supported, with_defaults
from pier.containers.security import security_with_label
from pier.containers.spec import ContainerSpec, EndpointSpec, HostSpec, LogSpec, RestartPolicy
from pier.containers.store import NameInUse, NoOtherContainer, checked_name
from pier.containers.validate import validate
from pier.errors import Failed, InvalidArgument, NotFound, in_context
from pier.images.model import Image
from pier.linux.mount import open_overlay
from pier.linux.paths import makedirs_in_root
from pier.oci.image import ImageConfig, RunConfig
from pier.oci.platform import (
    Platform,
    WrongPlatform,
    amd64_level,
    matches,
    parse_platform,
    to_platform,
)

HOST_PORTS_DISCARDED = "Published ports are discarded when using host network mode"


class NoWorkingDir(Failed):
    def __init__(self, path: str, error: OSError) -> None:
        file = isinstance(error, NotADirectoryError)
        words = " is not a directory" if file else f": {error.strerror}"
        super().__init__(f"Cannot mkdir: {path}{words}")


def foreign_platform(config: ImageConfig, host: Platform) -> tuple[str, ...]:
    """The warning for an image whose programs this machine may not be able to execute."""
    actual = to_platform(config.os, config.architecture, config.variant)
    if matches(actual, host):
        return ()
    if host.architecture == "amd64":
        host = replace(host, variant=amd64_level(cpu_flags()))
    if matches(actual, host):
        return ()
    return (
        f"The requested image's platform ({actual}) does not match the detected host platform "
        f"({host}) and no specific platform was requested",
    )


class Creation:
    def __init__(self, parts: Parts, facts: HostFacts, placement: Placement, links: Links) -> None:
        self._parts = parts
        self._links = links
        self._facts = facts
        self._placement = placement
        self._random = Random()  # noqa: S311 -- for names, not secrets

    async def create(self, name: str | None, asked: ContainerSpec, *, platform: str) -> Container:
        """The new container, with warnings.

        Raises NoSuchImage, NameInUse, InvalidName, InvalidArgument and what `validate` raises;
        nothing is left then.
        """
        there = await existing(asked)  # before anything is looked up that may go meanwhile
        container_id = secrets.token_hex(32)
        chosen = self._name(name, container_id[:SHORT_ID])
        image = self._parts.images.get(asked.image)
        self._check_platform(image, platform, asked.image)
        defaults = usable(image.config.run)
        spec = self._completed(asked, defaults.run, container_id)
        warnings = [*defaults.warnings, *self._check(spec)]
        if not platform:
            warnings += foreign_platform(image.config, self._parts.images.host)
        check_asked(asked)
        kept = supported(with_defaults(spec.host.resources), self._facts).resources
        spec = replace(spec, host=replace(spec.host, resources=kept))
        of_image = set(defaults.run.volumes) - set(asked.volumes)
        points = await self._placement.decide(spec, of_image, there)
        container = Container(
            id=container_id,
            name=chosen,
            image_id=image.id,
            spec=spec,
            mounts=points,
            created_ns=self._parts.clock_ns(),
            warnings=tuple(warnings),
        )
        await self._make(container, image)
        self._parts.announce(container, "create")
        return container

    def _name(self, name: str | None, short_id: str) -> str:
        if name:
            chosen = checked_name(name)
            if holder := self._parts.store.holder(chosen):
                raise NameInUse(chosen, holder)
            return chosen

        def taken(candidate: str) -> bool:
            return self._parts.store.holder(candidate) is not None

        return made_up_name(taken, short_id, self._random)

    def _check_platform(self, image: Image, text: str, name: str) -> None:
        """Raises WrongPlatform, a NotFound, so that `docker run --platform` pulls it."""
        if not text:
            return
        wanted = parse_platform(text, self._parts.images.host)
        actual = self._parts.images.platform_of(image)
        if (actual.os, actual.architecture) != (wanted.os, wanted.architecture):
            raise WrongPlatform(name, wanted, actual)

    def _completed(
        self, asked: ContainerSpec, image: RunConfig, container_id: str
    ) -> ContainerSpec:
        spec = merge(asked, image)
        host = completed_host(spec.host, self._parts.defaults)
        host = replace(
            host,
            network_mode=self._network_mode(host.network_mode),
            ipc_mode=self._full_id(host.ipc_mode),
            pid_mode=self._full_id(host.pid_mode),
        )
        spec = self._links.resolved(replace(spec, host=host))
        return replace(
            spec,
            endpoints=self._named(attachments(spec)),
            hostname=spec.hostname or self._hostname(host, container_id),
        )

    def _named(self, endpoints: Mapping[str, EndpointSpec]) -> dict[str, EndpointSpec]:
        """By the networks' names, where they were asked for by ID."""
        named = {}
        for name, asked in endpoints.items():
            try:
                named[self._parts.networks.get(name).name] = asked
            except NotFound:
                named[name] = asked  # refused at the start, as Docker does
        return named

    def _network_mode(self, mode: str) -> str:
        try:
            return self._full_id(mode)
        except NoOtherContainer as error:
            raise in_context(error, "joining network namespace of container") from error

    def _full_id(self, mode: str) -> str:
        """`container:<name>` is kept as `container:<id>`: names change."""
        other = joined_container(mode)
        return mode if other is None else f"container:{self._parts.store.get_other(other).id}"

    def _hostname(self, host: HostSpec, container_id: str) -> str:
        if host.network_mode == "host" or host.uts_mode == "host":
            return platform.node()
        if other := joined_container(host.network_mode):
            return self._parts.store.get(other).spec.hostname
        return container_id[:SHORT_ID]

    def _check(self, spec: ContainerSpec) -> list[str]:
        warnings = validate(spec, self._facts)
        check_joining(spec)
        host = spec.host
        check_log(host.log)
        self._parts.runtimes.get(host.runtime or self._parts.defaults.runtime)
        if self._parts.defaults.init if host.init is None else host.init:
            find_init(self._parts.defaults.init_path)
        if host.network_mode == "host" and (host.port_bindings or host.publish_all_ports):
            warnings.append(HOST_PORTS_DISCARDED)
        return warnings

    async def _make(self, container: Container, image: Image) -> None:
        parts = self._parts
        key = snapshot_key(container.id)
        parts.snapshotter.prepare(key, image.chain_id, container.created_ns)
        directory = parts.directory(container.id)
        try:
            directory.mkdir(parents=True, mode=0o710)
            await self._populate(container)
            with parts.database.transaction():
                parts.store.add(container)
            parts.store.find(container.id)  # into memory, for those who may not read the disk
        except BaseException:
            parts.snapshotter.remove(key)
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            await self._placement.forget(container)
            raise

    async def _populate(self, container: Container) -> None:
        """The working directory, and what new volumes take over from the image."""
        spec = container.spec
        fresh = [point for point in container.mounts if point.kind == "volume"]
        workdir = spec.working_dir if spec.working_dir.strip("/") else ""
        if not fresh and not workdir:
            return
        overlay = self._parts.overlay(container)

        def work() -> None:
            root = open_overlay(overlay)
            try:
                if workdir:
                    _make_working_dir(root, workdir)
                mounts.copy_up(root, fresh)
            finally:
                os.close(root)

        await asyncio.to_thread(work)


def _make_working_dir(root_fd: int, path: str) -> None:
    try:
        os.close(makedirs_in_root(root_fd, path))
    except OSError as error:
        raise NoWorkingDir(path, error) from error


def completed_host(host: HostSpec, defaults: Defaults) -> HostSpec:
    """What the client left open, as the daemon's settings have it."""
    network = "bridge" if host.network_mode in ("", "default") else host.network_mode
    return replace(
        host,
        network_mode=network,
        log=completed_log(host.log, defaults.log),
        shm_size=host.shm_size or defaults.shm_bytes,
        restart=host.restart if host.restart.name else RestartPolicy(),
        ipc_mode=host.ipc_mode or defaults.ipc_mode,
        cgroupns_mode=host.cgroupns_mode or defaults.cgroupns_mode,
        runtime=host.runtime or defaults.runtime,
        security_opt=security_with_label(host),
    )


def completed_log(asked: LogSpec, default: LogSpec) -> LogSpec:
    """The daemon's options hold only for the daemon's driver."""
    driver = asked.driver or default.driver
    if driver != default.driver:
        return replace(asked, driver=driver)
    return LogSpec(driver=driver, options={**default.options, **asked.options})


def check_asked(asked: ContainerSpec) -> None:
    """What a user may not choose together, though an image or a default may. Docker's words."""
    if asked.hostname and asked.host.uts_mode == "host":
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if joined_container(asked.host.network_mode) is None:
        return
    if asked.hostname:
        raise InvalidArgument("conflicting options: hostname and the network mode")
    if asked.exposed_ports:
        raise InvalidArgument(
            "conflicting options: port exposing and the container type network mode"
        )


def check_joining(spec: ContainerSpec) -> None:
    """What cannot be chosen together with another container's network. Docker's words."""
    host = spec.host
    if joined_container(host.network_mode) is None:
        return
    conflicts = (
        (
            host.links,
            "container type network can't be used with links. "
            "This would result in undefined behavior",
        ),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
    )
    for asked, what in conflicts:
        if asked:
            raise InvalidArgument(f"conflicting options: {what}")
