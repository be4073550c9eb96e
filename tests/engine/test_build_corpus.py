"""The corpus of Dockerfiles through a whole daemon, sent by the official client."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.root.build_bench import busybox_tar, context_tar
from tests.root.build_corpus import Case, load_corpus

FLAGS = {"target": "--target", "dockerfile": "-f"}
ONLY_BY_HEADER = {"secrets", "contexts", "allow_insecure", "allow_host", "limits", "squash"}
ELSEWHERE = {"error-no-such-image"}
"""A daemon asks a registry first; its words are the registry's."""
CASES = [
    case
    for case in load_corpus()
    if not ONLY_BY_HEADER & case.request.keys() and case.name not in ELSEWHERE
]


@pytest.fixture(scope="module")
def shop(daemon: Daemon) -> Iterator[Daemon]:
    changes = ["-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin:/usr/bin"]
    daemon.docker("import", *changes, "-", "busybox:latest", stdin=busybox_tar())
    yield daemon
    daemon.docker("image", "prune", "-af")


def flags_of(case: Case) -> list[str]:
    flags = [word for key, flag in FLAGS.items() if key in case.request
             for word in (flag, case.request[key])]  # fmt: skip
    for kind, flag in (("build_args", "--build-arg"), ("labels", "--label")):
        for name, value in case.request.get(kind, {}).items():
            flags += [flag, f"{name}={value}"]
    return flags


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_corpus(shop: Daemon, case: Case) -> None:
    data = context_tar({"Dockerfile": case.dockerfile, **case.files})
    tag = f"corpus:{case.name.lower()}"
    done = shop.run(["docker", "build", "-t", tag, *flags_of(case), "-"], stdin=data)
    output = (done.stdout + done.stderr).decode()
    assert (done.returncode != 0) == bool(case.error), output
    files = {} if case.error else exported(shop, tag)
    for line in case.expect:
        check(line, output, files, case)
    if not case.error:
        check_config(shop, tag, case)
    assert list((shop.exec_root / "builds").iterdir()) == []
    assert list((shop.data_root / "tmp").glob("build-*")) == []


def exported(shop: Daemon, tag: str) -> dict[str, tarfile.TarInfo]:
    container = shop.docker("create", tag, "x").strip()
    data = shop.run(["docker", "export", container]).stdout
    shop.docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {"/" + member.name.strip("/"): member for member in tar}


def check(line: str, output: str, files: dict[str, tarfile.TarInfo], case: Case) -> None:
    kind, _, rest = line.partition(" ")
    if kind in ("error", "text"):
        assert rest in output
    elif kind == "output":
        assert any(rest in told for told in output.splitlines())
    elif kind == "nohost":
        assert not Path(rest).exists()
    elif kind.startswith("!") and not kind.startswith("!/etc/"):
        assert line[1:] not in files
    elif kind.startswith("/"):
        path = line.partition(' "')[0]
        while path.rpartition(" ")[2].replace(":", "").isdecimal():
            path = path.rpartition(" ")[0]
        assert path in files, f"{path} of {case.name}"


def check_config(shop: Daemon, tag: str, case: Case) -> None:
    config = json.loads(shop.docker("image", "inspect", tag))[0]["Config"]
    wanted = {line.split(" ", 2)[1]: json.loads(line.split(" ", 2)[2])
              for line in case.expect if line.startswith("config ")}  # fmt: skip
    names = {"cmd": "Cmd", "entrypoint": "Entrypoint", "labels": "Labels", "user": "User",
             "working_dir": "WorkingDir", "stop_signal": "StopSignal", "env": "Env"}  # fmt: skip
    for field, value in wanted.items():
        if field in names:
            assert (config[names[field]] or None) == (value or None)  # JSON leaves out the empty
        if field == "exposed_ports":
            assert sorted(config["ExposedPorts"]) == value


def test_a_failing_run_has_dockers_exit_code_and_words(shop: Daemon) -> None:
    data = context_tar({"Dockerfile": "FROM busybox\nRUN exit 42\n"})
    done = shop.run(["docker", "build", "-"], stdin=data)
    assert done.returncode == 42
    assert b"The command '/bin/sh -c exit 42' returned a non-zero code: 42" in done.stderr


def test_a_dockerfile_on_stdin_alone_and_with_a_context(shop: Daemon, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from the directory")
    text = b"FROM busybox\nRUN echo alone > /r\n"
    assert "Successfully built" in shop.docker("build", "-", stdin=text)
    text = b"FROM busybox\nCOPY a /a\n"
    shop.docker("build", "-t", "both", "-f", "-", str(tmp_path), stdin=text)
    assert shop.docker("run", "--rm", "both", "cat", "/a") == "from the directory"


def test_a_run_reaches_the_network_and_names(shop: Daemon) -> None:
    text = (
        b"FROM busybox\nRUN ip addr show eth0 | grep -c 'inet ' > /n && "
        b"grep -c extra /etc/hosts >> /n\n"
    )
    shop.docker("build", "-t", "net", "--add-host", "extra:10.1.2.3", "-", stdin=text)
    assert shop.docker("run", "--rm", "net", "cat", "/n") == "1\n1\n"


def test_the_second_build_is_all_cache(shop: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN date > /d\nCOPY . /c\n")
    first = shop.docker("build", "-q", str(tmp_path))
    output = shop.docker("build", str(tmp_path))
    assert output.count("Using cache") == 2
    assert shop.docker("build", "-q", str(tmp_path)) == first
    assert "build" in shop.docker("system", "df").lower()
    assert "Total" in shop.docker("builder", "prune", "-af")


def test_limits_are_honoured(shop: Daemon) -> None:
    text = b"FROM busybox\nRUN ulimit -n; cat /sys/fs/cgroup/memory*/memory.limit_in_bytes " \
        b"/sys/fs/cgroup/memory.max 2>/dev/null; true\n"  # fmt: skip
    output = shop.docker("build", "--no-cache", "--ulimit", "nofile=77:99", "-m", "64m", "-",
                         stdin=text)  # fmt: skip
    assert "\n77\n" in output
    assert "67108864" in output
