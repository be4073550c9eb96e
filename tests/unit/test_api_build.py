"""`POST /build`: what is asked reaches the builder, what it tells becomes Docker's stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pier.build.cache_store import PruneRequest
from pier.build.progress import BuildEvent, ImageBuilt, ImageTagged, StepOutput, StepStarted
from pier.build.request import BuildRequest, BuildResult, StepFailed
from pier.errors import InvalidArgument
from tests.unit.test_api_routes import Client, connected

IMAGE = "sha256:" + "1" * 64


class FakeBuilder:
    def __init__(self, error: Exception | None = None, *, at_once: bool = False) -> None:
        self.error = error
        self.at_once = at_once
        self.request = BuildRequest()
        self.context = b""
        self.pruned = PruneRequest()

    async def build(
        self,
        request: BuildRequest,
        context: AsyncIterator[bytes],
        progress: Callable[[BuildEvent], None],
    ) -> BuildResult:
        self.request = request
        if self.error and self.at_once:
            raise self.error
        self.context = b"".join([chunk async for chunk in context])
        progress(StepStarted(number=1, total=1, text="FROM busybox", line=1))
        progress(StepOutput(number=1, data=b"working\n"))
        if self.error:
            raise self.error
        progress(ImageBuilt(id=IMAGE))
        progress(ImageTagged(reference="a:1"))
        return BuildResult(IMAGE, ("a:1",))


def build(tmp_path: Path, builder: FakeBuilder, query: str = "") -> tuple[int, list[Any]]:
    """Status, and the documents of the stream."""

    async def main() -> tuple[int, list[Any]]:
        async with connected(tmp_path) as client:
            client.engine.builder = builder
            answer = await client.ask("POST", f"/build?{query}", b"context")
            return answer.status, [json.loads(line) for line in answer.body.splitlines() if line]

    return asyncio.run(main())


def test_a_build_is_told_in_the_classic_words(tmp_path: Path) -> None:
    builder = FakeBuilder()
    status, lines = build(tmp_path, builder)
    assert status == 200
    assert lines == [
        {"stream": "Step 1/1 : FROM busybox\n"},
        {"stream": "working\n"},
        {"aux": {"ID": IMAGE}},
        {"stream": f"Successfully built {'1' * 12}\n"},
        {"stream": "Successfully tagged a:1\n"},
    ]
    assert builder.context == b"context"


def test_a_quiet_build_says_only_the_id(tmp_path: Path) -> None:
    _, lines = build(tmp_path, FakeBuilder(), "q=1")
    assert [line["stream"] for line in lines if "stream" in line] == [f"{IMAGE}\n"]


def test_a_failed_step_gives_its_exit_code(tmp_path: Path) -> None:
    status, lines = build(tmp_path, FakeBuilder(StepFailed("/bin/sh -c false", 3, 2)))
    message = "The command '/bin/sh -c false' returned a non-zero code: 3"
    assert status == 200
    assert lines[-1] == {"errorDetail": {"code": 3, "message": message}, "error": message}


def test_an_error_before_the_first_word_is_a_status(tmp_path: Path) -> None:
    error = InvalidArgument("dockerfile parse error")
    status, lines = build(tmp_path, FakeBuilder(error, at_once=True))
    assert (status, lines) == (400, [{"message": "dockerfile parse error"}])


def test_parameters_reach_the_builder(tmp_path: Path) -> None:
    builder = FakeBuilder()
    query = (
        "t=a:1&t=b&dockerfile=D&nocache=1&pull=true&target=x&memory=7&networkmode=host"
        '&buildargs={"A":"1","B":null}&labels={"l":"v"}&cachefrom=["c"]&extrahosts=h:1.2.3.4'
        '&ulimits=[{"Name":"nofile","Soft":1,"Hard":2}]'
    )
    build(tmp_path, builder, query)
    request = builder.request
    assert request.tags == ("a:1", "b")
    assert (request.dockerfile, request.target, request.network) == ("D", "x", "host")
    assert request.no_cache
    assert request.pull
    assert request.build_args == {"A": "1", "B": None}
    assert request.labels == {"l": "v"}
    assert request.cache_from == ("c",)
    assert request.limits.memory == 7
    assert request.limits.ulimits[0].hard == 2


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("buildargs={", 400, "error reading buildargs: invalid JSON"),
        ("t=A", 400, "invalid reference format"),
        ("version=2", 501, "BuildKit is not supported by Pier; set DOCKER_BUILDKIT=0"),
    ],
)
def test_what_is_no_build_is_refused(tmp_path: Path, query: str, status: int, message: str) -> None:
    found, lines = build(tmp_path, FakeBuilder(), query)
    assert found == status
    assert lines[0]["message"].startswith(message)


def test_pruning_passes_its_bounds_on(tmp_path: Path) -> None:
    class Pruning(FakeBuilder):
        async def prune(self, request: PruneRequest) -> object:
            self.pruned = request

            class Pruned:
                keys = ("k",)
                bytes_reclaimed = 5

            return Pruned()

    async def ask(client: Client) -> Any:
        return (await client.ask("POST", "/build/prune?all=1&reserved-space=9")).json

    async def main() -> None:
        builder = Pruning()
        async with connected(tmp_path) as client:
            client.engine.builder = builder
            assert await ask(client) == {"CachesDeleted": ["k"], "SpaceReclaimed": 5}
            assert builder.pruned == PruneRequest(everything=True, keep_bytes=9)
            client.engine.builder = None
            assert await ask(client) == {"CachesDeleted": None, "SpaceReclaimed": 0}

    asyncio.run(main())
