"""`POST /build`: what is asked reaches the builder, what it tells becomes Docker's stream."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pier.build.cache import Change, Miss
from pier.build.progress import (
    BuildEvent,
    ImageBuilt,
    ImageTagged,
    StepOutput,
    StepRuns,
    StepStarted,
)
from pier.build.pruning import PruneRequest
from pier.build.request import BuildRequest, BuildResult, StepFailed
from pier.errors import InvalidArgument
from tests.unit.api_client import Client, connected

IMAGE = "sha256:" + "1" * 64


class FakeBuilder:
    def __init__(
        self,
        error: Exception | None = None,
        *,
        at_once: bool = False,
        extra: Sequence[BuildEvent] = (),
        files: Sequence[bytes] = (),
    ) -> None:
        self.error = error
        self.extra = extra
        self.files = files
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
        for event in self.extra:
            progress(event)
        if self.error:
            raise self.error
        progress(ImageBuilt(id=IMAGE))
        progress(ImageTagged(reference="a:1"))
        return BuildResult(IMAGE, ("a:1",), tuple(io.BytesIO(data) for data in self.files))


def build(
    tmp_path: Path,
    builder: FakeBuilder,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, list[Any]]:
    """Status, and the documents of the stream."""

    async def main() -> tuple[int, list[Any]]:
        async with connected(tmp_path) as client:
            client.engine.builder = builder
            answer = await client.ask("POST", f"/build?{query}", b"context", **(headers or {}))
            return answer.status, [json.loads(line) for line in answer.body.splitlines() if line]

    return asyncio.run(main())


def test_a_build_is_told_in_the_classic_words(tmp_path: Path) -> None:
    builder = FakeBuilder()
    status, lines = build(tmp_path, builder)
    assert status == 200
    assert lines == [
        {"stream": "Step 1/1 : FROM busybox"},
        {"stream": "\n"},
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


def test_what_only_pier_has_reaches_the_builder(tmp_path: Path) -> None:
    builder = FakeBuilder()
    query = (
        'outputs=[{"Type":"tar","Attrs":{}},{"Type":"image"}]&contexts={"a":"input:contexts/0"}'
        "&parcel=1&allow=security.insecure"
    )
    secrets = base64.b64encode(b'{"s":"AP8="}').decode()
    auths = base64.b64encode(b'{"https://index.docker.io/v1/":{"username":"u"}}').decode()
    headers = {"X-Pier-Build-Secrets": secrets, "X-Registry-Config": auths}
    build(tmp_path, builder, query, headers)
    request = builder.request
    assert [output.type for output in request.outputs] == ["tar", "image"]
    assert request.contexts == {"a": "input:contexts/0"}
    assert request.parcel
    assert request.allow_insecure
    assert request.secrets == {"s": b"\x00\xff"}
    assert request.auths["https://index.docker.io/v1/"].username == "u"
    assert "AP8" not in repr(request)
    assert "x00" not in repr(request)


def test_explanations_come_beside_the_steps(tmp_path: Path) -> None:
    change = Change("file a", "1", "2")
    run = StepRuns(number=2, id="1" * 64, miss=Miss("an input changed", (change,)))
    _, lines = build(tmp_path, FakeBuilder(extra=(run,)), "explain=1")
    at = lines.index({"stream": " ---> Not cached: file a changed\n"})
    assert lines[at - 1] == {"stream": f" ---> Running in {'1' * 12}\n"}
    changes = [{"Name": "file a", "Before": "1", "After": "2"}]
    explained = {"Step": 2, "Reason": "file a changed", "Changes": changes}
    assert lines[at + 1] == {"aux": {"Explain": explained}}


def test_a_failed_step_names_its_line_to_those_who_ask(tmp_path: Path) -> None:
    _, lines = build(tmp_path, FakeBuilder(StepFailed("false", 3, 2)), "lines=1&q=1")
    assert {"stream": "working\n"} in lines
    assert lines[-2] == {"aux": {"Failed": {"Line": 2}}}


def test_outputs_follow_the_messages_as_they_are(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with connected(tmp_path) as client:
            client.engine.builder = FakeBuilder(files=(b"{}\r\n", b""))
            return (await client.ask("POST", "/build", b"context")).body

    body = asyncio.run(main())
    assert body.endswith(
        b'{"aux":{"Output":{"Index":0,"Size":4}}}\r\n{}\r\n'
        b'{"aux":{"Output":{"Index":1,"Size":0}}}\r\n'
    )


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("outputs={", 400, "error reading outputs: invalid JSON"),
        ("allow=all", 400, "unknown entitlement all"),
        ('ssh={"a":"/etc/passwd"}', 400, "ssh agent a: /etc/passwd is not a socket"),
        ("securityopt=x", 400, "The daemon on this platform does not support"),
        ("isolation=hyperv", 400, "invalid isolation (hyperv)"),
        ("buildargs={", 400, "error reading buildargs: invalid JSON"),
        ("t=A", 400, "invalid reference format"),
        ("version=2", 501, "BuildKit is not supported by Pier; set DOCKER_BUILDKIT=0"),
    ],
)
def test_what_is_no_build_is_refused(tmp_path: Path, query: str, status: int, message: str) -> None:
    found, lines = build(tmp_path, FakeBuilder(), query)
    assert found == status
    assert lines[0]["message"].startswith(message)


PRUNE = "/build/prune?all=1&reserved-space=9&max-used-space=10&min-free-space=11&filters=" + quote(
    json.dumps({"type": ["regular"], "inuse": {"false": True}})
)


def test_pruning_passes_its_bounds_on(tmp_path: Path) -> None:
    class Pruning(FakeBuilder):
        async def prune(self, request: PruneRequest) -> object:
            self.pruned = request

            class Pruned:
                keys = ("k",)
                bytes_reclaimed = 5

            return Pruned()

    async def ask(client: Client) -> Any:
        return (await client.ask("POST", PRUNE)).json

    async def main() -> None:
        builder = Pruning()
        async with connected(tmp_path) as client:
            client.engine.builder = builder
            assert await ask(client) == {"CachesDeleted": ["k"], "SpaceReclaimed": 5}
            assert builder.pruned == PruneRequest(
                everything=True,
                filters={"type": "regular", "inuse": "false"},
                reserved_bytes=9,
                max_used_bytes=10,
                min_free_bytes=11,
            )
            several = quote(json.dumps({"id": ["a", "b"]}))
            answer = await client.ask("POST", f"/build/prune?filters={several}")
            assert (answer.status, answer.json["message"]) == (
                400,
                "filters expect only one value: id",
            )
            client.engine.builder = None
            assert await ask(client) == {"CachesDeleted": None, "SpaceReclaimed": 0}

    asyncio.run(main())
