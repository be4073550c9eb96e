"""The build's cache: what is a hit, what is not and why, what is kept."""

import asyncio
import io
import os
import tarfile
from pathlib import Path

import pytest

from pier.build.pruning import PruneRequest
from pier.build.request import BuildRequest
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
            assert await bench.builder.usage() == []
            again = await bench.build(APP, FILES, BuildRequest(cache_from=("app:1", "no:such")))
            assert bench.cached == 6
            assert again.image == first.image

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


def test_prune_bounds_the_cache_and_frees_the_layers(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(
                "FROM busybox\nRUN --mount=type=cache,target=/c head -c 100000 /dev/zero > /a\n"
                "RUN head -c 200000 /dev/zero > /b; touch /x\n"
            )
            usage = await bench.builder.usage()
            assert [(record.size, record.shared) for record in usage[:2]] == [
                (100000, True), (200000, True)
            ]  # fmt: skip
            assert [(record.kind, record.description) for record in usage[2:]] == [
                ("exec.cachemount", "cached mount /c")
            ]
            kept = await bench.builder.prune(PruneRequest(filters={"type": "regular"}))
            assert kept.keys == ()
            gone = await bench.builder.prune(PruneRequest())
            assert gone.keys == (usage[2].key,)
            bench.images.remove(bench.images.list_()[0].id)
            await bench.builder.prune(PruneRequest(everything=True, reserved_bytes=200000))
            assert [record.size for record in await bench.builder.usage()] == [200000]
            gone = await bench.builder.prune(PruneRequest(everything=True))
            assert gone.bytes_reclaimed == 200000
            assert len(bench.images.snapshotter.list_keys("sha256:")) == 1

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


LINKED = """FROM busybox
RUN echo {} > /below
COPY --link --chown=app a /linked/a
RUN cat /linked/a /below > /both
"""


def test_a_linked_copy_is_a_hit_whatever_is_below_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            first = await bench.build(LINKED.format(1), {"a": "x\n"})
            second = await bench.build(LINKED.format(2), {"a": "x\n"})
            assert bench.cached == 1
            told = [miss.told() for miss in bench.misses]
            assert told == ["the instruction changed: it was 'RUN echo 1 > /below'",
                            "parent changed"]  # fmt: skip
            shown = bench.files(second)
            assert shown["/both"].content == "x\n2\n"
            assert (shown["/linked/a"].uid, shown["/linked/a"].content) == (1000, "x\n")
            layers = [bench.image(result).layers for result in (first, second)]
            assert layers[0][2] == layers[1][2]
            assert layers[0][1] != layers[1][1]
            again = await bench.build(LINKED.format(1), {"a": "x\n"})
            assert (bench.cached, again) == (3, first)
            await bench.build(LINKED.format(2), {"a": "y\n"})
            assert [miss.told() for miss in bench.misses] == ["file a changed", "parent changed"]
            assert bench.left_behind() == []

    asyncio.run(main())


def test_a_name_that_another_base_gives_another_owner_is_no_hit_for_a_linked_copy(
    tmp_path: Path,
) -> None:
    text = (
        "FROM busybox\nRUN sed -i s/app:x:1000/app:x:{0}/ /etc/passwd\n"
        "COPY --link --chown=app a /b\n"
    )

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            for uid in (7, 8):
                result = await bench.build(text.format(uid), {"a": ""})
                assert bench.files(result)["/b"].uid == uid

    asyncio.run(main())


def test_a_linked_copy_that_copies_nothing_leaves_what_is_below(tmp_path: Path) -> None:
    text = "FROM busybox\nRUN echo 1 > /f\nCOPY --link --exclude=* d/ /\nRUN cat /f\n"

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(text, {"d/x": ""})
            assert bench.output == "1\n"

    asyncio.run(main())


def test_cache_mounts_are_bounded_too(tmp_path: Path) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,id={0},target=/c head -c 100000 /dev/zero > /c/f\n"

    async def main() -> None:
        async with open_bench(tmp_path / "pier", cache_limit_bytes=150_000) as bench:
            for name in ("one", "two"):
                await bench.build(text.format(name))
            mounts = [record for record in await bench.builder.usage() if record.size]
            assert len(mounts) == 2
            bench.later_s = 3601
            await bench.build("FROM busybox\n")
            mounts = [record for record in await bench.builder.usage() if record.size]
            assert [record.description for record in mounts] == ["cached mount two"]

    asyncio.run(main())


DRAWN = """FROM busybox
RUN cat /proc/sys/kernel/random/uuid > /one
RUN cat /one > /two
COPY a /a
"""


def test_what_was_made_without_the_cache_is_what_the_cache_has(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            first = await bench.build(DRAWN, {"a": ""})
            again = await bench.build(DRAWN, {"a": ""}, BuildRequest(no_cache=True))
            assert again != first
            assert await bench.build(DRAWN, {"a": ""}) == again
            assert bench.cached == 3

    asyncio.run(main())


def test_a_step_below_that_came_out_different_makes_all_above_it_run(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            await bench.build(DRAWN, {"a": ""})
            rows = await bench.builder.usage()
            (oldest,) = [row.key for row in rows if "uuid" in row.description]
            bench.images.remove(bench.images.list_()[0].id)
            await bench.builder.prune(PruneRequest(everything=True, filters={"id": oldest}))
            result = await bench.build(DRAWN, {"a": ""})
            told = [miss.told() for miss in bench.misses]
            assert told[1:] == ["what it starts from came out different"] * 2
            shown = bench.files(result)
            assert shown["/one"].content == shown["/two"].content != ""
            assert bench.left_behind() == []

    asyncio.run(main())


def test_squashing_something_else_is_not_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            contents = []
            for _ in range(2):
                request = BuildRequest(no_cache=True)
                await bench.build(DRAWN, {"a": ""}, request)
                result = await bench.build(DRAWN, {"a": ""}, BuildRequest(squash=True))
                contents.append(bench.files(result)["/one"].content)
            assert contents[0] != contents[1]

    asyncio.run(main())


def test_a_stage_without_the_cache_beside_one_with_it(tmp_path: Path) -> None:
    step = "RUN cat /proc/sys/kernel/random/uuid > /u\nRUN cat /u > /v\n"
    text = (
        f"FROM busybox AS kept\n{step}FROM busybox AS anew\n{step}"
        "FROM busybox\nCOPY --from=kept /u /v /kept/\nCOPY --from=anew /u /v /anew/\n"
    )

    async def main() -> None:
        async with open_bench(tmp_path / "pier") as bench:
            first = bench.files(await bench.build(text))
            request = BuildRequest(no_cache_stages=frozenset({"anew"}))
            second = bench.files(await bench.build(text, None, request))
            for shown in (first, second):
                for stage in ("kept", "anew"):
                    assert shown[f"/{stage}/u"].content == shown[f"/{stage}/v"].content
            assert second["/anew/u"].content != first["/anew/u"].content

    asyncio.run(main())
