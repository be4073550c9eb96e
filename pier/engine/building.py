"""What the builder needs and may not know: images that are pulled, containers' configuration,
places on the network.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pier.build.builder import Builder, BuilderParts
from pier.build.cache_store import DEFAULT_LIMIT_BYTES
from pier.build.run import NetworkPlace, RunOrder
from pier.build.scope import StepLocks
from pier.containers.etc_files import sources
from pier.containers.facts import HostFacts
from pier.containers.inputs import APPARMOR_PROFILE, running_container, seccomp_filter
from pier.containers.namespaces import HOST, PRIVATE, Namespaces, cgroup_mode, joined_container
from pier.containers.parts import Defaults, Parts
from pier.containers.spec import ContainerSpec, HostSpec
from pier.containers.to_oci import OciInputs, ProcessUser, process_capabilities, to_oci
from pier.errors import NotFound, Unavailable
from pier.images.model import Image
from pier.images.offline import OfflinePuller
from pier.images.store import Images
from pier.images.transfer import Report
from pier.networks.model import EndpointRequest, SandboxRequest
from pier.oci.image import ImageConfig
from pier.oci.platform import Platform, WrongPlatform, matches, to_platform
from pier.oci.reference import parse_reference
from pier.registry.credentials import Auth, registry_host
from pier.settings import Settings
from pier.threads import blocking


def make_builder(
    parts: Parts, settings: Settings, puller: OfflinePuller, facts: HostFacts
) -> Builder:
    host = BuildHost(parts.images, puller, parts, facts)
    return Builder(
        BuilderParts(
            images=parts.images,
            spawner=parts.spawner,
            runtimes=parts.runtimes,
            finder=host,
            make_config=host.make_config,
            sandboxes=host.sandbox,
            data_root=settings.paths.data_root,
            exec_root=settings.paths.exec_root,
            cgroup_parent=parts.defaults.cgroup_parent,
            cache_limit_bytes=settings.build_cache_bytes or DEFAULT_LIMIT_BYTES,
        )
    )


@dataclass(frozen=True, slots=True)
class BuildHost:
    """One per daemon; its methods are the builder's callables."""

    images: Images
    puller: OfflinePuller
    parts: Parts
    facts: HostFacts
    names: StepLocks = field(default_factory=StepLocks)
    """Held while an image is looked for and pulled."""

    async def get_image(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        auths: Mapping[str, Auth],
        report: Report,
    ) -> Image:
        """The local image, or the pulled one: if there is none for `platform`, or `pull` says so.

        Raises WrongPlatform.
        """
        # A name means one image: nobody may pull another platform's between our pull and the look.
        async with self.names.hold(reference):
            found = self.images.find(reference)
            if found is None or pull or not _fits(found, platform):
                await self._pull(reference, platform, auths, report, forced=pull)
            image = self.images.get(reference)
        if not _fits(image, platform):
            raise WrongPlatform(reference, platform, _platform_of(image))
        return image

    async def _pull(
        self,
        reference: str,
        platform: Platform,
        auths: Mapping[str, Auth],
        report: Report,
        *,
        forced: bool,
    ) -> None:
        """A registry that does not have it, or cannot be reached, is no error if we have it."""
        here = self.images.find(reference) is not None
        wanted = "" if platform == self.images.host else str(platform)
        auth = _auth_for(reference, auths)
        try:
            async for step in self.puller.pull(reference, platform=wanted, auth=auth):
                report(step)
        except NotFound:
            if not here:
                raise
        except Unavailable:
            if forced or not here:
                raise

    async def get_config(
        self, reference: str, platform: Platform, *, auths: Mapping[str, Auth]
    ) -> ImageConfig:
        """The local image's if it is for `platform`, else the registry's."""
        found = self.images.find(reference)
        if found is not None and _fits(found, platform):
            return found.config
        wanted = "" if platform == self.images.host else str(platform)
        return await self.puller.config(
            reference, platform=wanted, auth=_auth_for(reference, auths)
        )

    def make_config(self, order: RunOrder) -> Mapping[str, object]:
        return config_of_run(order, self.facts, self.parts.defaults)

    @asynccontextmanager
    async def sandbox(
        self, run_id: str, network: str, extra_hosts: tuple[str, ...], hostname: str
    ) -> AsyncIterator[NetworkPlace]:
        """A place on `network` ("default": the bridge) until the end of the block."""
        if joined_container(network):
            yield await self._beside(network)
            return
        name = "bridge" if network == "default" else network
        request = SandboxRequest(
            container_id=run_id,
            name=f"build-{run_id[:12]}",
            hostname=hostname,
            endpoints={name: EndpointRequest()},
            extra_hosts=extra_hosts,
        )
        try:
            sandbox = await self.parts.networks.bring_up(request)
            files = self.parts.networks.files(request)
            yield NetworkPlace(
                netns_path=sandbox.netns_path,
                hosts=files.hosts.encode(),
                resolv_conf=files.resolv_conf.encode(),
            )
        finally:
            await self.parts.networks.take_down(run_id)

    async def _beside(self, mode: str) -> NetworkPlace:
        """Where the running container is that `mode` names. Raises NotFound, Conflict."""
        other = running_container(self.parts, mode, "network")
        paths = [Path(source) for source in sources(self.parts, other).values()]
        texts = {path.name: await blocking(path.read_bytes) for path in paths}
        return NetworkPlace(
            netns_path=f"/proc/{other.status.pid}/ns/net",
            hosts=texts.get("hosts", b""),
            resolv_conf=texts.get("resolv.conf", b""),
        )


def config_of_run(order: RunOrder, facts: HostFacts, defaults: Defaults) -> Mapping[str, object]:
    """config.json of a RUN: what a container with these limits would get."""
    host = HostSpec(
        privileged=order.insecure,
        resources=order.limits,
        shm_size=order.shm_size,
    )
    spec = ContainerSpec(
        env=order.environment, cmd=order.argv, working_dir=order.working_dir, host=host
    )
    held = process_capabilities(spec, facts, privileged=order.insecure)
    network = {"host": HOST, "none": PRIVATE}.get(order.network, order.netns_path or PRIVATE)
    identity = order.identity
    config = to_oci(
        OciInputs(
            container_id=order.id,
            spec=spec,
            facts=facts,
            default_ulimits=tuple(defaults.ulimits.values()),
            no_new_privileges=defaults.no_new_privileges,
            apparmor_default=APPARMOR_PROFILE if facts.apparmor else "",
            user=ProcessUser(
                uid=identity.uid,
                gid=identity.gid,
                additional_gids=identity.groups,
                home=identity.home,
            ),
            rootfs=str(order.bundle / "rootfs"),
            hostname=order.hostname,
            namespaces=Namespaces(
                network=network, cgroup=cgroup_mode(host, cgroup_version=facts.cgroup_version)
            ),
            files=order.files,
            cgroups_path=order.cgroup,
            seccomp=None if order.insecure else seccomp_filter(defaults.seccomp_profile, held),
        )
    )
    mounts = config["mounts"]
    assert isinstance(mounts, list)
    mounts += [
        {
            "destination": mount.target,
            "type": mount.type,
            "source": mount.source,
            "options": list(mount.options),
        }
        for mount in order.mounts
    ]
    return config


def _platform_of(image: Image) -> Platform:
    config = image.config
    return to_platform(config.os, config.architecture, config.variant)


def _fits(image: Image, wanted: Platform) -> bool:
    return matches(_platform_of(image), wanted)


def _auth_for(reference: str, auths: Mapping[str, Auth]) -> Auth | None:
    """What the client sent along for the registry of `reference`."""
    registry = registry_host(parse_reference(reference).domain)
    return next((auth for host, auth in auths.items() if registry_host(host) == registry), None)
