"""What a Builder promises beyond one Dockerfile: side by side, results, endings."""

import asyncio
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pier.build.builder import NoRoom
from pier.build.progress import BuildEvent, ImageBuilt, StepOutput, StepStarted
from pier.build.request import BuildRequest, Output, StepFailed
from tests.daemon import wait_until
from tests.root.build_bench import context_tar, open_bench

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="needs busybox-static"),
]


def test_identical_steps_run_once_and_stages_run_side_by_side(tmp_path: Path) -> None:
    """Each of two waits for the other: one after the other they would never end."""

    async def main() -> None:
        text = """FROM busybox AS a
RUN --mount=type=cache,target=/m echo once >> /m/n; until [ -e /m/c ]; do sleep 0.1; done; echo a > /r
FROM busybox AS b
RUN --mount=type=cache,target=/m echo once >> /m/n; until [ -e /m/c ]; do sleep 0.1; done; echo a > /r
FROM busybox AS c
RUN --mount=type=cache,target=/m touch /m/c; until [ -e /m/n ]; do sleep 0.1; done; echo c > /r
FROM busybox
COPY --from=a /r /a
COPY --from=b /r /b
COPY --from=c /r /c
RUN --mount=type=cache,target=/m cat /m/n > /n
"""  # noqa: E501
        async with open_bench(tmp_path / "pier") as bench:
            result = await asyncio.wait_for(bench.build(text), 60)
            assert bench.files(result)["/n"].content == "once\n"
            numbers = [e.number for e in bench.events if isinstance(e, StepStarted)]
            assert numbers == sorted(numbers)

    asyncio.run(main())


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
            assert await bench.builder.usage() == []

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
from tests.root.build_bench import context_tar, open_bench
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
    wait_until(lambda: processes("sleep 765432"), "the RUN sleeps")
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


def test_cancelling_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    """Also while a monitor is launched or started, a bundle written, a directory made."""
    dockerfile = (
        "FROM busybox AS one\nRUN sleep 987\nFROM busybox\nRUN sleep 987\nCOPY --from=one / /\n"
    )
    data = context_tar({"Dockerfile": dockerfile})

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            for step in range(40):
                build = bench.build_tar(data, BuildRequest(no_cache=True))
                task = asyncio.ensure_future(build)
                await asyncio.sleep(step * 0.003)
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=20)
                assert done, f"hangs when cancelled after {step * 3} ms"
                assert bench.left_behind() == []
                assert processes("sleep 987") == []

    asyncio.run(main())


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """The RUN fits, its layer does not any more."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "x", str(small)], check=True)

    async def main() -> None:
        async with open_bench(small / "pier") as bench:
            text = "FROM busybox\nRUN head -c 22000000 /dev/urandom > /big\n"
            with pytest.raises(NoRoom, match="No space left on device"):
                await bench.build(text)
            assert bench.left_behind() == []
            await bench.build("FROM busybox\nRUN echo small > /f\n")

    try:
        asyncio.run(main())
    finally:
        subprocess.run(["umount", str(small)], check=True)
