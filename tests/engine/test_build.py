"""Builds by the official client, by Pier's own, and by docker-py: what goes in and comes back."""

import gc
import io
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import docker as docker_py
import pytest
from docker.errors import BuildError

from tests.daemon import Daemon
from tests.engine.build_support import ID_LENGTH, Directory, leftovers, said
from tests.root.build_bench import context_tar

pytestmark = pytest.mark.usefixtures("classic_builder")


@pytest.fixture
def client(daemon: Daemon) -> Iterator[docker_py.DockerClient]:
    client = docker_py.DockerClient(base_url=daemon.host)
    yield client
    client.close()
    with warnings.catch_warnings():  # sockets docker-py forgets would fail a later test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_the_official_client_builds_tags_and_runs(
    daemon: Daemon, context: Directory, tag: str, tmp_path: Path
) -> None:
    context.dockerfile("FROM busybox\nCOPY f /f\nRUN cat /f > /g\nLABEL a=b\n").write(f="hello\n")
    iidfile = tmp_path / "iid"
    output = daemon.docker(
        "build", "-t", tag, "-t", f"{tag}:2", "--label", "c=d", "--iidfile", str(iidfile),
        str(context),
    )  # fmt: skip
    assert "Step 1/4 : FROM busybox" in output
    image_id = iidfile.read_text()
    short = image_id.removeprefix("sha256:")[:12]
    assert output.endswith(
        f"Successfully built {short}\nSuccessfully tagged {tag}:latest\n"
        f"Successfully tagged {tag}:2\n"
    )
    assert daemon.docker("run", "--rm", f"{tag}:2", "cat", "/g") == "hello\n"
    shown = json.loads(daemon.docker("image", "inspect", tag))[0]
    assert shown["Id"] == image_id
    assert shown["Config"]["Labels"] == {"a": "b", "c": "d"}
    assert leftovers(daemon) == []


@pytest.mark.parametrize("program", ["docker", "pier"])
def test_contexts_and_dockerfiles_on_stdin(
    daemon: Daemon, context: Directory, program: str
) -> None:
    run: Callable[..., str] = getattr(daemon, program)
    alone = run("build", "-q", "-", stdin=b"FROM busybox\nRUN echo 1 > /f\n")
    assert len(alone.strip()) == ID_LENGTH
    context.write(f="x")
    mixed = run("build", "-q", "-f", "-", str(context), stdin=b"FROM busybox\nCOPY f /f\n")
    assert daemon.docker("run", "--rm", mixed.strip(), "cat", "/f") == "x"
    archive = context_tar({"d/Docker": "FROM busybox\nCOPY f /f\n", "f": "y"})
    whole = run("build", "-q", "-f", "d/Docker", "-", stdin=archive)
    assert daemon.docker("run", "--rm", whole.strip(), "cat", "/f") == "y"


@pytest.mark.parametrize("program", ["docker", "pier"])
@pytest.mark.parametrize("ignored", ["", "nothing\n"])
def test_a_dockerfile_from_elsewhere_is_no_part_of_the_context(
    daemon: Daemon, context: Directory, tag: str, program: str, ignored: str
) -> None:
    run: Callable[..., str] = getattr(daemon, program)
    context.write(f="x")
    if ignored:
        (context.path / ".dockerignore").write_text(ignored)
    text = f"FROM busybox\nLABEL of={tag}\nCOPY . /c\nRUN ls -A /c > /listed\n".encode()
    outside = context.path.parent / "Outside"
    outside.write_bytes(text)
    output = ""
    for words, stdin in (("-", text), ("-", text), (str(outside), b"")):
        output = run("build", "-t", tag, "-f", words, str(context), stdin=stdin)
    assert said(output, "Using cache") == 3
    listed = daemon.docker("run", "--rm", tag, "cat", "/listed")
    assert listed == ".dockerignore\nf\n" * bool(ignored) + "f\n" * (not ignored)
    if ignored:
        assert daemon.docker("run", "--rm", tag, "cat", "/c/.dockerignore") == ignored


def test_docker_py_builds(client: docker_py.DockerClient, context: Directory, tag: str) -> None:
    context.dockerfile("FROM busybox\nARG A\nRUN echo $A > /a\n")
    image, log = client.images.build(
        path=str(context), tag=tag, buildargs={"A": "1"}, labels={"l": "m"}, rm=True
    )
    assert image.tags == [f"{tag}:latest"]
    assert image.labels == {"l": "m"}
    text = "".join(message.get("stream", "") for message in log)
    assert "Step 3/3 : RUN echo $A > /a" in text
    assert client.containers.run(tag, ["cat", "/a"], remove=True) == b"1\n"


def test_docker_py_raises_a_build_error_with_the_log(client: docker_py.DockerClient) -> None:
    file = io.BytesIO(b"FROM busybox\nRUN echo before; exit 3\n")
    with pytest.raises(BuildError) as caught:
        client.images.build(fileobj=file)
    assert caught.value.msg == (
        "The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3"
    )
    messages = list(caught.value.build_log)
    assert {"stream": "before\n"} in messages
    assert messages[-1]["errorDetail"]["code"] == 3
