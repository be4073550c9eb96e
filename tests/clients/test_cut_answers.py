"""A daemon that goes in the middle of an answer: no command takes half of it for the whole."""

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tests.clients.canned_answers import ANSWERS
from tests.clients.command_lines import PIER, run_client
from tests.clients.recording_daemon import NO_ANSWER, Status
from tests.daemon import PATIENCE_S, Daemon

STREAMS = (
    "logs web", "events", "stats web", "save nginx", "export web", "pull busybox", "push busybox",
    "load -i /dev/null", "import /dev/null x", "build -",
)  # fmt: skip
DOCUMENTS = ("wait web", "ps", "inspect web", "system df", "rmi nginx", "container prune -f")


def cut_off(answer: object) -> Status:
    """What `answer` says, up to its last byte; the end of the answer never comes."""
    status = answer if isinstance(answer, Status) else Status(200, answer)
    return Status(200, status.body, cut_off=True)


def is_looked_up_first(line: str, path: str) -> bool:
    return line.startswith("logs") and path == "/containers/web/json"


@pytest.mark.parametrize("line", [*STREAMS, *DOCUMENTS])
def test_half_an_answer_is_a_failure(line: str) -> None:
    answers = {
        (method, path): answer if is_looked_up_first(line, path) else cut_off(answer)
        for (method, path), answer in ANSWERS.items()
    }
    ran = run_client(PIER, line, answers, stdin=b"FROM scratch\n")
    assert ran.code == 1
    assert ran.err.splitlines()[-1].endswith("unexpected EOF")


@pytest.mark.parametrize("line", ["logs web", "wait web", "rm web", "images"])
def test_no_answer_is_told_in_the_words_of_docker(line: str) -> None:
    silent = {key: Status(NO_ANSWER) for key in ANSWERS}
    ran = run_client(PIER, line, silent)
    assert ran.code == 1
    assert ran.err.startswith("error during connect: ")
    assert ran.err.endswith('": EOF\n')


def test_a_file_that_is_half_arrived_is_not_kept(tmp_path: Path) -> None:
    answers = {**ANSWERS, ("GET", "/images/get"): Status(200, b"half", cut_off=True)}
    ran = run_client(PIER, f"save -o {tmp_path}/a.tar nginx", answers)
    assert (ran.code, list(tmp_path.iterdir())) == (1, [])


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("build -", 1, "failed to peek context header from STDIN: EOF"),
        ("login -u a --password-stdin x.test", 1, "interactive login from a non TTY device"),
        ("load", 0, ""),
        ("import - x", 0, ""),
    ],
)
def test_a_stdin_that_is_closed_is_empty(line: str, code: int, said: str) -> None:
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *PIER]
    ran = run_client(closed, line, ANSWERS)
    assert (ran.code, ran.err.count("\n")) == (code, code)
    assert said in ran.err


def test_output_that_cannot_be_written_is_a_failure() -> None:
    full = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *PIER]
    ran = run_client(full, "ps", ANSWERS)
    assert (ran.code, ran.err) == (1, "no space left on device\n")


@pytest.mark.parametrize("ending", [Daemon.kill, Daemon.stop])
def test_a_follower_fails_when_its_daemon_ends(
    own_daemon: Daemon, ending: Callable[[Daemon], None]
) -> None:
    own_daemon.docker("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo up; sleep 1000")
    environment = {**os.environ, "PIER_HOST": own_daemon.host, "DOCKER_HOST": own_daemon.host}
    with Popen([*PIER, "logs", "-f", "web"], stdout=PIPE, stderr=PIPE, env=environment) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"up\n"
        ending(own_daemon)
        errors = logs.communicate(timeout=PATIENCE_S)[1]
    assert (logs.returncode, errors) == (1, b"unexpected EOF\n")
