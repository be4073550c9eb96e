"""`python -m bench`: runs every kind of work on every engine, interleaved; prints the table.

Medians of one run on one machine. The ratios are what counts: the absolute figures are this
machine's, at this hour. Run it as root; `--write` puts the table into docs/performance.md.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import registry
from bench.build import CachedBuild, make_context
from bench.disk import own_disk
from bench.engines import Dockerd, Engine, Pier, Podman, running
from bench.large_image import make_archive
from bench.work import WORK, Work, load_image, start_standing

BEGIN, END = "<!-- table: made by python -m bench -->", "<!-- end of table -->"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    parser.add_argument("--only", default="", help="only work whose name contains this")
    parser.add_argument("--engines", default="pier,dockerd,podman")
    parser.add_argument("--megabytes", type=int, default=300, help="size of the image to load")
    arguments = parser.parse_args()
    kinds = [k for k in (Pier, Dockerd, Podman) if k.name in arguments.engines.split(",")]
    with own_disk() as root:
        table = _compare(kinds, root, arguments.only, arguments.megabytes)
    sys.stdout.write(table)
    if arguments.write:
        _write(table)


def _compare(kinds: Sequence[type[Engine]], root: Path, only: str, megabytes: int) -> str:
    with ExitStack() as stack:
        engines = stack.enter_context(running(kinds, root))
        _give_busybox(engines, root)
        work = [*WORK, *stack.enter_context(_image_work(engines, root, megabytes))]
        work = [item for item in work if only in item.name]
        for engine in engines:
            start_standing(engine)
        rows = [_measured(item, engines) for item in work]
    return _table(rows, [engine.name for engine in engines])


@contextmanager
def _image_work(engines: Sequence[Engine], root: Path, megabytes: int) -> Iterator[list[Work]]:
    """Load, pull and build; the registry serves while the block runs."""
    build = CachedBuild(make_context(root / "context"))
    work = [Work("build, all cached", "ms", build, "≤ 0.5 × dockerd")]
    if not megabytes:
        yield work
        return
    archive = make_archive(root / "large.tar.gz", megabytes)
    what, bar = f"of a gzip layer, {megabytes} MB, 20,000 files", "≤ 0.4 × dockerd, ≤ 0.3 × podman"
    load = load_image(archive)
    work.append(Work(f"`load` {what}", "ms", load, bar, rounds=5))
    namespace = next((e.process.pid for e in engines if e.name == "dockerd" and e.process), 0)
    if not namespace or shutil.which("docker-registry") is None:
        yield work
        return
    registry.connect(namespace)
    with registry.serving(root / "registry") as pid:
        registry.push(engines[0], archive)
        pull = Work(f"`pull` {what}", "ms", registry.pull, bar, rounds=5)
        again = registry.second_push(pid)
        push = Work("read by the registry at a second push", "kB", again, "no blob", rounds=1)
        yield [*work, pull, push]


def _give_busybox(engines: Sequence[Engine], root: Path) -> None:
    """All run the same image: Pier's offline busybox, saved and loaded."""
    archive = root / "busybox.tar"
    first = engines[0]
    first.call("pull", "-q", "busybox")
    first.call("save", "-o", str(archive), "busybox")
    for engine in engines[1:]:
        engine.call("load", stdin=archive)


def _measured(work: Work, engines: Sequence[Engine]) -> tuple[Work, list[float]]:
    samples: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for _ in range(work.rounds):
        for engine in engines:
            try:
                samples[engine.name].append(work.measure(engine))
            except subprocess.CalledProcessError as error:
                sys.stderr.write(f"{engine.name}: {work.name}: {error.stderr.decode()[-300:]}\n")
    medians = [statistics.median(s) if s else float("nan") for s in samples.values()]
    sys.stderr.write(f"{work.name}: {medians}\n")
    return work, medians


def _table(rows: Sequence[tuple[Work, list[float]]], names: Sequence[str]) -> str:
    others = names[1:]
    head = ["work", "unit", *names, *(f"pier / {name}" for name in others), "bar"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for work, medians in rows:
        # podman has no daemon, and so no memory of one
        figures = [f"{value:,.1f}" if value else "–" for value in medians]
        ratios = [f"{medians[0] / other:.2f}" if other else "–" for other in medians[1:]]
        lines.append("| " + " | ".join([work.name, work.unit, *figures, *ratios, work.bar]) + " |")
    return "\n".join(lines) + "\n"


def _write(table: str) -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table}{END}{after}")


if __name__ == "__main__":
    main()
