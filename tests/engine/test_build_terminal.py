"""How a build is shown while it goes on, in a terminal above all."""

import json
import os
import re

import pytest

from tests.daemon import Daemon, wait_until
from tests.engine.build_support import ID_LENGTH, PIER, Directory, leftovers, processes
from tests.terminal import Terminal

pytestmark = pytest.mark.usefixtures("classic_builder")


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


def test_parallel_stages_are_shown_side_by_side(daemon: Daemon, context: Directory) -> None:
    context.dockerfile(
        "FROM busybox AS one\nRUN echo first-speaks; sleep 2\n"
        "FROM busybox AS two\nRUN echo second-speaks; sleep 2\n"
        "FROM busybox\nCOPY --from=one /etc/passwd /1\nCOPY --from=two /etc/passwd /2\n"
    )
    with on_terminal(daemon, "build", "--no-cache", str(context)) as terminal:
        shown = terminal.expect("| first-speaks") + terminal.expect("| second-speaks")
        assert "=> [2/7] RUN echo first-speaks; sleep 2" in shown
        assert "=> [4/7] RUN echo second-speaks; sleep 2" in shown
        rest = terminal.expect("Successfully built")
        assert re.search(r"\[2/7\] RUN echo first-speaks; sleep 2 +2\.\ds", rest)
        assert re.search(r"\[4/7\] RUN echo second-speaks; sleep 2 +2\.\ds", rest)
        assert terminal.process.wait(10) == 0


def test_the_output_of_a_failing_step_is_shown_with_its_line(
    daemon: Daemon, context: Directory
) -> None:
    context.dockerfile("FROM busybox\n\nRUN echo what-went-wrong; exit 3\n")
    with on_terminal(daemon, "build", str(context)) as terminal:
        terminal.expect("[2/2] RUN echo what-went-wrong; exit 3\r\n   | what-went-wrong\r\n")
        terminal.expect("Dockerfile:3\r\n")
        terminal.expect("returned a non-zero code: 3")
        assert terminal.process.wait(10) == 3


def test_ctrl_c_ends_all_runs_and_leaves_nothing(daemon: Daemon, context: Directory) -> None:
    marks = [f"6{os.getpid()}{number}" for number in range(2)]
    context.dockerfile(
        f"FROM busybox AS one\nRUN --mount=type=cache,target=/c sleep {marks[0]}\n"
        f"FROM busybox\nRUN --mount=type=tmpfs,target=/t sleep {marks[1]}\nCOPY --from=one / /\n"
    )
    with on_terminal(daemon, "build", "--no-cache", str(context)) as terminal:
        terminal.expect("=> [4/5]")
        wait_until(lambda: all(processes(mark) for mark in marks), "both run")
        terminal.enter("\x03")
        assert terminal.process.wait(10) == 130
    wait_until(lambda: not any(processes(mark) for mark in marks), "both are gone")
    wait_until(lambda: leftovers(daemon) == [], f"nothing is left: {leftovers(daemon)}")


def on_terminal(daemon: Daemon, *words: str) -> Terminal:
    return Terminal([*PIER, *words], {**os.environ, "PIER_HOST": daemon.host, "TERM": "xterm"})
