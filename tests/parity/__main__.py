"""`python -m tests.parity`: shows how Pier differs from what dockerd answered, or records that."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.daemon import Daemon
from tests.parity.engine import IMAGE, Engine
from tests.parity.running import make_archive, run_scenario
from tests.parity.scenario import (
    Command,
    Result,
    Scenario,
    difference,
    read_scenario,
    topics,
    write_scenario,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topics", nargs="*", help="files below scenarios/; all without any")
    parser.add_argument("--record", action="store_true", help="write what dockerd answers")
    parser.add_argument("--host", help="dockerd's socket, unix://…; everything it has is removed")
    parser.add_argument("--explain", action="store_true", help="write Pier's results below reasons")
    arguments = parser.parse_args()
    scenarios = [read_scenario(topic) for topic in arguments.topics or topics()]
    with _pier() as pier:
        if arguments.record:
            _record(scenarios, _given_image(Engine(arguments.host), pier))
        else:
            _show(scenarios, pier, explain=arguments.explain)


@contextmanager
def _pier() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as place, Daemon(Path(place) / "pier") as daemon:
        archive = Path(place) / "image.tar"
        make_archive(daemon, archive)
        daemon.docker("load", "-i", str(archive))
        yield Engine(daemon.host)


def _given_image(engine: Engine, source: Engine) -> Engine:
    saved = subprocess.run(
        ["docker", "-H", source.host, "save", IMAGE], capture_output=True, check=True
    )
    load = ["docker", "-H", engine.host, "load"]
    subprocess.run(load, input=saved.stdout, capture_output=True, check=True)
    return engine


def _record(scenarios: Sequence[Scenario], engine: Engine) -> None:
    for scenario in scenarios:
        results = run_scenario(scenario, engine)
        steps = [
            replace(step, recorded=result)
            for step, result in zip(scenario.steps, results, strict=True)
        ]
        write_scenario(scenario.with_steps(steps))
        hung = [step.line for step in steps if step.recorded and step.recorded.code == 124]
        sys.stdout.write(f"{scenario.topic}: {len(steps)} steps; hung: {hung or 'none'}\n")


def _show(scenarios: Sequence[Scenario], engine: Engine, *, explain: bool) -> None:
    steps = equal = meant = 0
    for scenario in scenarios:
        started = time.monotonic()
        results = list(run_scenario(scenario, engine))
        sys.stderr.write(f"{scenario.topic}: {time.monotonic() - started:.1f} s\n")
        pairs = list(zip(scenario.steps, results, strict=True))
        for step, result in pairs:
            sys.stdout.write(difference(step, result))
        if explain:
            write_scenario(scenario.with_steps([_explained(*pair) for pair in pairs]))
        steps += len(pairs)
        equal += sum(result == step.recorded for step, result in pairs)
        meant += sum(bool(step.reason) for step in scenario.steps)
    share = f"{steps} steps, {equal} equal ({100 * equal / steps:.1f} %)"
    sys.stdout.write(f"{share}, {meant} differ on purpose\n")


def _explained(step: Command, result: Result) -> Command:
    return replace(step, own=result) if step.reason else step


if __name__ == "__main__":
    main()
