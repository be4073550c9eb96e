"""What a Builder promises beyond one Dockerfile: its cache, its explanations, its endings."""

import asyncio
import functools
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from pier.build.cache_store import PruneRequest
from pier.build.context import remove_directory
from pier.build.fetch import ChecksumMismatch
from pier.build.progress import BuildEvent, ImageBuilt, StepOutput, StepStarted
from pier.build.request import BuildRequest, Output, StepFailed
from pier.errors import InvalidArgument
from tests.root.build_bench import context_tar, open_bench

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="needs busybox-static"),
]

APP = """FROM busybox
ARG VERSION=1
COPY requirements.txt /
RUN echo install > /installed
COPY app /app
RUN echo $VERSION > /version
CMD ["run"]
"""
FILES: dict[str, bytes | str] = {"requirements.txt": "a", "app/main.py": "1", "app/other.py": "2"}


def test_the_second_build_is_all_cache_and_the_same_image(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            first = await bench.build(APP, FILES)
            assert bench.cached == 0
            second = await bench.build(APP, FILES)
            assert (bench.cached, bench.misses) == (6, [])
            assert first == second

    asyncio.run(main())


def test_a_changed_file_is_named_and_only_what_follows_is_rebuilt(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(APP, FILES)
            await bench.build(APP, {**FILES, "app/main.py": "changed", "app/new.py": "3"})
            assert bench.cached == 3
            told = [miss.told() for miss in bench.misses]
            assert told[0] == "file app/main.py changed; file app/new.py is new"
            assert told[1] == "parent changed"

    asyncio.run(main())


def test_times_of_files_do_not_matter(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build("FROM busybox\nCOPY a /a\n", {"a": "1"})
            data = context_tar({"Dockerfile": "FROM busybox\nCOPY a /a\n", "a": "1"})
            later = retimed(data, 1_700_000_000)
            await bench.build_tar(later, BuildRequest())
            assert bench.cached == 1

    asyncio.run(main())


def retimed(data: bytes, mtime: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            member.mtime = mtime
            new.addfile(member, old.extractfile(member))
    return out.getvalue()


def test_a_changed_argument_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(APP, FILES)
            await bench.build(APP, FILES, BuildRequest(build_args={"VERSION": "2"}))
            told = [miss.told() for miss in bench.misses]
            assert "arg VERSION was '1', is '2'" in told

    asyncio.run(main())


def test_a_label_above_does_not_make_a_run_run_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build("FROM busybox\nLABEL a=1\nRUN echo x > /x\n")
            result = await bench.build("FROM busybox\nLABEL a=2\nRUN echo x > /x\n")
            assert bench.cached == 1
            assert bench.image(result).config.run.labels == {"a": "2"}

    asyncio.run(main())


def test_a_rebuilt_stage_with_the_same_files_is_a_hit_for_its_copy(tmp_path: Path) -> None:
    async def main() -> None:
        text = "FROM busybox AS a\nRUN {} > /out\nFROM busybox\nCOPY --from=a /out /out\n"
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(text.format("echo x"))
            await bench.build(text.format("printf 'x\\n'"))
            assert bench.cached == 1
            assert "was 'RUN echo x > /out" in bench.misses[0].told()

    asyncio.run(main())


def test_no_cache_runs_everything_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(APP, FILES)
            await bench.build(APP, FILES, BuildRequest(no_cache=True))
            assert bench.cached == 0
            assert bench.misses[0].told() == "caching is off (--no-cache)"

    asyncio.run(main())


def test_cache_from_an_image_works_without_the_cache(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            first = await bench.build(APP, FILES, BuildRequest(tags=("app:1",)))
            await bench.builder.prune(PruneRequest(everything=True))
            assert bench.builder.usage() == []
            again = await bench.build(APP, FILES, BuildRequest(cache_from=("app:1", "no:such")))
            assert bench.cached == 6
            assert again.image == first.image

    asyncio.run(main())


def test_identical_steps_run_once_and_stages_run_side_by_side(tmp_path: Path) -> None:
    async def main() -> None:
        text = """FROM busybox AS a
RUN --mount=type=cache,target=/m echo once >> /m/n; sleep 1; echo a > /r
FROM busybox AS b
RUN --mount=type=cache,target=/m echo once >> /m/n; sleep 1; echo a > /r
FROM busybox AS c
RUN --mount=type=cache,target=/m sleep 1; echo c > /r
FROM busybox
COPY --from=a /r /a
COPY --from=b /r /b
COPY --from=c /r /c
RUN --mount=type=cache,target=/m cat /m/n > /n
"""
        async with open_bench(tmp_path / "pier") as bench:
            loop = asyncio.get_running_loop()
            start = loop.time()
            result = await bench.build(text)
            took = loop.time() - start
            assert bench.files(result)["/n"].content == "once\n"
            assert took < 1.9, took
            numbers = [e.number for e in bench.events if isinstance(e, StepStarted)]
            assert numbers == sorted(numbers)

    asyncio.run(main())


def test_same_inputs_give_the_same_digest_everywhere(tmp_path: Path) -> None:
    async def main() -> list[str]:
        text = (
            "FROM busybox AS x\nRUN date > /t && mkdir /d && touch /d/f\n"
            "FROM busybox\nCOPY --from=x /d /d\nRUN touch /f && mkdir -p /g/h && rm /etc/group\n"
            "COPY a /new/a\nWORKDIR /w\nLABEL x=y\nENV a=b\n"
        )
        images = []
        for name in ("one", "two"):
            async with open_bench(tmp_path / name) as bench:
                request = BuildRequest(build_args={"SOURCE_DATE_EPOCH": "1700000000"})
                result = await bench.build(text, {"a": "x"}, request)
                images.append(result.image)
                config = bench.image(result).config
                assert config.created_ns == 1_700_000_000 * 10**9
                assert bench.files(result)["/f"].mtime == 1_700_000_000
            await asyncio.sleep(1.1)
        return images

    one, two = asyncio.run(main())
    assert one == two


def test_cancelling_kills_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            running = asyncio.Event()

            def on_event(event: BuildEvent) -> None:
                if isinstance(event, StepOutput):
                    running.set()

            text = "FROM busybox\nRUN echo here; trap '' TERM; sleep 987654 & wait\n"
            async with asyncio.TaskGroup() as group:
                task = group.create_task(bench.build(text, on_event=on_event))
                await asyncio.wait_for(running.wait(), 20)
                task.cancel()
            assert task.cancelled()
            assert bench.left_behind() == []
            assert processes("sleep 987654") == []
            assert bench.builder.usage() == []

    asyncio.run(main())


def processes(command: str) -> list[str]:
    wanted = command.replace(" ", "\0").encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_failing_stage_stops_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        text = """FROM busybox AS a
RUN sleep 876543
FROM busybox AS b
RUN exit 7
FROM busybox
COPY --from=a / /a
COPY --from=b / /b
"""
        async with open_bench(tmp_path / "pier") as bench:
            with pytest.raises(StepFailed) as caught:
                await asyncio.wait_for(bench.build(text), 20)
            assert caught.value.code == 7
            assert caught.value.line == 4
            assert processes("sleep 876543") == []
            assert bench.left_behind() == []

    asyncio.run(main())


CRASH = """
import asyncio, sys
from pathlib import Path
from tests.root.build_bench import open_bench
from pier.build.progress import StepOutput

async def main():
    async with open_bench(Path(sys.argv[1])) as bench:
        tell = lambda e: isinstance(e, StepOutput) and print("running", flush=True)
        text = "FROM busybox\\nRUN echo kept > /k\\nRUN echo x; sleep 765432\\n"
        await bench.build(text, on_event=tell)

asyncio.run(main())
"""


def test_a_killed_daemon_leaves_nothing_after_restore(tmp_path: Path) -> None:
    root = tmp_path / "pier"
    child = subprocess.Popen(
        [sys.executable, "-c", CRASH, str(root)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"running\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert processes("sleep 765432") != []

    async def main() -> None:
        async with open_bench(root) as bench:
            await bench.builder.restore()
            assert processes("sleep 765432") == []
            assert bench.left_behind() == []
            await bench.build("FROM busybox\nRUN echo kept > /k\nRUN echo other > /o\n")
            assert bench.cached == 1
            assert "/k" in bench.files(await bench.build("FROM busybox\nRUN echo kept > /k\n"))

    asyncio.run(main())
    assert str(root) not in Path("/proc/self/mountinfo").read_text()


def test_a_cache_mount_raced_by_two_builds_stays_inside(tmp_path: Path) -> None:
    async def main() -> None:
        swap = "for i in $(seq 30); do rm -rf /c/d; ln -s /etc /c/d; rm /c/d; mkdir /c/d; done"
        write = "for i in $(seq 30); do touch /c/d/pier-race 2>/dev/null; done; true"
        async with open_bench(tmp_path / "pier") as bench, asyncio.TaskGroup() as group:
            for script in (swap, write):
                mount = "--mount=type=cache,id=race,target=/c"
                group.create_task(bench.build(f"FROM busybox\nRUN {mount} {script}\n"))

    asyncio.run(main())
    assert not Path("/etc/pier-race").exists()


def test_prune_bounds_the_cache_and_frees_the_layers(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(
                "FROM busybox\nRUN --mount=type=cache,target=/c head -c 100000 /dev/zero > /a\n"
                "RUN head -c 200000 /dev/zero > /b; touch /x\n"
            )
            usage = await bench.builder.disk_usage()
            assert [record.size for record in usage.records] == [100000, 200000]
            assert len(usage.mounts) == 1
            kept = await bench.builder.prune(PruneRequest())
            assert kept.keys == ()
            bench.images.remove(bench.images.list_()[0].id)
            await bench.builder.prune(PruneRequest(everything=True, keep_bytes=200000))
            assert [record.size for record in bench.builder.usage()] == [200000]
            gone = await bench.builder.prune(PruneRequest(everything=True))
            assert gone.bytes_reclaimed == 200000
            assert len(bench.images.snapshotter.list_keys("sha256:")) == 1
            assert (await bench.builder.disk_usage()).mounts == ()

    asyncio.run(main())


def test_an_image_may_go_while_its_steps_stay_cached(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build("FROM busybox\nRUN echo 1 > /x\n")
            bench.images.remove(result.image)
            again = await bench.build("FROM busybox\nRUN echo 1 > /x\n")
            assert bench.cached == 1
            assert bench.files(again)["/x"].content == "1\n"

    asyncio.run(main())


def test_tags_labels_and_the_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            request = BuildRequest(tags=("a", "b:2"), labels={"x": "y"})
            result = await bench.build("FROM busybox\n", request=request)
            assert result.tags == ("a:latest", "b:2")
            assert bench.images.get("b:2").id == result.image
            ids = [event.id for event in bench.events if isinstance(event, ImageBuilt)]
            assert ids == [result.image]
            short = result.image.removeprefix("sha256:")[:12]
            assert bench.text.endswith(
                f"Successfully built {short}\nSuccessfully tagged a:latest\n"
                "Successfully tagged b:2\n"
            )

    asyncio.run(main())


def test_outputs_are_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            request = BuildRequest(
                outputs=(
                    Output(type="tar", path=tmp_path / "files.tar"),
                    Output(type="oci", path=tmp_path / "oci.tar"),
                )
            )
            await bench.build("FROM scratch\nCOPY a /d/a\n", {"a": "1"}, request)
        with tarfile.open(tmp_path / "files.tar") as tar:
            assert "d/a" in tar.getnames()
        with tarfile.open(tmp_path / "oci.tar") as tar:
            assert {"oci-layout", "index.json"} <= set(tar.getnames())

    asyncio.run(main())


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server of a directory; its URL."""
    root = tmp_path / "www"
    root.mkdir()
    handler = functools.partial(QuietHandler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    @override
    def log_message(self, format: str, *arguments: object) -> None:
        """Tests are quiet."""


def test_add_of_a_url(tmp_path: Path, web: str) -> None:
    (tmp_path / "www/f.txt").write_text("by wire")
    os.utime(tmp_path / "www/f.txt", (1_500_000_000, 1_500_000_000))
    data = context_tar({"in/x": "1"})
    (tmp_path / "www/a.tar").write_bytes(data)
    digest = "a" * 64

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build(
                f"FROM busybox\nADD {web}/f.txt /d/\nADD --chmod=644 {web}/f.txt /named\n"
                f"ADD {web}/a.tar /whole/\nADD --unpack=true {web}/a.tar /open/\n"
            )
            files = bench.files(result)
            assert files["/d/f.txt"].content == "by wire"
            assert files["/d/f.txt"].mode & 0o777 == 0o600
            assert files["/d/f.txt"].mtime == 1_500_000_000
            assert files["/named"].mode & 0o777 == 0o644
            assert "/whole/a.tar" in files
            assert files["/open/in/x"].content == "1"
            with pytest.raises(InvalidArgument) as caught:
                await bench.build(f"FROM busybox\nADD --checksum=sha256:{digest} {web}/f.txt /x\n")
            assert isinstance(caught.value.__cause__, ChecksumMismatch)

    asyncio.run(main())


def test_contexts_by_url(tmp_path: Path, web: str) -> None:
    (tmp_path / "www/c.tar").write_bytes(
        context_tar({"Dockerfile": "FROM busybox\nCOPY a /a\n", "a": "remote"})
    )
    (tmp_path / "www/Plain").write_text("FROM busybox\nRUN echo plain > /p\n")

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build_tar(b"", BuildRequest(remote=f"{web}/c.tar"))
            assert bench.files(result)["/a"].content == "remote"
            result = await bench.build_tar(b"", BuildRequest(remote=f"{web}/Plain"))
            assert bench.files(result)["/p"].content == "plain\n"

    asyncio.run(main())


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True
    )


def test_contexts_and_adds_by_git(tmp_path: Path, web: str) -> None:
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub/Dockerfile").write_text("FROM busybox\nCOPY f /f\n")
    (work / "sub/f").write_text("first")
    git(work, "init", "-q", "-b", "main", ".")
    git(work, "add", ".")
    git(work, "commit", "-qm", "1")
    git(work, "tag", "v1")
    first = (work / ".git/refs/heads/main").read_text().strip()
    (work / "sub/f").write_text("second")
    git(work, "commit", "-qam", "2")
    bare = tmp_path / "www/repo.git"
    git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    git(bare, "update-server-info")

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            result = await bench.build_tar(b"", BuildRequest(remote=f"{web}/repo.git#v1:sub"))
            assert bench.files(result)["/f"].content == "first"
            result = await bench.build(f"FROM busybox\nADD {web}/repo.git /src\n")
            assert bench.files(result)["/src/sub/f"].content == "second"
            assert "/src/.git" not in bench.files(result)
            result = await bench.build(
                f"FROM busybox\nADD --keep-git-dir {web}/repo.git#{first} /s\n"
            )
            assert bench.files(result)["/s/sub/f"].content == "first"
            assert "/s/.git/HEAD" in bench.files(result)
            with pytest.raises(InvalidArgument, match="expected checksum to match"):
                await bench.build(f"FROM busybox\nADD --checksum=abcdef0 {web}/repo.git /src\n")

    asyncio.run(main())


def test_a_broken_context_is_an_error_of_the_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            for data in (b"", b"no tar at all" * 100, context_tar({"a": "1"})[:700]):
                with pytest.raises(InvalidArgument):
                    await bench.build_tar(data, BuildRequest())
            assert bench.left_behind() == []

    asyncio.run(main())


def test_an_archive_without_its_last_padding_is_taken(tmp_path: Path) -> None:
    text = "FROM busybox\nCOPY Dockerfile /d\n"
    data = context_tar({"Dockerfile": text})[: 512 + len(text)]

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            result = await bench.build_tar(data, BuildRequest())
            assert bench.files(result)["/d"].content == text

    asyncio.run(main())


def test_a_client_that_goes_away_in_the_context_leaves_nothing(tmp_path: Path) -> None:
    async def gone() -> AsyncIterator[bytes]:
        yield context_tar({"Dockerfile": "FROM busybox"})[:1000]
        raise ConnectionResetError

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            with pytest.raises(ConnectionResetError):
                await bench.builder.build(BuildRequest(), gone(), lambda event: None)
            assert bench.left_behind() == []

    asyncio.run(main())


def test_an_archive_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pier.build.context.MAX_CONTEXT_BYTES", 10_000)
    monkeypatch.setattr("pier.build.context.MAX_CONTEXT_FILES", 50)

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            for files in ({"big": b"x" * 20_000}, {f"f{n}": b"" for n in range(60)}):
                with pytest.raises(InvalidArgument, match="archive bomb"):
                    await bench.build("FROM busybox\nCOPY . /\n", files)
            assert bench.left_behind() == []

    asyncio.run(main())


def test_a_very_deep_context_is_copied_and_removed(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1500)

    async def main() -> None:
        async with open_bench(tmp_path / "pier", with_runtime=False) as bench:
            result = await bench.build("FROM busybox\nCOPY . /c/\n", {f"{deep}/f": "x"})
            assert len(bench.image(result).layers) == 2
            assert bench.left_behind() == []

    asyncio.run(main())
    remove_directory(tmp_path / "pier")  # pytest's own way recurses too deep
