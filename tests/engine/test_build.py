"""Builds through a whole daemon: by the official client, by Pier's own, and by docker-py."""

import gc
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker as docker_py
import pytest
from docker.errors import BuildError
from typing_extensions import override

from tests.clients.registries import pier_registry
from tests.daemon import Daemon, wait_until
from tests.docker_client import needs_docker_28
from tests.root.build_bench import busybox_tar, context_tar

PIER = [sys.executable, "-m", "pier"]
READY_SANDBOXES = 8
ID_LENGTH = len("sha256:") + 64
_tags = (f"t{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def classic_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")


@pytest.fixture
def tag() -> str:
    return next(_tags)


class Directory:
    """A build context; `write` makes and changes its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    @override
    def __str__(self) -> str:
        return str(self.path)

    def write(self, **files: str) -> "Directory":
        for name, text in files.items():
            (self.path / name).write_text(text)
        return self

    def dockerfile(self, text: str) -> "Directory":
        return self.write(Dockerfile=text)


@pytest.fixture
def context(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "context")


@pytest.fixture
def client(daemon: Daemon) -> Iterator[docker_py.DockerClient]:
    client = docker_py.DockerClient(base_url=daemon.host)
    yield client
    client.close()
    with warnings.catch_warnings():  # sockets docker-py forgets would fail a later test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def leftovers(daemon: Daemon) -> list[str]:
    """What a build that is over must not leave: directories, mounts, groups, processes, places."""
    found: list[str] = []
    for place in (daemon.exec_root / "builds", daemon.data_root / "tmp"):
        found += [str(path) for path in place.iterdir()] if place.is_dir() else []
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if f"{daemon.exec_root}/builds" in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/pier-test/{daemon.bridge}/*/")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"pier-test/{daemon.bridge}/*/")]
    links = subprocess.run(["ip", "-o", "link", "show", "master", daemon.bridge],
                           capture_output=True, text=True, check=False).stdout  # fmt: skip
    if links.count("veth") > READY_SANDBOXES:
        found.append(links)
    return found


def processes(mark: str) -> list[str]:
    """Command lines that hold `mark`; every test's sleep has its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if f"sleep\0{mark}\0".encode() in line:
            found.append(str(path))
    return found


def said(output: str, words: str) -> int:
    return output.count(words)


# The classic stream and its clients


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


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM busybox\n\nRUM x\n", "dockerfile parse error on line 3: unknown instruction: RUM"),
        ("FROM busybox\nCOPY none /\n", "file not found in build context"),
        ("FROM busybox\nCOPY --from=later . /\n", "later"),
        ("# nothing\n", "file with no instructions"),
        ("FROM busybox\nRUN --mount=type=nothing true\n", "line 2"),
        ("FROM busybox\nCOPY ../../etc/passwd /p\n", "file not found in build context"),
    ],
)
def test_errors_name_the_place(
    daemon: Daemon, context: Directory, dockerfile: str, words: str
) -> None:
    context.dockerfile(dockerfile)
    assert words in daemon.docker("build", str(context), status=1)
    assert leftovers(daemon) == []


def test_a_failed_run_is_told_with_its_line_and_code(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\n\nRUN echo spoken; exit 7\n")
    told = "The command '/bin/sh -c echo spoken; exit 7' returned a non-zero code: 7"
    theirs = daemon.docker("build", str(context), status=7)
    assert "spoken\n" in theirs
    assert told in theirs
    assert f"Dockerfile:3\n{told}\n" in daemon.pier("build", str(context), status=7)
    for program in (daemon.docker, daemon.pier):
        assert "spoken\n" in program("build", "-q", str(context), status=7)


# The cache


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


# Pier's extensions


def test_outputs_of_every_kind(daemon: Daemon, context: Directory, tag: str) -> None:
    context.dockerfile(
        "FROM busybox AS make\nRUN mkdir -p /out/d\n"
        "RUN echo 1 > /out/d/f && ln -s /etc/passwd /out/l\n"
        "FROM scratch\nCOPY --from=make /out /\n"
    )
    where = context.path.parent
    before = daemon.docker("images", "-aq")
    daemon.pier("build", "-o", f"type=local,dest={where}/tree", str(context))
    assert (where / "tree/d/f").read_text() == "1\n"
    assert (where / "tree/l").readlink() == Path("/etc/passwd")
    daemon.pier("build", "-o", f"{where}/short", str(context))
    assert (where / "short/d/f").read_text() == "1\n"
    assert daemon.docker("images", "-aq") == before
    daemon.pier("build", "-o", f"type=tar,dest={where}/t.tar", str(context))
    with tarfile.open(where / "t.tar") as tar:
        assert {"d", "d/f", "l"} <= set(tar.getnames())
    done = daemon.run([*PIER, "build", "-o", "-", str(context)])
    assert done.stdout == (where / "t.tar").read_bytes()
    assert b"Step 1/5" in done.stderr
    daemon.pier("build", "-t", tag, "-o", f"type=oci,dest={where}/oci.tar", str(context))
    with tarfile.open(where / "oci.tar") as tar:
        assert {"oci-layout", "index.json"} <= set(tar.getnames())
    daemon.docker("rmi", tag)
    assert f"{tag}:latest" in daemon.docker("load", "-i", str(where / "oci.tar"))
    assert leftovers(daemon) == []


def test_a_local_output_cannot_leave_its_directory(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox AS make\nRUN mkdir /out && ln -s ../../outside /out/link\n"
        "FROM scratch\nCOPY --from=make /out /\n"
    )
    where = context.path.parent
    (where / "outside").mkdir()
    (where / "tree").mkdir()
    (where / "tree/link").symlink_to(where / "outside")
    daemon.pier("build", "-o", f"{where}/tree", str(context))
    context.dockerfile("FROM busybox AS make\nRUN mkdir -p /out/link && echo > /out/link/escaped\n"
                       "FROM scratch\nCOPY --from=make /out /\n")  # fmt: skip
    daemon.pier("build", "-o", f"{where}/tree", str(context), status=1)
    assert list((where / "outside").iterdir()) == []


def test_secrets_are_seen_and_leave_no_trace(
    daemon: Daemon, context: Directory, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    context.dockerfile(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=file test $(wc -c < /run/secrets/file) = 9\n"
        "RUN --mount=type=secret,id=env,env=TOKEN test ${#TOKEN} = 18\n"
        "RUN test ! -e /run/secrets\n"
    )
    secret = context.path.parent / "secret"
    secret.write_text("of-a-file")
    monkeypatch.setenv("MY_TOKEN", "of-the-environment")
    words = ["--secret", f"id=file,src={secret}", "--secret", "id=env,env=MY_TOKEN"]
    daemon.pier("build", "-t", tag, *words, str(context))
    archive = daemon.run(["docker", "save", tag]).stdout
    assert b"of-a-file" not in archive
    assert b"of-the-environment" not in archive
    context.dockerfile("FROM busybox\nRUN --mount=type=secret,id=no,required cat /run/secrets/no\n")
    assert "secret no: not found" in daemon.pier("build", str(context), status=1)


def test_an_agent_is_forwarded(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && nc local:$SSH_AUTH_SOCK"
        " < /dev/null | grep -q agent || test -S $SSH_AUTH_SOCK\n"
    )
    path = context.path.parent / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        daemon.pier("build", "--ssh", f"default={path}", str(context))
    refused = daemon.pier("build", "--ssh", f"default={context}/Dockerfile", str(context), status=1)
    assert "is not a socket" in refused


def test_named_contexts(daemon: Daemon, context: Directory) -> None:
    other = Directory(context.path.parent / "other").write(f="from elsewhere", secret="no")
    (other.path / ".dockerignore").write_text("secret\n")
    context.dockerfile(
        "FROM base\nCOPY --from=other . /other\nCOPY . /main\nCOPY --from=img /bin/busybox /b\n"
        "RUN cat /other/f && test ! -e /other/secret && test -f /main/Dockerfile "
        "&& test $(ls -A /main | wc -l) = 1\n"
    )
    daemon.pier(
        "build", "--build-context", f"other={other}", "--build-context", "base=docker-image://busybox",
        "--build-context", "img=docker-image://busybox", str(context),
    )  # fmt: skip
    stdin = b"FROM busybox\nCOPY --from=other f /f\n"
    named = ("--build-context", f"other={other}")
    daemon.pier("build", *named, "-f", "-", str(context), stdin=stdin)
    assert "on stdin" in daemon.pier("build", *named, "-", stdin=stdin, status=1)
    for value, words in (
        ("/does/not/exist", "not a directory"),
        ("oci-layout://x", "not a directory"),
        ("store://x", "store:// is not supported"),
    ):
        refused = daemon.pier("build", "--build-context", f"o={value}", str(context), status=1)
        assert words in refused


def test_limits_hold_in_a_run(daemon: Daemon, context: Directory) -> None:
    mark = f"7{os.getpid()}"
    context.dockerfile(
        f"FROM busybox\nRUN ulimit -n; ulimit -Hn; df -m | grep shm; sleep {mark} & "
        "while [ ! -e /go ]; do sleep 0.1; done\n"
    )
    words = (
        "--no-cache", "--memory", "64m", "--memory-swap", "64m", "--cpus", "1.5",
        "--ulimit", "nofile=100:200", "--shm-size", "8m",
    )  # fmt: skip
    outputs: list[str] = []
    building = threading.Thread(
        target=lambda: outputs.append(daemon.pier("build", *words, str(context)))
    )
    building.start()
    wait_until(lambda: processes(mark), "the RUN runs")
    process = Path(processes(mark)[0]).parent
    try:
        assert limits_of(process) == ["67108864", "150000 100000"]
    finally:
        (process / "root/go").touch()
        building.join()
    assert "\n100\n200\n" in outputs[0]
    assert " 8 " in next(line for line in outputs[0].splitlines() if line.startswith("shm"))
    context.dockerfile("FROM busybox\nRUN head -c 200m /dev/zero | tail\n")
    small = ("--memory", "32m", "--memory-swap", "32m")
    output = daemon.docker("build", *small, str(context), status=137)
    assert "returned a non-zero code: 137" in output


def limits_of(process: Path) -> list[str]:
    """What memory and CPU a process may use, in the words of cgroup v2."""
    places = dict(line.split(":", 2)[1:] for line in (process / "cgroup").read_text().splitlines())
    root = Path("/sys/fs/cgroup")
    if "" in places and (root / "cgroup.controllers").exists():
        group = root / places[""].lstrip("/")
        names = [group / "memory.max", group / "cpu.max"]
        return [name.read_text().strip() for name in names]
    memory = root / "memory" / places["memory"].lstrip("/") / "memory.limit_in_bytes"
    cpu_place = next(value for key, value in places.items() if "cpu" in key.split(","))
    cpu = root / "cpu" / cpu_place.lstrip("/")
    quota = [(cpu / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")]
    return [memory.read_text().strip(), " ".join(quota)]


def test_networks_of_a_run(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox\nRUN echo links $(ls /sys/class/net)\nRUN cat /etc/hosts\n"
        "RUN --network=none echo alone $(ls /sys/class/net)\n"
    )
    output = daemon.docker("build", "--add-host", "there:1.2.3.4", str(context))
    assert "links eth0 lo" in output
    assert "1.2.3.4\tthere" in output
    assert "\nalone lo\n" in output
    output = daemon.docker("build", "--no-cache", "--network", "none", str(context))
    assert "links lo" in output
    host = daemon.docker("build", "--no-cache", "--network", "host", str(context))
    assert daemon.bridge in host
    daemon.docker("network", "create", "net1")
    assert "links eth0 lo" in daemon.docker(
        "build", "--no-cache", "--network", "net1", str(context)
    )
    daemon.docker("network", "rm", "net1")


def test_target_squash_platform_and_pull(daemon: Daemon, context: Directory, tag: str) -> None:
    context.dockerfile(
        "FROM busybox AS one\nRUN echo 1 > /f\nRUN rm /f; echo 2 > /g\nFROM one AS two\nRUN false\n"
    )
    daemon.pier("build", "-t", tag, "--squash", "--target", "one", str(context))
    layers = json.loads(daemon.docker("image", "inspect", tag))[0]["RootFS"]["Layers"]
    base = json.loads(daemon.docker("image", "inspect", "busybox"))[0]["RootFS"]["Layers"]
    assert layers[:-1] == base
    context.dockerfile("FROM scratch\nCOPY Dockerfile /\n")
    daemon.docker("build", "-t", tag, "--platform", "linux/arm64", str(context))
    assert json.loads(daemon.docker("image", "inspect", tag))[0]["Architecture"] == "arm64"
    context.dockerfile("FROM busybox\n")
    refused = daemon.docker("build", "--platform", "linux/s390x", str(context), status=1)
    assert "does not match the specified platform" in refused
    daemon.docker("build", "--pull", str(context))


def test_progress(daemon: Daemon, context: Directory) -> None:
    context.dockerfile("FROM busybox\nRUN echo spoken\n")
    quiet = daemon.pier("build", "--progress", "quiet", str(context))
    assert len(quiet.strip()) == ID_LENGTH
    raw = daemon.pier("build", "--progress", "rawjson", str(context))
    assert {"aux": {"ID": quiet.strip()}} in [json.loads(line) for line in raw.splitlines()]
    live = daemon.pier("build", "--progress", "tty", "--no-cache", "--explain", str(context))
    assert "[2/2] RUN echo spoken" in live
    assert "not cached: caching is off" in live
    assert "Successfully built" in live
    context.dockerfile("FROM busybox\nRUN echo spoken; false\n")
    failed = daemon.pier("build", "--progress", "tty", str(context), status=1)
    assert "   | spoken\n" in failed
    assert "Dockerfile:2\n" in failed


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--progress wild", "invalid progress mode"),
        ("-o type=registry", "not supported"),
        ("-o type=local", "needs a directory"),
        ("-o type=tar,dest=x,compression=zstd", "'compression' is not supported"),
        ("--push", "pier push"),
        ("--cache-to type=gha", "not supported"),
        ("--secret src=x", "id is required"),
        ("--secret id=x,src=/does/not/exist", "No such file"),
        ("--ssh default=/does/not/exist", "no such file"),
        ("--security-opt no-new-privileges", "does not support setting security options"),
        ("--isolation hyperv", "invalid isolation"),
        ("--allow everything", "unknown entitlement"),
        ("--platform no/such/plat/form", "invalid platform"),
        ("--platform linux/amd64,linux/arm64", "several platforms in one build"),
        ("--memory 1m", "Minimum memory limit allowed is 6MB"),
        ("--memory-swap 10m", "set the Memory limit when using Memoryswap"),
        ("--cpuset-cpus 999", "Requested CPUs are not available"),
        ("--cpu-period 5", "CPU cfs period can not be less than 1ms"),
        ("--cgroup-parent ../x", "invalid cgroup parent"),
        ("--network container:x", "network container:x not found"),
        ("--attest type=sbom", "attestations are not supported"),
        ("--provenance mode=max", "attestations are not supported"),
        ("--cache-from type=gha", "not supported: name an image"),
        ("--call targets", "--call=targets is not supported"),
    ],
)
def test_what_is_not_supported_is_refused(
    daemon: Daemon, context: Directory, words: str, complaint: str
) -> None:
    context.dockerfile("FROM busybox\nRUN true\n")
    refused = daemon.pier("build", "--no-cache", *words.split(), str(context), status=1)
    assert complaint in refused
    assert "parse error" not in refused


# Ends


@pytest.mark.parametrize("program", [["docker"], PIER], ids=["docker", "pier"])
def test_an_interrupt_kills_the_run_and_leaves_nothing(
    daemon: Daemon, context: Directory, program: list[str]
) -> None:
    mark = f"9{os.getpid()}{len(program)}"
    context.dockerfile(f"FROM busybox\nRUN --mount=type=cache,target=/c sleep {mark}\n")
    environment = {**os.environ, "DOCKER_HOST": daemon.host, "PIER_HOST": daemon.host}
    building = subprocess.Popen(
        [*program, "build", str(context)], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: processes(mark), "the RUN runs")
    building.send_signal(signal.SIGINT)
    building.wait(10)
    wait_until(lambda: not processes(mark), "the RUN is gone")
    wait_until(lambda: leftovers(daemon) == [], f"nothing is left: {leftovers(daemon)}")


def test_killed_in_a_run_nothing_is_left_and_the_cache_is_sound(
    own_daemon: Daemon, context: Directory
) -> None:
    daemon = own_daemon
    mark = f"8{os.getpid()}"
    context.dockerfile(
        "FROM busybox AS a\nRUN echo done > /done\n"
        f"RUN test -e /go || sleep {mark}; echo half > /half\nFROM a\nRUN cat /half /done\n"
    )
    building = threading.Thread(target=daemon.run, args=(["docker", "build", str(context)],))
    building.start()
    wait_until(lambda: processes(mark), "the RUN runs")
    daemon.kill()
    building.join()
    daemon.start()
    wait_until(lambda: not processes(mark), "the RUN is gone")
    assert leftovers(daemon) == []
    context.dockerfile(
        "FROM busybox AS a\nRUN echo done > /done\n"
        "RUN echo whole > /half\nFROM a\nRUN cat /half /done\n"
    )
    output = daemon.docker("build", str(context))
    assert said(output, "Using cache") == 1
    assert "\nwhole\ndone\n" in output
    assert said(daemon.docker("build", str(context)), "Using cache") == 3


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


# Hostile contexts


def test_links_out_of_the_context_lead_nowhere(daemon: Daemon, tmp_path: Path) -> None:
    host = tmp_path / "host-file"
    host.write_text("of the host")
    for files in (
        {"Dockerfile": "FROM busybox\nCOPY l /f\n", "l": f"->{host}"},
        {"Dockerfile": "FROM busybox\nCOPY d/host-file /f\n", "d": f"->{tmp_path}"},
        {"Dockerfile": "FROM busybox\nCOPY d/up/host-file /f\n", "d/up": "->" + "../" * 30 + "tmp"},
        {"Dockerfile": f"->{host}"},
        {"Dockerfile": "FROM busybox\nRUN --mount=source=l,target=/m cat /m/host-file\n",
         "l": f"->{tmp_path}"},
    ):  # fmt: skip
        done = daemon.run(["docker", "build", "-"], stdin=context_tar(files))
        assert b"of the host" not in done.stdout + done.stderr
        assert done.returncode, files
    assert host.read_text() == "of the host"
    assert leftovers(daemon) == []


def test_an_archive_that_climbs_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    target = tmp_path / "climbed"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in (
            ("Dockerfile", tarfile.REGTYPE, ""),
            ("d", tarfile.SYMTYPE, str(tmp_path)),
            ("d/climbed", tarfile.REGTYPE, ""),
            ("../" * 20 + str(target), tarfile.REGTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            data = b"FROM busybox\n" if kind == tarfile.REGTYPE else b""
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    daemon.run(["docker", "build", "-"], stdin=buffer.getvalue())
    assert not target.exists()
    assert leftovers(daemon) == []


def test_a_copy_from_a_stage_stays_in_the_stage(daemon: Daemon, tmp_path: Path) -> None:
    host = tmp_path / "host-file"
    host.write_text("of the host")
    dockerfile = (
        f"FROM busybox AS a\nRUN ln -s {tmp_path} /d && ln -s {host} /l && ln -s / /root-link\n"
        "FROM busybox\nCOPY --from=a /d/host-file /f\n"
    )
    archive = context_tar({"Dockerfile": dockerfile})
    done = daemon.run(["docker", "build", "-"], stdin=archive)
    assert done.returncode
    into = f"FROM busybox\nRUN ln -s {tmp_path} /out\nCOPY Dockerfile /out/written\n"
    daemon.run(["docker", "build", "-"], stdin=context_tar({"Dockerfile": into}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host-file"]


def test_a_stub_swapped_for_a_link_leads_its_removal_nowhere(
    daemon: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / "b/file").touch()
    dockerfile = (
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/a/b/file "
        f"mv /a /moved && ln -s {tmp_path} /a\n"
    )
    daemon.run(["docker", "build", "-"], stdin=context_tar({"Dockerfile": dockerfile}))
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["c", "file"]
    assert leftovers(daemon) == []


# Registries


@pytest.mark.parametrize("program", [["docker"], PIER], ids=["docker", "pier"])
def test_a_base_image_is_pulled_with_the_clients_credentials(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: list[str]
) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    accounts = tmp_path / "htpasswd"
    hashed = bcrypt.hashpw(b"pass", bcrypt.gensalt(rounds=4)).decode()
    accounts.write_text(f"me:{hashed}\n")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    with pier_registry(tmp_path / "registry", "--htpasswd", str(accounts)) as host:
        daemon.docker("login", "-u", "me", "-p", "pass", host)
        daemon.docker("tag", "busybox", f"{host}/private:1")
        daemon.docker("push", "-q", f"{host}/private:1")
        daemon.docker("rmi", f"{host}/private:1")
        dockerfile = f"FROM {host}/private:1\nCOPY --from={host}/private:1 /bin/sh /s\n".encode()
        done = daemon.run([*program, "build", "-"], stdin=dockerfile)
        assert done.returncode == 0, done.stderr
        daemon.docker("rmi", f"{host}/private:1")
        daemon.docker("logout", host)
        done = daemon.run([*program, "build", "--no-cache", "-"], stdin=dockerfile)
        assert done.returncode
