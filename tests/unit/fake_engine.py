"""An engine made of records, for the API's tests; `start` serves it on a socket."""

import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from pier.api.app import create_app
from pier.api.listen import Endpoint as Listening
from pier.api.listen import Listener
from pier.engine.model import EngineFacts, RuntimeFacts
from pier.errors import NotFound
from pier.events import Events
from pier.images.model import HistoryEntry, Image, NoSuchImage, Removed
from pier.images.model import Pruned as ImagesPruned
from pier.images.transfer import Step
from pier.networks.model import Endpoint, Network, NetworkSpec, Pool, PublishedPort
from pier.oci.digest import parse_digest
from pier.oci.image import ImageConfig, RunConfig
from pier.volumes import NoSuchVolume, Volume
from pier.volumes import Pruned as VolumesPruned
from tests.unit.fake_containers import IMAGE, WEB, FakeContainers, FakeExecs, chunks, containers

LAYER = parse_digest("sha256:" + "2" * 64)


class FakeImages:
    def __init__(self) -> None:
        run = RunConfig(cmd=("sh",), env=("PATH=/bin",), labels={"a": "b"})
        self.images = [
            Image(
                id=IMAGE, manifest=IMAGE, chain_id=LAYER, layers=(LAYER,), size=1234,
                config=ImageConfig(architecture="amd64", os="linux", run=run),
                created_ns=1_700_000_000_000_000_000, tags=("docker.io/library/busybox:latest",),
            ),
            Image(
                id=parse_digest("sha256:" + "3" * 64), manifest=IMAGE, chain_id="",
                config=ImageConfig(),
            ),
        ]  # fmt: skip
        self.tagged: list[tuple[str, str]] = []

    def find(self, name: str) -> Image | None:
        for image in self.images:
            if name in (image.id, image.id.partition(":")[2], "busybox", "busybox:latest"):
                return image
        return None

    def get(self, name: str) -> Image:
        if image := self.find(name):
            return image
        raise NoSuchImage(name)

    def list_(self) -> list[Image]:
        return self.images

    def last_tagged_ns(self, image_id: str) -> int:
        return 0

    def layer_directories(self, image: Image) -> list[str]:
        return [f"/layers/{layer}" for layer in reversed(image.layers)]

    def layer_sizes(self, image: Image) -> list[int]:
        return [1234] * len(image.layers)

    def blob_sizes(self) -> dict[str, dict[str, int]]:
        return {}

    def tag(self, name: str, reference: str) -> None:
        self.tagged.append((name, reference))

    def remove(self, name: str, *, force: bool, prune: bool) -> list[Removed]:
        self.get(name)
        return [Removed("Untagged", "busybox:latest"), Removed("Deleted", IMAGE)]

    def history(self, name: str) -> list[HistoryEntry]:
        self.get(name)
        return [HistoryEntry(id=IMAGE, created_ns=0, created_by="x", size=1, comment="")]

    async def prune(
        self, *, dangling: bool, until_ns: int, labels: Sequence[str], not_labels: Sequence[str]
    ) -> ImagesPruned:
        return ImagesPruned((), 0)

    async def load(self, body: AsyncIterator[bytes], *, platform: str) -> AsyncIterator[object]:
        data = b"".join([chunk async for chunk in body])

        async def steps() -> AsyncIterator[object]:
            yield SimpleNamespace(
                stream=f"Loaded {len(data)}\n", status="", id="", current=0, total=0
            )

        return steps()

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        return chunks(",".join(names).encode())


class FakeNetworks:
    def __init__(self) -> None:
        pool = Pool(subnet="172.17.0.0/16", gateway="172.17.0.1")
        self.bridge = Network(id="f" * 64, spec=NetworkSpec(name="bridge", pools=(pool,)))
        none = Network(id="0" * 64, spec=NetworkSpec(name="none", driver="null"))
        own = Network(id="9" * 64, spec=NetworkSpec(name="own", pools=(pool,), labels={"x": "y"}))
        self.networks = [self.bridge, none, own]
        self.created: NetworkSpec | None = None

    def get(self, name: str) -> Network:
        for network in self.networks:
            if name == network.name or network.id.startswith(name):
                return network
        raise NotFound(f"network {name} not found")

    def list_(self) -> list[Network]:
        return self.networks

    def endpoints(self, container_id: str) -> list[Endpoint]:
        if container_id != WEB:
            return []
        return [
            Endpoint(
                id="8" * 64, container_id=WEB, network=self.bridge, ipv4="172.17.0.2", prefix4=16,
                gateway4="172.17.0.1", mac="02:42:ac:11:00:02",
            )
        ]  # fmt: skip

    def members(self, network_id: str) -> list[object]:
        if network_id != self.bridge.id:
            return []
        endpoint = self.endpoints(WEB)[0]
        return [SimpleNamespace(container_id=WEB, container_name="web", endpoint=endpoint)]

    def published(self, container_id: str) -> list[PublishedPort]:
        if container_id != WEB:
            return []
        return [PublishedPort(port=80, protocol="tcp", host_ip="0.0.0.0", host_port=8080)]

    async def create(self, spec: NetworkSpec) -> Network:
        self.created = spec
        return Network(id="7" * 64, spec=spec)

    async def remove(self, name: str) -> None:
        self.get(name)

    async def prune(self, wanted: Callable[[Network], bool]) -> list[str]:
        return [network.name for network in self.networks if wanted(network)]


class FakeVolumes:
    def __init__(self) -> None:
        self.volumes = [
            Volume(name="data", mountpoint=Path("/v/data"), created_ns=1_700_000_000_000_000_000),
            Volume(name="loose", mountpoint=Path("/v/loose"), labels={"k": "v"}),
        ]
        self.vanished: set[str] = set()

    def get(self, name: str) -> Volume:
        for volume in self.volumes:
            if volume.name == name:
                return volume
        raise NoSuchVolume(name)

    def list_(self) -> list[Volume]:
        return self.volumes

    async def usage(self, name: str) -> int:
        if name in self.vanished:
            raise NoSuchVolume(name)
        return 11

    def create(
        self, name: str, *, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        return Volume(
            name=name or "anonymous",
            mountpoint=Path("/v/x"),
            driver=driver or "local",
            labels=labels,
            options=options,
        )

    async def remove(self, name: str, *, force: bool) -> None:
        self.get(name)

    async def prune(
        self, *, all_volumes: bool, labels: Sequence[str], not_labels: Sequence[str]
    ) -> VolumesPruned:
        return VolumesPruned(("loose",) if all_volumes else (), 0)


class FakePuller:
    async def pull(
        self, reference: str, *, platform: str, auth: object, all_tags: bool
    ) -> AsyncIterator[Step]:
        if "nope" in reference:
            raise NotFound("pull access denied for nope, repository does not exist")
        yield Step(status=f"Pulling from {reference}", id="latest")
        yield Step(status="Downloading", id="abc", current=5, total=10)
        if "breaks" in reference:
            raise NotFound("gone in the middle")
        yield Step(status="Status: Downloaded newer image for x")


class FakeEngine:
    default_runtime = "crun"
    builder: object = None

    def __init__(self) -> None:
        self.containers = FakeContainers(containers(time.time_ns()))
        self.execs = FakeExecs()
        self.images = FakeImages()
        self.networks = FakeNetworks()
        self.volumes = FakeVolumes()
        self.events = Events()
        self.puller = FakePuller()
        self.paths = SimpleNamespace(
            container=lambda container_id: Path("/var/lib/pier/containers") / container_id,
            bundle=lambda container_id: Path("/run/pier/containers") / container_id,
        )

    def facts(self) -> EngineFacts:
        runtimes = (RuntimeFacts(name="crun", path="/usr/bin/crun", version="1.8"),)
        return EngineFacts(
            id="x", hostname="host", kernel_version="6.1", cpus=2, memory_bytes=1 << 30,
            runtimes=runtimes, default_runtime="crun",
        )  # fmt: skip


async def start(engine: object, path: str) -> Listener:
    """Serve on a Unix socket until the listener is closed."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    listener = Listener(create_app(engine))
    await listener.open([Listening(sock)])
    return listener
