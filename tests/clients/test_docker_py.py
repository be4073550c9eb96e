"""docker-py against a whole daemon: what test suites and tools out there do."""

import gc
import io
import tarfile
import threading
import warnings
from collections.abc import Iterator

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageLoadError, ImageNotFound, NotFound

from tests.daemon import Daemon


@pytest.fixture(autouse=True)
def sockets_docker_py_forgets() -> Iterator[None]:
    """It leaves some open; collected here, or they would fail a test that comes later."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    found = docker.DockerClient(base_url=daemon.host, version="auto")
    yield found
    found.close()


def test_run_returns_the_output(client: docker.DockerClient) -> None:
    assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    with pytest.raises(ContainerError, match="oops"):
        client.containers.run("busybox", ["sh", "-c", "echo oops >&2; exit 3"], remove=True)


def test_a_detached_container(client: docker.DockerClient) -> None:
    box = client.containers.run("busybox", "sleep 300", detach=True, name="py", labels={"a": "b"})
    try:
        box.reload()
        assert box.status == "running"
        assert client.containers.list(filters={"label": "a=b"}) == [box]
        code, output = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
        assert (code, output) == (4, (b"out\n", b"err\n"))
        assert box.stats(stream=False)["memory_stats"]["usage"] > 0
        assert box.top()["Processes"]
        box.pause()
        box.unpause()
        box.rename("py2")
    finally:
        box.remove(force=True)
    with pytest.raises(NotFound):
        client.containers.get("py2")


def test_logs_are_streamed(client: docker.DockerClient) -> None:
    box = client.containers.run("busybox", ["sh", "-c", "echo a; echo b"], detach=True)
    assert b"".join(box.logs(stream=True, follow=True)) == b"a\nb\n"
    assert box.wait()["StatusCode"] == 0
    assert box.logs(tail=1) == b"b\n"
    box.remove()


def test_attached_input(client: docker.DockerClient) -> None:
    box = client.containers.create("busybox", "cat", stdin_open=True)
    stream = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    raw = stream._sock
    raw.sendall(b"over\n")
    header = raw.recv(8)
    assert header[0] == 1
    assert raw.recv(100) == b"over\n"
    stream.close()
    box.remove(force=True)


def test_archives_go_in_and_out(client: docker.DockerClient) -> None:
    box = client.containers.create("busybox", "true")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"xy"))
    assert box.put_archive("/tmp", stream.getvalue())
    chunks, stat = box.get_archive("/tmp/f")
    assert (stat["name"], stat["size"]) == ("f", 2)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        member = tar.extractfile("f")
        assert member is not None
        assert member.read() == b"xy"
    box.remove()


def test_errors_are_told_apart(client: docker.DockerClient) -> None:
    with pytest.raises(ImageNotFound):
        client.images.get("nosuchimage")
    with pytest.raises(NotFound):
        client.volumes.get("nosuchvolume")
    with pytest.raises(APIError, match="Invalid container name"):
        client.containers.create("busybox", "true", name="b a d")


def test_networks_and_volumes(client: docker.DockerClient, daemon: Daemon) -> None:
    pool = docker.types.IPAMPool(subnet=f"10.213.{daemon.subnet.split('.')[-1]}.0/24")
    network = client.networks.create("pynet", ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    volume = client.volumes.create("pyvol", labels={"x": "y"})
    mount = docker.types.Mount("/v", "pyvol")
    box = client.containers.run(
        "busybox", "sleep 300", detach=True, network="pynet", mounts=[mount]
    )
    network.reload()
    assert box.id in network.attrs["Containers"]
    box.remove(force=True)
    network.remove()
    volume.remove()


def test_images_travel(client: docker.DockerClient) -> None:
    image = client.images.get("busybox")
    data = b"".join(image.save(named=True))
    assert client.images.load(data)[0].id == image.id
    assert image.tag("pytag", "1")
    client.images.remove("pytag:1")


def test_events(client: docker.DockerClient) -> None:
    seen: list[str] = []
    stream = client.events(decode=True, filters={"type": "container"})
    ready = threading.Event()

    def watch() -> None:
        ready.set()
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    thread = threading.Thread(target=watch)
    thread.start()
    ready.wait()
    client.containers.run("busybox", "true", remove=True)
    thread.join(10)
    stream.close()
    assert [a for a in seen if a in ("create", "start", "die", "destroy")] == [
        "create", "start", "die", "destroy",
    ]  # fmt: skip


def build(client: docker.DockerClient, *lines: str, **options: object) -> list[str]:
    """What the build of a Dockerfile says, message by message."""
    file = io.BytesIO("\n".join(("FROM busybox", *lines)).encode())
    stream = client.api.build(fileobj=file, decode=True, rm=True, **options)
    return [message.get("stream", "") for message in stream]


def test_what_a_build_writes_to_stderr_is_red(client: docker.DockerClient) -> None:
    told = build(client, "RUN echo bad >&2", "RUN echo good", nocache=True)
    assert "\x1b[91mbad\n\x1b[0m" in told
    assert "good\n" in told


def test_only_the_images_of_cache_from_are_the_cache(client: docker.DockerClient) -> None:
    lines = ("ENV a=b", "RUN touch /x", "RUN touch /y")
    build(client, *lines, tag="cached:1")
    try:
        for source, hits in (("cached:1", 3), ("no-such:1", 0)):
            told = build(client, *lines, cache_from=[source])
            assert sum("Using cache" in text for text in told) == hits
    finally:
        client.images.remove("cached:1")


def test_what_is_no_archive_of_images_is_told_in_the_stream(client: docker.DockerClient) -> None:
    with pytest.raises(ImageLoadError, match="unexpected EOF"):
        client.images.load(b"abc")


def test_the_mac_address_of_a_container_is_that_of_its_network(
    client: docker.DockerClient,
) -> None:
    made = client.api.create_container("busybox", mac_address="02:42:ac:11:65:43")
    try:
        config = client.api.inspect_container(made)["Config"]
        assert config["MacAddress"] == "02:42:ac:11:65:43"
    finally:
        client.api.remove_container(made)
