"""Containers and execs made of records, for the API's tests."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from pier.containers.model import Container, Health, MountPoint, Status
from pier.containers.requests import (
    AttachRequest,
    CommitRequest,
    ExecRecord,
    ExecSpec,
    LogChunk,
    LogQuery,
    PathStat,
    Stats,
    TopRows,
    WaitResult,
)
from pier.containers.spec import ContainerSpec, EndpointSpec, HostSpec, RestartPolicy
from pier.containers.state import State
from pier.containers.store import NoSuchContainer
from pier.errors import InvalidArgument, NotFound, NotModified
from pier.images.model import NoSuchImage
from pier.linux.mount import Overlay
from pier.oci.digest import parse_digest

HOUR_NS = 3600 * 1_000_000_000
WEB, JOB, NEW = "a" * 64, "b" * 64, "c" * 64
IMAGE = parse_digest("sha256:" + "1" * 64)


def containers(now_ns: int) -> list[Container]:
    run = ContainerSpec(
        image="busybox", cmd=("sleep", "a b"), env=("PATH=/bin",), hostname="web",
        exposed_ports=("80/tcp", "81/udp"), labels={"app": "web", "tier": "1"},
    )  # fmt: skip
    mount = MountPoint(
        kind="volume", destination="/data", name="data", source="/v/data", driver="local"
    )
    return [
        Container(id=NEW, name="new", image_id=IMAGE,
                  spec=ContainerSpec(image="busybox:1", cmd=("true",),
                                     endpoints={"bridge": EndpointSpec()}),
                  created_ns=now_ns),
        Container(id=WEB, name="web", image_id=IMAGE, state=State.RUNNING, spec=run,
                  status=Status(pid=42, started_ns=now_ns - 3 * HOUR_NS,
                                health=Health(status="healthy")),
                  mounts=(mount,), created_ns=now_ns - 4 * HOUR_NS),
        Container(id=JOB, name="job", image_id=IMAGE, state=State.EXITED,
                  spec=replace(run, host=HostSpec(network_mode="none"),
                               endpoints={"none": EndpointSpec()}),
                  status=Status(exit_code=3, started_ns=now_ns - 6 * HOUR_NS,
                                finished_ns=now_ns - 5 * HOUR_NS),
                  created_ns=now_ns - 7 * HOUR_NS),
    ]  # fmt: skip


@dataclass
class FakeWaiter:
    outcome: asyncio.Future[WaitResult]
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def result(self) -> WaitResult:
        return await self.outcome

    def close(self) -> None:
        self.closing.set()


@dataclass
class FakeContainers:
    records: list[Container]
    calls: list[tuple[object, ...]] = field(default_factory=list)
    created: ContainerSpec | None = None
    waiters: list[FakeWaiter] = field(default_factory=list)
    uploaded: bytes = b""
    vanished: set[str] = field(default_factory=set)

    async def settled(self, name: str) -> Container:
        return self.get(name)

    def get(self, name: str) -> Container:
        for record in self.records:
            if name in (record.name, record.id) or record.id.startswith(name):
                return record
        raise NoSuchContainer(name)

    def list_(self) -> list[Container]:
        return self.records

    def overlay(self, container_id: str) -> Overlay | None:
        return Overlay(("/l/1", "/l/0"), "/u", "/w")

    async def usage(self, container_id: str) -> tuple[int, int]:
        if container_id in self.vanished:
            raise NoSuchContainer(container_id)
        return 100, 1000

    @property
    def files(self) -> "FakeContainers":
        return self

    async def create(self, name: str | None, asked: ContainerSpec, *, platform: str) -> Container:
        if asked.image not in ("busybox", "busybox:1"):
            raise NoSuchImage(f"{asked.image}:latest")
        self.created = asked
        self.calls.append(("create", name, platform))
        return Container(id="d" * 64, name=name or "made_up", image_id=IMAGE, spec=asked)

    async def start(self, name: str, *, detach_keys: str) -> None:
        if self.get(name).state is State.RUNNING:
            raise NotModified(f"container {name} is already running")
        self.calls.append(("start", name))

    async def stop(self, name: str, *, timeout_s: int | None, signal: str) -> None:
        self.calls.append(("stop", self.get(name).name, timeout_s, signal))

    async def restart(self, name: str, *, timeout_s: int | None, signal: str) -> None:
        self.calls.append(("restart", self.get(name).name, timeout_s, signal))

    async def kill(self, name: str, signal_name: str) -> None:
        self.calls.append(("kill", self.get(name).name, signal_name))

    async def pause(self, name: str) -> None:
        self.calls.append(("pause", self.get(name).name))

    async def unpause(self, name: str) -> None:
        self.calls.append(("unpause", self.get(name).name))

    async def rename(self, name: str, new_name: str) -> None:
        self.calls.append(("rename", self.get(name).name, new_name))

    async def remove(self, name: str, *, volumes: bool, force: bool, link: bool) -> None:
        self.calls.append(("remove", self.get(name).name, volumes, force, link))

    async def update(
        self, name: str, changes: Mapping[str, object], restart: RestartPolicy | None
    ) -> Sequence[str]:
        self.calls.append(("update", self.get(name).name, dict(changes), restart))
        return []

    async def attach(self, name: str, request: AttachRequest) -> object:
        return self.get(name)

    async def resize(self, name: str, height: int, width: int) -> None:
        self.calls.append(("resize", self.get(name).name, height, width))

    async def connect(self, network: str, name: str, asked: EndpointSpec) -> None:
        self.calls.append(("connect", network, self.get(name).name, asked))

    async def disconnect(self, network: str, name: str, *, force: bool) -> None:
        self.calls.append(("disconnect", network, self.get(name).name, force))

    async def prune(
        self, *, until_ns: int, labels: Sequence[str], not_labels: Sequence[str]
    ) -> object:
        self.calls.append(("prune", until_ns, tuple(labels), tuple(not_labels)))
        return SimpleNamespace(ids=[JOB], bytes_reclaimed=7)

    def wait(self, name: str, condition: str) -> FakeWaiter:
        self.get(name)
        if condition not in ("not-running", "next-exit", "removed"):
            raise InvalidArgument(f'invalid condition: "{condition}"')
        waiter = FakeWaiter(asyncio.get_running_loop().create_future())
        if condition == "not-running":
            waiter.outcome.set_result(WaitResult(status_code=3))
        self.waiters.append(waiter)
        return waiter

    async def top(self, name: str, ps_args: str) -> TopRows:
        self.get(name)
        return TopRows(("PID", "CMD"), (("42", "sleep"),))

    async def changes(self, name: str) -> Sequence[object]:
        self.get(name)
        return [SimpleNamespace(path="/a", kind=1)] if name == "web" else []

    async def export(self, name: str) -> AsyncIterator[bytes]:
        self.get(name)
        return chunks(b"tar", b"ball")

    async def archive_stat(self, name: str, path: str) -> PathStat:
        if path == "/nope":
            raise NotFound(f"Could not find the file {path} in container {name}")
        return PathStat(name="etc", size=4096, mode=0o40755, mtime_ns=1_500_000_000)

    async def archive_get(self, name: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        return await self.archive_stat(name, path), chunks(b"tar")

    async def archive_put(
        self,
        name: str,
        path: str,
        body: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool,
        copy_uid_gid: bool,
    ) -> None:
        self.uploaded = b"".join([chunk async for chunk in body])

    async def commit(self, request: CommitRequest) -> str:
        self.get(request.container)
        self.calls.append(("commit", request))
        return IMAGE

    async def logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        self.calls.append(("logs", query))

        async def read() -> AsyncIterator[LogChunk]:
            yield LogChunk("stdout", [b"out\n"])
            yield LogChunk("stderr", [b"err\n"])

        return read()

    async def stats(self, name: str) -> Stats | None:
        running = self.get(name).state is State.RUNNING
        return Stats(read_ns=1_000_000_000, memory_usage=5, memory_limit=9) if running else None


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class FakeExecs:
    def __init__(self) -> None:
        self.spec: ExecSpec | None = None

    async def create(self, name: str, spec: ExecSpec) -> str:
        self.spec = spec
        return "e" * 64

    def get(self, exec_id: str) -> ExecRecord:
        if exec_id != "e" * 64:
            raise NotFound(f"No such exec instance: {exec_id}")
        return ExecRecord(id=exec_id, container_id=WEB, spec=ExecSpec(cmd=("ls", "-l")))

    def list_ids(self, container_id: str) -> Sequence[str]:
        return ["e" * 64] if container_id == WEB else []

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        self.get(exec_id)

    async def start(self, exec_id: str, *, console_size: tuple[int, int] | None) -> None:
        self.get(exec_id)

    async def attach(self, exec_id: str, *, console_size: tuple[int, int] | None) -> object:
        return self.get(exec_id)
