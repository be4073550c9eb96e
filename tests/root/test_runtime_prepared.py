"""pier.runtime.prepared: a child that waits in its own mount namespace and becomes a program."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.linux import syscalls
from pier.runtime.prepared import NotPrepared, prepare, run_in
from pier.runtime.stdio import ChildFds


@pytest.fixture
def out(tmp_path: Path) -> Iterator[tuple[ChildFds, Path]]:
    path = tmp_path / "out"
    null = os.open(os.devnull, os.O_RDONLY)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    yield ChildFds(null, fd, fd), path
    os.close(null)
    os.close(fd)


def own_namespace() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_becomes_the_program_in_the_namespace_made_before(out: tuple[ChildFds, Path]) -> None:
    stdio, path = out
    ready = prepare(["/bin/readlink", "/proc/self/ns/mnt"], stdio, own_namespace)
    assert path.read_text() == ""
    ready.child.go()
    assert exit_code(ready.child.pid) == 0
    inside = f"mnt:[{os.fstat(ready.namespace_fd).st_ino}]\n"
    assert path.read_text() == inside != f"{Path('/proc/self/ns/mnt').readlink()}\n"
    later = run_in(ready.namespace_fd, ["/bin/readlink", "/proc/self/ns/mnt"], stdio)
    assert exit_code(later) == 0
    assert path.read_text() == inside * 2
    os.close(ready.namespace_fd)


def test_the_program_finds_every_signal_as_it_was(out: tuple[ChildFds, Path]) -> None:
    stdio, path = out
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        ready = prepare(["/bin/grep", "^Sig[BI]", "/proc/self/status"], stdio, own_namespace)
        ready.child.go()
        assert exit_code(ready.child.pid) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    os.close(ready.namespace_fd)
    assert [int(line.split()[1], 16) for line in path.read_text().splitlines()] == [0, 0]


def test_what_fails_before_is_told(out: tuple[ChildFds, Path]) -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/no/layer")

    with pytest.raises(NotPrepared, match="No such file or directory: '/no/layer'"):
        prepare(["/bin/true"], out[0], fail)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_that_is_given_up_runs_nothing(out: tuple[ChildFds, Path]) -> None:
    stdio, path = out
    ready = prepare(["/bin/echo", "never"], stdio, own_namespace)
    ready.child.give_up()
    os.close(ready.namespace_fd)
    assert not Path(f"/proc/{ready.child.pid}").exists()
    assert path.read_text() == ""


def test_a_program_that_is_not_there_is_127(out: tuple[ChildFds, Path]) -> None:
    ready = prepare(["/no/such/program"], out[0], own_namespace)
    ready.child.go()
    os.close(ready.namespace_fd)
    assert exit_code(ready.child.pid) == 127
