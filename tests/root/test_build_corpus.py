"""Every Dockerfile of the corpus, built for real, with what is in the image afterwards."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pier.build.request import BuildRequest, BuildResult, StepFailed
from pier.errors import PierError
from tests.root.build_bench import Bench, Shown, context_tar, open_bench
from tests.root.build_corpus import Case, load_corpus

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="needs busybox-static"),
]


@dataclass
class Shop:
    runner: asyncio.Runner
    bench: Bench


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        root = tmp_path_factory.mktemp("corpus") / "pier"
        bench = runner.run(stack.enter_async_context(open_bench(root)))
        yield Shop(runner, bench)
        runner.run(stack.aclose())


def request_of(case: Case) -> BuildRequest:
    fields = dict(case.request)
    secrets = {name: text.encode() for name, text in fields.pop("secrets", {}).items()}
    return replace(msgspec.convert(fields, BuildRequest), secrets=secrets)


@pytest.mark.parametrize("case", load_corpus(), ids=lambda case: case.name)
def test_corpus(shop: Shop, case: Case) -> None:
    data = context_tar({"Dockerfile": case.dockerfile, **case.files})
    failure: PierError | None = None
    result: BuildResult | None = None
    try:
        result = shop.runner.run(shop.bench.build_tar(data, request_of(case)))
    except PierError as error:
        failure = error
    if failure is not None and not case.error:
        raise failure
    files = shop.bench.files(result) if result is not None else {}
    for line in case.expect:
        check(line, shop.bench, result, failure, files)
    assert shop.bench.left_behind() == []


def check(
    line: str,
    bench: Bench,
    result: BuildResult | None,
    failure: PierError | None,
    files: dict[str, Shown],
) -> None:
    kind, _, rest = line.partition(" ")
    match kind:
        case "error":
            assert rest in str(failure)
        case "code" | "line":
            assert isinstance(failure, StepFailed)
            assert getattr(failure, kind) == int(rest)
        case "output":
            assert rest in bench.output
        case "text":
            assert rest in bench.text
        case "nohost":
            assert not Path(rest).exists()
        case _ if kind.startswith("!"):
            assert line[1:] not in files
        case _ if kind.startswith("/"):
            check_file(line, files)
        case _:
            assert result is not None
            check_image(kind, rest, bench, result)


def check_image(kind: str, rest: str, bench: Bench, result: BuildResult) -> None:
    config = bench.image(result).config
    told = [entry.created_by for entry in config.history]
    match kind:
        case "config":
            name, _, wanted = rest.partition(" ")
            actual: Any = msgspec.to_builtins(getattr(config.run, name))
            assert json.loads(json.dumps(actual)) == json.loads(wanted)
        case "author":
            assert config.author == rest
        case "layers":
            assert len(config.diff_ids) == int(rest)
        case "history":
            assert rest in told
        case "nohistory":
            assert not any(rest in line for line in told)
        case _:
            raise AssertionError(f"unknown expectation {kind}")


def check_file(line: str, files: dict[str, Shown]) -> None:
    line, quote, content = line.partition(' "')
    words = line.split(" ")
    attributes = []
    while words[-1].isdecimal() or words[-1].replace(":", "").isdecimal():
        attributes.append(words.pop())
    path = " ".join(words)
    assert path in files
    shown = files[path]
    for attribute in attributes:
        if ":" in attribute:
            assert f"{shown.uid}:{shown.gid}" == attribute
        else:
            assert f"{shown.mode & 0o7777:04o}" == attribute
    if quote:
        assert shown.content == json.loads('"' + content)
