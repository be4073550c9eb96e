"""What the daemon is made of, bottom-up.

No business here. Each part gets what it needs and nothing else; who wants to know how the parts
hang together reads `_build` from top to bottom.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pier.containers.commit import Committer
from pier.containers.connections import Connections
from pier.containers.containers import Containers
from pier.containers.creation import Creation
from pier.containers.etc_files import EtcFiles
from pier.containers.exec import Execs
from pier.containers.facts import HostFacts
from pier.containers.files import Files
from pier.containers.health import OUTPUT_LIMIT, Prober
from pier.containers.host import read_host_facts
from pier.containers.inputs import Inputs
from pier.containers.lifecycle import Lifecycle
from pier.containers.links import Links
from pier.containers.live import LiveContainers
from pier.containers.logs import Logs
from pier.containers.model import Container
from pier.containers.parts import Defaults, Parts
from pier.containers.placement import Placement
from pier.containers.removal import Remover
from pier.containers.restore import Restorer
from pier.containers.spec import LogSpec, Ulimit
from pier.containers.steps import all_steps
from pier.containers.store import ContainerStore
from pier.containers.stubs import make_stubs
from pier.containers.supervisor import Supervisor
from pier.containers.update import Updater
from pier.engine.builder import BuilderOnDemand, left_behind
from pier.engine.facts import engine_facts
from pier.engine.model import EngineFacts
from pier.engine.tasks import Tasks
from pier.events import Events
from pier.images.offline import OfflinePuller
from pier.images.pull import Puller
from pier.images.push import Pusher
from pier.images.recovery import recover
from pier.images.store import Images
from pier.linux import cgroup, descriptors
from pier.networks.model import DEFAULT_ADDRESS_POOLS, AddressPool, NetworkSettings
from pier.networks.networks import Networks
from pier.registry.client import RegistryClient
from pier.registry.hosts import Hosts
from pier.registry.queries import Queries
from pier.registry.transport import Patience
from pier.runtime.oci_runtime import Candidate, Runtimes
from pier.runtime.orders import Captured
from pier.runtime.spawners import Spawner
from pier.settings import Paths, Settings
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.durability import Durability
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter
from pier.volumes import Volumes

CGROUP_PARENT = "/pier"


@dataclass(slots=True, kw_only=True)
class Engine:
    settings: Settings
    paths: Paths
    host: HostFacts
    events: Events
    database: Database
    content: ContentStore
    snapshotter: Snapshotter
    leases: Leases
    images: Images
    registries: RegistryClient
    registry: Queries
    puller: OfflinePuller
    pusher: Pusher
    volumes: Volumes
    networks: Networks
    runtimes: Runtimes
    spawner: Spawner
    containers: Containers
    execs: Execs
    builder: BuilderOnDemand
    default_runtime: str

    @staticmethod
    @asynccontextmanager
    async def open(settings: Settings) -> AsyncIterator["Engine"]:
        """Everything made, restored and ready; closed in reverse at the end of the block."""
        async with AsyncExitStack() as stack:
            yield await _build(settings, stack)

    async def facts(self) -> EngineFacts:
        return await engine_facts(
            self.settings, self.host, self.runtimes, default_runtime=self.default_runtime
        )

    def reload(self, settings: Settings) -> None:
        """Take over what can change while the daemon runs."""
        self.settings = settings
        self.registries.reload(registry_hosts(settings))
        self.events.publish("daemon", "reload", "")


async def _build(settings: Settings, stack: AsyncExitStack) -> Engine:
    paths = settings.paths
    for directory in (paths.volumes, paths.container("")):
        directory.mkdir(parents=True, exist_ok=True, mode=0o710)
    for directory in paths.closed:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)  # an earlier version's was open
    with contextlib.suppress(OSError):  # the probe of the runtimes has the words for it
        cgroup.make_room()
    facts = read_host_facts()
    descriptors.raise_limit()  # a running container takes three, and there may be thousands
    events = Events()
    database = Database(paths.database)
    stack.callback(database.close)
    images, durability = await _images(paths, database, events, stack)
    snapshotter = images.snapshotter
    registries = RegistryClient(
        registry_hosts(settings),
        patience=Patience(attempts=settings.max_download_attempts),
        environ={**os.environ, **settings.proxy_environment},
    )
    stack.push_async_callback(registries.close)
    puller = Puller(registries, images, max_downloads=settings.max_concurrent_downloads)
    stack.callback(puller.close)
    volumes = Volumes(database, paths.volumes, events)
    volumes.restore()
    await asyncio.to_thread(volumes.sweep)
    networks = Networks(database, events, network_settings(settings))
    await networks.open()
    stack.push_async_callback(networks.close)
    spawner = Spawner()
    await spawner.start()
    stack.push_async_callback(spawner.close)
    runtimes = Runtimes(
        spawner,
        paths.exec_root,
        extra={
            name: Candidate(runtime.path, tuple(runtime.runtime_args))
            for name, runtime in settings.runtimes.items()
        },
        default=settings.default_runtime,
    )
    await runtimes.probe()
    stack.callback(cgroup.remove_empty, settings.cgroup_parent or CGROUP_PARENT)
    tasks = Tasks(await stack.enter_async_context(asyncio.TaskGroup()))
    stack.callback(tasks.cancel)
    durability.start(tasks.spawn)
    parts = Parts(
        database=database,
        store=ContainerStore(database),
        live=LiveContainers(),
        images=images,
        snapshotter=snapshotter,
        networks=networks,
        volumes=volumes,
        runtimes=runtimes,
        spawner=spawner,
        events=events,
        defaults=defaults(settings, runtimes, facts),
        spawn=tasks.spawn,
        directory=paths.container,
        bundle=paths.bundle,
        shm=paths.shm,
        mounts=paths.mounts,
        stubs=make_stubs(paths.data_root / "stubs"),
    )
    containers, execs, restorer = _containers(parts, facts, paths.data_root)
    await restorer.restore()
    offline = OfflinePuller(puller, images)
    builder = await _builder(parts, settings, offline, facts)
    return Engine(
        settings=settings,
        paths=paths,
        host=facts,
        events=events,
        database=database,
        content=images.content,
        snapshotter=snapshotter,
        leases=images.leases,
        images=images,
        registries=registries,
        registry=Queries(registries),
        puller=offline,
        pusher=Pusher(registries, images, max_uploads=settings.max_concurrent_uploads),
        volumes=volumes,
        networks=networks,
        runtimes=runtimes,
        spawner=spawner,
        containers=containers,
        execs=execs,
        builder=builder,
        default_runtime=parts.defaults.runtime,
    )


async def _images(
    paths: Paths, database: Database, events: Events, stack: AsyncExitStack
) -> tuple[Images, Durability]:
    """What is kept, compared with its files."""
    content = ContentStore(paths.content, database)
    snapshotter = Snapshotter(paths.snapshots, database)
    snapshotter.sweep()
    stack.callback(snapshotter.close)
    durability = Durability(database, paths.data_root, paths.content, paths.snapshots)
    content.added = snapshotter.added = durability.soon
    images = Images(database, content, snapshotter, Leases(database), events)
    images.sweep()
    await recover(images, lost_power=durability.lost_power())
    durability.settle_in()
    return images, durability


def _containers(
    parts: Parts, facts: HostFacts, daemon_root: Path
) -> tuple[Containers, Execs, Restorer]:
    placement = Placement(parts, str(daemon_root))
    links = Links(parts)
    etc = EtcFiles(parts, links)
    inputs = Inputs(parts, facts, links)
    remover = Remover(parts)
    execs = Execs(parts, inputs.for_exec, inputs.cgroups_path)

    async def probe(container: Container, command: Sequence[str], timeout_s: float) -> Captured:
        return await execs.run_captured(container, command, timeout_s, OUTPUT_LIMIT)

    steps = all_steps(parts, inputs, placement, etc)
    supervisor = Supervisor(parts, steps, Prober(parts, probe), remover)
    lifecycle = Lifecycle(parts, supervisor, remover)
    connections = Connections(parts, etc, links)
    containers = Containers(
        parts,
        creation=Creation(parts, facts, placement, links),
        lifecycle=lifecycle,
        connections=connections,
        updater=Updater(parts, facts, inputs.cgroups_path),
        files=Files(parts),
        committer=Committer(parts, lifecycle),
        logs=Logs(parts),
        inputs=inputs,
    )
    restorer = Restorer(
        parts, supervisor, remover, placement, connections, execs, inputs.cgroups_path
    )
    return containers, execs, restorer


async def _builder(
    parts: Parts, settings: Settings, puller: OfflinePuller, facts: HostFacts
) -> BuilderOnDemand:
    builder = BuilderOnDemand(parts, settings, puller, facts)
    if left_behind(settings.paths, parts.snapshotter):
        await builder.get()
    return builder


def registry_hosts(settings: Settings) -> Hosts:
    """Mirrors and insecure registries; `registry-mirrors` are Docker Hub's, as in Docker."""
    mirrors = {**settings.mirrors}
    if settings.registry_mirrors:
        mirrors.setdefault("docker.io", settings.registry_mirrors)
    return Hosts(mirrors=mirrors, insecure=settings.insecure_registries)


def network_settings(settings: Settings) -> NetworkSettings:
    pools = tuple(AddressPool(pool.base, pool.size) for pool in settings.default_address_pools)
    return NetworkSettings(
        bridge=settings.bridge,
        bip=settings.bip,
        fixed_cidr=settings.fixed_cidr,
        mtu=settings.mtu,
        icc=settings.icc,
        ip_masquerade=settings.ip_masq,
        ip_forward=settings.ip_forward,
        bind_ip="" if settings.ip == "0.0.0.0" else settings.ip,  # noqa: S104
        dns=tuple(settings.dns),
        dns_search=tuple(settings.dns_search),
        dns_options=tuple(settings.dns_opts),
        host_gateway_ips=tuple(settings.host_gateway_ips),
        address_pools=pools or DEFAULT_ADDRESS_POOLS,
    )


def defaults(settings: Settings, runtimes: Runtimes, facts: HostFacts) -> Defaults:
    """What holds for a container whose spec says nothing."""
    profile = settings.seccomp_profile
    if profile not in ("builtin", "unconfined"):
        profile = Path(profile).read_text()
    return Defaults(
        log=LogSpec(driver=settings.log_driver, options=settings.log_opts),
        shm_bytes=settings.default_shm_bytes,
        stop_timeout_s=settings.default_stop_timeout,
        runtime=settings.default_runtime or runtimes.default,
        cgroup_parent=settings.cgroup_parent or CGROUP_PARENT,
        cgroupns_mode=settings.default_cgroupns_mode
        or ("private" if facts.cgroup_version == 2 else "host"),
        ipc_mode=settings.default_ipc_mode,
        init=settings.init,
        init_path=settings.init_path,
        no_new_privileges=settings.no_new_privileges,
        seccomp_profile=profile,
        ulimits={
            name: Ulimit(name=name, soft=limit.soft, hard=limit.hard)
            for name, limit in settings.default_ulimits.items()
        },
    )
