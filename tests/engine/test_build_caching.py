"""The cache of builds: what it keeps, why a step is not in it, how it is pruned and shared."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import docker as docker_py
import pytest

from tests.clients.registries import pier_registry
from tests.daemon import Daemon
from tests.docker_client import needs_docker_28
from tests.engine.build_support import Directory, said
from tests.root.build_bench import busybox_tar, context_tar

pytestmark = pytest.mark.usefixtures("classic_builder")


def test_the_second_build_is_all_cache_and_a_changed_file_is_named(
    daemon: Daemon, context: Directory
) -> None:
    context.dockerfile(
        "FROM busybox\nCOPY deps /deps\nRUN cat /deps > /installed\nCOPY src /src\nRUN cat /src\n"
    ).write(deps="a", src="b")
    first = daemon.pier("build", str(context))
    assert said(first, "Using cache") == 0
    second = daemon.pier("build", "--explain", str(context))
    assert said(second, "Using cache") == 4
    assert said(second, "Not cached") == 0
    assert second.splitlines()[-1] == first.splitlines()[-1]
    context.write(src="c")
    third = daemon.pier("build", "--explain", str(context))
    assert said(third, "Using cache") == 2
    lines = [line for line in third.splitlines() if "Not cached" in line]
    assert lines == [" ---> Not cached: file src changed", " ---> Not cached: parent changed"]
    assert "Using cache" not in daemon.docker("build", "--no-cache", str(context))


def test_a_changed_argument_is_named(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nARG VERSION\nRUN echo for-$VERSION\n")
    daemon.pier("build", "--build-arg", "VERSION=1", str(context))
    output = daemon.pier("build", "--explain", "--build-arg", "VERSION=2", str(context))
    assert "Not cached: arg VERSION was '1', is '2'" in output


def test_the_api_explains(daemon: Daemon) -> None:
    archive = context_tar({"Dockerfile": "FROM busybox\nRUN echo never before\n"})
    explained = [
        message["aux"]["Explain"]
        for message in messages(daemon, "/build?explain=1", archive)
        if "Explain" in message.get("aux", {})
    ]
    (told,) = explained
    assert told["Step"] == 2
    assert told["Changes"][0]["After"] == "RUN echo never before"


def messages(daemon: Daemon, path: str, body: bytes) -> list[Any]:
    client = docker_py.APIClient(base_url=daemon.host)
    try:
        answer = client.post(client._url(path), data=body)
        return [json.loads(line) for line in answer.text.splitlines()]
    finally:
        client.close()


def test_cache_from_an_image(own_daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN echo 1 > /one\nRUN echo 2 > /two\n")
    own_daemon.docker("build", "-t", "warm", str(context))
    own_daemon.docker("builder", "prune", "-af")
    output = own_daemon.docker("build", "--cache-from", "warm", str(context))
    assert said(output, "Using cache") == 2


@needs_docker_28
def test_the_cache_is_shown_and_pruned(own_daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN head -c 100000 /dev/zero > /z\n")
    own_daemon.docker("build", str(context))
    own_daemon.docker("image", "prune", "-f")
    rows = json.loads(own_daemon.docker("system", "df", "-v", "--format", "json"))["BuildCache"]
    sizes = [row["Size"] for row in rows]
    assert any(size.startswith("100") for size in sizes), sizes
    pruned = own_daemon.docker("builder", "prune", "-af")
    assert "Total:\t100" in pruned or "Total reclaimed space: 100" in pruned, pruned
    rows = json.loads(own_daemon.docker("system", "df", "-v", "--format", "json"))["BuildCache"]
    assert rows == []
    assert "Using cache" not in own_daemon.docker("build", str(context))


def test_two_empty_data_roots_give_the_same_image(tmp_path: Path, context: Directory) -> None:
    context.dockerfile(
        "FROM base AS one\nRUN mkdir /d && date > /dev/null && echo x > /d/f\n"
        "FROM base\nWORKDIR /w\nCOPY f g/\nCOPY --from=one /d /d\nRUN ln -s f /l; touch /d/new\n"
    ).write(f="content")
    base = busybox_tar()
    ids = []
    for number in range(2):
        with Daemon(tmp_path / f"daemon{number}") as daemon:
            base_image = context_tar({"Dockerfile": "FROM scratch\nADD base.tar /\n",
                                      "base.tar": base})  # fmt: skip
            epoch = ("--build-arg", "SOURCE_DATE_EPOCH=1600000000")
            daemon.docker("build", *epoch, "-t", "base", "-", stdin=base_image)
            os.utime(context.path / "f")  # as a fresh checkout: later than the epoch
            ids.append(daemon.docker("build", "-q", *epoch, str(context)))
            if not number:
                time.sleep(1.1)  # what is compared must not depend on the second
    assert ids[0] == ids[1]


def test_builds_at_once_share_their_steps(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN sleep 0.3; cat /proc/sys/kernel/random/uuid > /u\n")
    ids: list[str] = []
    clients = [
        threading.Thread(target=lambda: ids.append(daemon.docker("build", "-q", str(context))))
        for _ in range(4)
    ]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1


@pytest.mark.parametrize("program", ["docker", "pier"])
def test_a_cache_that_is_not_here_is_pulled_when_a_step_is_in_it(
    own_daemon: Daemon, context: Directory, tmp_path: Path, program: str
) -> None:
    context.dockerfile("FROM busybox\nRUN echo 1 > /one\nENV A=b\nRUN echo 2 > /two\n")
    run = getattr(own_daemon, program)
    with pier_registry(tmp_path / "registry") as host:
        warm = f"{host}/warm:1"
        own_daemon.docker("build", "-t", warm, str(context))
        own_daemon.docker("push", "-q", warm)

        def forget() -> None:
            own_daemon.docker("rmi", warm)
            own_daemon.docker("builder", "prune", "-af")

        forget()
        output = run("build", "--cache-from", warm, "-t", "made", str(context))
        assert "Downloaded newer image" in output
        assert said(output, "Using cache") >= 2
        assert "Running in" not in output
        assert own_daemon.docker("run", "--rm", "made", "cat", "/one", "/two") == "1\n2\n"
        forget()
        own_daemon.docker("rmi", "made")
        context.dockerfile("FROM busybox\nRUN echo other > /one\n")
        output = run("build", "--cache-from", warm, str(context))
        assert "Downloaded" not in output
        assert said(output, "Using cache") == 0
    context.dockerfile("FROM busybox\nRUN echo unreachable > /one\n")
    output = run("build", "--cache-from", warm, str(context))
    assert f"[Warning] importing cache from {warm} failed" in output
    assert "Successfully built" in output


def test_the_cache_is_pruned_by_what_it_is(own_daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox\nRUN --mount=type=cache,target=/c head -c 50000 /dev/zero > /c/f\n"
        "RUN head -c 100000 /dev/zero > /z\n"
    )
    own_daemon.docker("build", "-t", "kept", str(context))

    def rows() -> list[tuple[str, str, str]]:
        shown = own_daemon.docker("system", "df", "-v", "--format", "{{json .}}")
        return [(row["CacheType"], row["Size"], row["Shared"])
                for row in json.loads(shown)["BuildCache"]]  # fmt: skip

    assert ("exec.cachemount", "50kB", "false") in rows()
    assert ("regular", "100kB", "true") in rows()
    pruned = own_daemon.docker("builder", "prune", "-f", "--filter", "type=regular")
    assert "100kB" not in pruned
    pruned = own_daemon.docker("builder", "prune", "-f", "--filter", "type=exec.cachemount")
    assert "50kB" in pruned
    assert ("regular", "100kB", "true") in rows()
    own_daemon.docker("rmi", "kept")
    for words in (("--filter", "until=1h"), ("--keep-storage", "1MB"), ("--filter", "inuse=true")):
        own_daemon.docker("builder", "prune", "-af", *words)
    assert ("regular", "100kB", "false") in rows()
    refused = own_daemon.docker("builder", "prune", "-f", "--filter", "inuse=maybe", status=1)
    assert "invalid filter 'inuse=maybe'" in refused
    own_daemon.docker("builder", "prune", "-af", "--filter", "description=none")
    assert "100kB" in own_daemon.docker("builder", "prune", "-af")
