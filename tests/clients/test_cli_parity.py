"""Pier's client against Docker's: the same words lead to the same requests and the same output.

Docker's client is the oracle; it talks to a daemon that records and answers from a list.
"""

import base64
import io
import json
import tarfile
import time
from pathlib import Path

import pytest

from tests.clients.canned_answers import ANSWERS
from tests.clients.command_lines import DOCKER, PIER, Ran, container_meaning, meaning, run_client
from tests.clients.recording_daemon import Asked, Status
from tests.docker_client import needs_docker_28

pytestmark = needs_docker_28

RUNS = (Path(__file__).parent / "cli_runs.txt").read_text().splitlines()
OUTPUTS = (Path(__file__).parent / "cli_outputs.txt").read_text().splitlines()
MISTAKES = (Path(__file__).parent / "cli_mistakes.txt").read_text().splitlines()
REQUESTS = (Path(__file__).parent / "cli_requests.txt").read_text().splitlines()


def both(line: str, **more: object) -> tuple[Ran, Ran]:
    docker = run_client(DOCKER, line, ANSWERS, **more)  # type: ignore[arg-type] # passed on
    pier = run_client(PIER, line, ANSWERS, **more)  # type: ignore[arg-type] # passed on
    return docker, pier


def both_in_one_second(line: str) -> tuple[Ran, Ran]:
    """For times that count from now: `--since 10m` is another second a moment later."""
    for _ in range(20):
        second = int(time.time())
        rans = both(line)
        if int(time.time()) == second:
            break
    return rans


def create_request(ran: Ran) -> tuple[object, object]:
    asked = next(item for item in ran.asked if item.path == "/containers/create")
    return dict(asked.query), container_meaning(asked.json)


def request_meaning(asked: Asked) -> tuple[object, ...]:
    query = {key: sorted(value) for key, value in asked.query.items() if value != [""]}
    body = meaning(asked.json) if asked.headers.get("Content-Type") == "application/json" else None
    auth = asked.headers.get("X-Registry-Auth")
    known = json.loads(base64.urlsafe_b64decode(auth)) if auth else None
    return asked.method, asked.path, query, body or None, known or None


@pytest.mark.parametrize("line", RUNS)
def test_the_flags_of_run_ask_for_the_same_container(line: str) -> None:
    docker, pier = both(line)
    assert create_request(pier) == create_request(docker)
    assert (pier.code, pier.out, pier.err) == (docker.code, docker.out, docker.err)


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_told_in_the_same_words(line: str) -> None:
    docker, pier = both(line)
    assert (pier.code, pier.out, pier.err) == (docker.code, docker.out, docker.err)


@pytest.mark.parametrize("line", OUTPUTS)
def test_answers_are_shown_alike(line: str) -> None:
    docker, pier = both(line)
    if "seconds ago" in docker.out or "system df" in line or "images" in line:
        docker, pier = _steady(docker), _steady(pier)
    assert (pier.code, pier.out, pier.err) == (docker.code, docker.out, docker.err)


def _steady(ran: Ran) -> Ran:
    """Leave out what depends on the second, and the order in which Go walks a map."""
    lines = [line for line in ran.out.splitlines() if "second" not in line]
    return Ran(ran.code, "\n".join(sorted(lines)), ran.err, ran.asked)


@pytest.mark.parametrize("line", REQUESTS)
def test_commands_ask_for_the_same(line: str) -> None:
    docker, pier = both_in_one_second(line) if "--since" in line else both(line)
    if "images" in line:
        docker, pier = _steady(docker), _steady(pier)
    assert (pier.code, pier.out, pier.err) == (docker.code, docker.out, docker.err)
    assert sorted(map(request_meaning, pier.asked), key=repr) == sorted(
        map(request_meaning, docker.asked), key=repr
    )


def members(data: bytes) -> dict[str, tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            item.name.rstrip("/"): (
                item.type,
                item.mode & 0o7777,
                item.linkname,
                archive.extractfile(item).read() if item.isreg() else b"",  # type: ignore[union-attr] # a file has content
            )
            for item in archive
            if item.name.rstrip("/") not in ("", ".")
        }


@pytest.fixture
def context(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    for path, text in {
        "Dockerfile": "FROM busybox\n",
        "other/Dockerfile.dev": "FROM scratch\n",
        "a.txt": "a",
        "b.log": "b",
        "src/main.py": "x",
        "src/deep/keep.log": "k",
        "src/deep/drop.log": "d",
        "node_modules/x/y.js": "y",
        "node_modules/x/keep.js": "k",
        ".dockerignore": "*.log\n**/*.log\n!src/deep/keep.log\nnode_modules\n"
        "!node_modules/x/keep.js\n# no\n/src/../a.txt\n",
    }.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    (place / "link").symlink_to("a.txt")
    (place / "src/main.py").chmod(0o755)
    return place


@pytest.mark.parametrize(
    "line",
    [
        "build .",
        "build -t a:1 -t b --build-arg A=b --build-arg HOME --label x=y --no-cache --pull .",
        "build -f other/Dockerfile.dev --target t --network host --platform linux/amd64 .",
        "build -m 1g --memory-swap -1 --shm-size 64m --cpuset-cpus 0 -c 5 --ulimit nofile=1:2 .",
        "build --rm=false --force-rm --add-host a:1.2.3.4 --cache-from a,b --security-opt x=y .",
        "build -q .",
    ],
)
def test_build_sends_the_same_context_and_the_same_options(line: str, context: Path) -> None:
    docker, pier = both(line, directory=context)
    sent, ours = docker.asked[-1], pier.asked[-1]
    assert members(ours.body) == members(sent.body)
    left_out = ("cgroupparent", "cpusetmems", "remote", "session", "buildid")
    theirs = {k: v for k, v in sent.query.items() if v not in (["0"], [""]) and k not in left_out}
    mine = {k: v for k, v in ours.query.items() if v not in (["0"], [""])}
    for query in (theirs, mine):
        for key in ("buildargs", "labels", "cachefrom", "ulimits"):
            if key in query:
                query[key] = json.loads(query[key][0])
        query.pop("version", None)
        query.pop("lines", None)
        query.pop("localcache", None)
    assert mine == theirs
    assert pier.code == docker.code == 0


def test_a_dockerfile_on_stdin_needs_no_context() -> None:
    docker, pier = both("build -", stdin=b"FROM busybox\n")
    assert next(iter(members(pier.asked[-1].body).values()))[3] == b"FROM busybox\n"
    assert pier.code == docker.code == 0


GO_DIRECTORY = 1 << 31


def stat_header(name: str, mode: int, target: str = "") -> dict[str, str]:
    value = {"name": name, "size": 1, "mode": mode, "mtime": "2024-05-01T10:11:12Z"}
    text = json.dumps({**value, "linkTarget": target}).encode()
    return {"X-Docker-Container-Path-Stat": base64.b64encode(text).decode()}


def archive_of(entries: dict[str, bytes | None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = 0o644, 1714558272
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return buffer.getvalue()


def container_side(asked: Asked) -> Status:
    """A container that has /dir with a file, /file, /link to /dir; nothing else."""
    path = asked.query["path"][0]
    clean = path.rstrip("/").removesuffix("/.") or "/"
    kinds = {"/": GO_DIRECTORY, "/dir": GO_DIRECTORY, "/file": 0o644, "/link": 1 << 27}
    if clean not in kinds:
        return Status(404, {"message": f"Could not find the file {path} in container web"})
    target = "/dir" if clean == "/link" else ""
    headers = stat_header(clean.rpartition("/")[2], kinds[clean], target)
    if asked.method == "HEAD":
        return Status(200, b"", headers)
    if clean == "/file":
        return Status(200, archive_of({"file": b"content"}), headers)
    top = "." if path.endswith("/.") else "dir"
    return Status(200, archive_of({f"{top}/": None, f"{top}/inner": b"i"}), headers)


COPY_ANSWERS = {
    ("HEAD", "/containers/web/archive"): container_side,
    ("GET", "/containers/web/archive"): container_side,
    ("PUT", "/containers/web/archive"): Status(200),
}


def tree(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): "/" if path.is_dir() else path.read_text()
        for path in sorted(directory.rglob("*"))
    }


def local_side(directory: Path) -> Path:
    (directory / "here").mkdir(parents=True)
    (directory / "here/old").write_text("old")
    (directory / "plain").write_text("plain")
    (directory / "tied").symlink_to("here")
    return directory


@pytest.mark.parametrize(
    "line",
    [
        "cp web:/file new", "cp web:/file here", "cp web:/file here/", "cp web:/file plain",
        "cp web:/file missing/", "cp web:/file missing/new", "cp web:/file tied",
        "cp web:/dir new", "cp web:/dir here", "cp web:/dir plain", "cp web:/dir/. here",
        "cp web:/dir/. new", "cp web:/dir/ new", "cp -L web:/link new", "cp web:/nope new",
        "cp web:/file .", "cp a b", "cp web:/a web:/b",
    ],
)  # fmt: skip
def test_copying_out_of_a_container_leaves_the_same_tree(line: str, tmp_path: Path) -> None:
    places = [local_side(tmp_path / name) for name in ("docker", "pier")]
    docker = run_client(DOCKER, line, COPY_ANSWERS, directory=places[0])
    pier = run_client(PIER, line, COPY_ANSWERS, directory=places[1])
    assert tree(places[1]) == tree(places[0])
    assert (pier.code, pier.out) == (docker.code, docker.out)
    assert pier.err.replace("/pier/", "/X/") == docker.err.replace("/pier/", "/X/")


@pytest.mark.parametrize(
    "line",
    [
        "cp plain web:/file", "cp plain web:/dir", "cp plain web:/dir/", "cp plain web:/new",
        "cp plain web:/new/", "cp plain web:/link", "cp here web:/new", "cp here web:/dir",
        "cp here web:/file", "cp here/. web:/dir", "cp here/. web:/new", "cp here/ web:/dir",
        "cp tied web:/dir", "cp tied/ web:/dir", "cp -L tied web:/dir", "cp -a plain web:/dir",
        "cp nope web:/dir", "cp . web:/dir", "cp plain web:/no/such",
    ],
)  # fmt: skip
def test_copying_into_a_container_sends_the_same_archive(line: str, tmp_path: Path) -> None:
    place = local_side(tmp_path / "place")
    docker = run_client(DOCKER, line, COPY_ANSWERS, directory=place)
    pier = run_client(PIER, line, COPY_ANSWERS, directory=place)
    puts = [[item for item in ran.asked if item.method == "PUT"] for ran in (docker, pier)]
    assert len(puts[0]) == len(puts[1])
    for theirs, ours in zip(*puts, strict=True):
        assert dict(ours.query) == dict(theirs.query)
        assert members(ours.body) == members(theirs.body)
    # Docker's client also logs what its own abandoned writer says.
    said = "".join(x for x in docker.err.splitlines(keepends=True) if "level=error" not in x)
    assert (pier.code, pier.out, pier.err) == (docker.code, docker.out, said)
