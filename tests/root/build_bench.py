"""A Builder on a data root of its own, with a busybox image, for tests as root."""

import io
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pier.build.builder import Builder, BuilderParts
from pier.build.cache import Miss
from pier.build.cache_store import DEFAULT_LIMIT_BYTES
from pier.build.progress import BuildEvent, StepCached, StepOutput, StepRuns, classic_text
from pier.build.request import BuildRequest, BuildResult
from pier.build.run import NetworkPlace
from pier.containers.host import read_host_facts
from pier.containers.parts import Defaults
from pier.containers.spec import LogSpec
from pier.engine.building import config_of_run
from pier.events import Events
from pier.images.model import Image
from pier.images.store import Images
from pier.images.transfer import Report
from pier.linux import cgroup
from pier.oci.image import ImageConfig
from pier.oci.platform import Platform
from pier.registry.credentials import Auth
from pier.runtime.oci_runtime import Runtimes
from pier.runtime.spawners import Spawner
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter

PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
GROUP = b"root:x:0:\napp:x:1000:\nstaff:x:50:app\n"
GROUP_PARENT = os.environ.setdefault("PIER_TEST_BUILDS", f"/pier-test-build-{os.getpid()}")
"""One for a test and the processes it starts, which may be killed."""
FACTS = read_host_facts()
DEFAULTS = Defaults(
    log=LogSpec(), shm_bytes=1 << 26, stop_timeout_s=10, runtime="", cgroup_parent=GROUP_PARENT,
    cgroupns_mode="", ipc_mode="private", ulimits={},
)  # fmt: skip


@asynccontextmanager
async def no_network(
    run_id: str, network: str, extra_hosts: tuple[str, ...], hostname: str
) -> AsyncIterator[NetworkPlace]:
    yield NetworkPlace(hosts=b"127.0.0.1 localhost\n", resolv_conf=b"nameserver 127.0.0.1\n")


def busybox_tar() -> bytes:
    """The offline base: busybox with a link for each of its names."""
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "var"):
                tar.addfile(_entry(name, tarfile.DIRTYPE, mode=0o755))
            tar.addfile(_entry("tmp", tarfile.DIRTYPE, mode=0o1777))
            _add_file(tar, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
            _add_file(tar, "etc/passwd", PASSWD)
            _add_file(tar, "etc/group", GROUP)
            for name in names.stdout.split():
                if name != "busybox":
                    link = _entry(f"bin/{name}", tarfile.SYMTYPE, mode=0o777)
                    link.linkname = "busybox"
                    tar.addfile(link)
        return out.getvalue()


def context_tar(files: Mapping[str, bytes | str]) -> bytes:
    """An uncompressed context. A str value that begins with `->` is a link."""
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in files.items():
                if isinstance(content, str) and content.startswith("->"):
                    link = _entry(name, tarfile.SYMTYPE, mode=0o777)
                    link.linkname = content[2:]
                    tar.addfile(link)
                elif name.endswith("/"):
                    tar.addfile(_entry(name.rstrip("/"), tarfile.DIRTYPE, mode=0o755))
                else:
                    data = content.encode() if isinstance(content, str) else content
                    _add_file(tar, name, data, 0o755 if data.startswith(b"#!") else 0o644)
        return out.getvalue()


def _entry(name: str, kind: bytes, *, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 1_600_000_000
    return entry


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode=mode)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


@dataclass(frozen=True)
class LocalImages:
    """Nothing is pulled here."""

    images: Images

    async def get_image(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        auths: Mapping[str, Auth],
        report: Report,
    ) -> Image:
        return self.images.get(reference)

    async def get_config(
        self, reference: str, platform: Platform, *, auths: Mapping[str, Auth]
    ) -> ImageConfig:
        return self.images.get(reference).config


@dataclass
class Bench:
    builder: Builder
    images: Images
    root: Path
    events: list[BuildEvent] = field(default_factory=list)
    later_s: int = 0
    """How much later the builder believes it is."""

    async def build(
        self,
        dockerfile: str,
        files: Mapping[str, bytes | str] | None = None,
        request: BuildRequest | None = None,
        on_event: Callable[[BuildEvent], None] = lambda event: None,
    ) -> BuildResult:
        data = context_tar({"Dockerfile": dockerfile, **(files or {})})
        return await self.build_tar(data, request or BuildRequest(), on_event)

    async def build_tar(
        self,
        data: bytes,
        request: BuildRequest,
        on_event: Callable[[BuildEvent], None] = lambda event: None,
    ) -> BuildResult:
        async def stream() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 65536):
                yield data[start : start + 65536]

        self.events = []

        def tell(event: BuildEvent) -> None:
            self.events.append(event)
            on_event(event)

        return await self.builder.build(request, stream(), tell)

    @property
    def text(self) -> str:
        return "".join(classic_text(event) for event in self.events)

    @property
    def output(self) -> str:
        data = b"".join(event.data for event in self.events if isinstance(event, StepOutput))
        return data.decode("utf-8", "replace")

    @property
    def cached(self) -> int:
        return sum(isinstance(event, StepCached) for event in self.events)

    @property
    def misses(self) -> list[Miss]:
        return [event.miss for event in self.events if isinstance(event, StepRuns)]

    def image(self, result: BuildResult) -> Image:
        return self.images.get(result.image)

    def left_behind(self) -> list[str]:
        """What a build must not leave: snapshots, bundles, directories."""
        left = self.images.snapshotter.list_keys("build/")
        for place in (self.root / "run/builds", self.root / "data/tmp"):
            if place.is_dir():
                left += [str(path) for path in place.iterdir()]
        return left

    def files(self, result: BuildResult) -> dict[str, "Shown"]:
        """The image's files by path, without those of the base image."""
        from pier.linux.mount import open_overlay

        root_fd = open_overlay(self.images.snapshotter.overlay(self.image(result).chain_id))
        try:
            return dict(_shown(root_fd))
        finally:
            os.close(root_fd)


@dataclass(frozen=True)
class Shown:
    mode: int
    uid: int
    gid: int
    content: str
    mtime: int


def _shown(root_fd: int) -> Iterator[tuple[str, Shown]]:
    for directory, names, files, fd in os.fwalk(".", dir_fd=root_fd):
        for name in (*files, *names):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            path = os.path.normpath(f"/{directory}/{name}")
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = "->" + os.readlink(name, dir_fd=fd)
            elif name in files and status.st_size < 65536 and stat.S_ISREG(status.st_mode):
                file = os.open(name, os.O_RDONLY, dir_fd=fd)
                content = os.read(file, 65536).decode("utf-8", "replace")
                os.close(file)
            yield (
                path,
                Shown(status.st_mode, status.st_uid, status.st_gid, content, int(status.st_mtime)),
            )


@asynccontextmanager
async def open_bench(
    root: Path, *, with_runtime: bool = True, cache_limit_bytes: int = DEFAULT_LIMIT_BYTES
) -> AsyncIterator[Bench]:
    data, run = root / "data", root / "run"
    data.mkdir(parents=True, exist_ok=True)
    run.mkdir(exist_ok=True)
    database = Database(data / "pier.db")
    content = ContentStore(data / "content", database)
    snapshotter = Snapshotter(data / "snapshots", database)
    images = Images(database, content, snapshotter, Leases(database), Events())
    spawner = Spawner()
    runtimes = Runtimes(spawner, run)
    if with_runtime:
        await runtimes.probe()

    builder = Builder(
        BuilderParts(
            images=images,
            spawner=spawner,
            runtimes=runtimes,
            finder=LocalImages(images),
            make_config=lambda order: config_of_run(order, FACTS, DEFAULTS),
            sandboxes=no_network,
            data_root=data,
            exec_root=run,
            cgroup_parent=GROUP_PARENT,
            cache_limit_bytes=cache_limit_bytes,
            clock_ns=lambda: time.time_ns() + bench.later_s * 10**9,
        )
    )
    try:
        if images.find("busybox") is None:
            await import_busybox(images)
        bench = Bench(builder, images, root)
        yield bench
    finally:
        await spawner.close()
        cgroup.remove(GROUP_PARENT)
        snapshotter.close()
        database.close()


async def import_busybox(images: Images) -> None:
    """The same image at any time."""
    images.clock_ns = lambda: 1_600_000_000 * 10**9
    data = busybox_tar()

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await images.import_(
        chunks(), reference="busybox:latest", changes=['CMD ["sh"]', "ENV PATH=/bin:/usr/bin"]
    )
    images.clock_ns = time.time_ns
