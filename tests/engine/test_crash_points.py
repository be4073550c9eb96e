"""The daemon is killed at chosen system calls of every operation: then all must hold again.

strace watches one operation to learn which calls it makes, then kills a daemon as it enters one
of them: a rename, a write of the database, a mount, a netlink message. The next daemon must find
rows and files agreeing, nothing left over, the running container untouched, and the same
operation must succeed. By default a few operations are drawn, one call each, in about half a
minute. PIER_CRASH_POINTS=<n> tries n calls of every operation, `all` tries all (nightly: hours);
PIER_CRASH_SEED=<n> repeats a draw.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typing_extensions import override

from tests.daemon import Daemon, wait_until
from tests.invariants import broken

pytestmark = pytest.mark.skipif(
    not shutil.which("strace"), reason="strace says when the daemon dies"
)

CALLS = (
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlinkat,mknodat,"
    "ftruncate,fsync,fdatasync,pwrite64,mount,umount2,move_mount,open_tree,fsconfig,fsmount,"
    "unshare,setns,clone,clone3,vfork,execve,sendmsg,sendto,sendfile,fchown,fchmod"
)
WITNESS_PORT = 18_473
DOCKERFILE = "FROM busybox\nCOPY file /file\nRUN echo built > /made\nLABEL a=b\n"
PLAN = os.environ.get("PIER_CRASH_POINTS", "")
SEED = int(os.environ.get("PIER_CRASH_SEED", "0")) or time.time_ns() % 1_000_000
DRAWN = 6


def words(daemon: Daemon, arguments: Sequence[str]) -> list[str]:
    """@ stands for the directory with the files."""
    return [word.replace("@", f"{daemon.root}/context/") for word in arguments]


def attempt(daemon: Daemon, *arguments: str) -> str:
    """A command whose daemon may die under it; what it complains about."""
    try:
        done = daemon.run(["docker", *words(daemon, arguments)], timeout_s=30)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"docker {arguments} hangs") from None
    return done.stderr.decode()


class Case:
    """An operation: what is there before, what is interrupted, and the image it shall make."""

    def __init__(
        self, name: str, work: list[str], *, ready: tuple[list[str], ...] = (), good: str = ""
    ) -> None:
        self.name = name
        self.work = work
        self.ready = ready
        self.good = good

    @override
    def __str__(self) -> str:
        return self.name


CREATE = ["create", "--name", "one", "-v", "data:/data", "-v", "/etc", "-w", "/deep/er", "busybox"]
RUN = ["run", "-d", "--name", "one", "-p", "18474:80", "-v", "data:/data", "--network", "net",
       "busybox", "sleep", "600"]  # fmt: skip
NET = ["network", "create", "net"]
CHANGED = ["run", "--name", "one", "busybox", "sh", "-c", "echo a > /a; rm /etc/group"]
CASES = (
    Case("create", CREATE),
    Case("run", RUN, ready=(NET,)),
    Case("run and remove", ["run", "--rm", "--name", "one", "busybox", "true"]),
    Case("start", ["start", "one"], ready=([*CREATE, "sleep", "600"],)),
    Case("stop", ["stop", "-t", "0", "one"], ready=(NET, RUN)),
    Case("restart", ["restart", "-t", "0", "one"], ready=(NET, RUN)),
    Case("kill", ["kill", "one"], ready=(NET, RUN)),
    Case("pause", ["pause", "one"], ready=(NET, RUN)),
    Case("remove", ["rm", "-v", "one"], ready=(CREATE,)),
    Case("force removal", ["rm", "-fv", "one"], ready=(NET, RUN)),
    Case("rename", ["rename", "one", "two"], ready=(CREATE,)),
    Case("update", ["update", "--memory", "64m", "--memory-swap", "64m", "one"], ready=(NET, RUN)),
    Case("commit", ["commit", "one", "image"], ready=(CHANGED,), good="image"),
    Case("commit what runs", ["commit", "one", "image"], ready=(NET, RUN), good="image"),
    Case("build", ["build", "-q", "--no-cache", "-t", "image", "@"], good="image"),
    Case("load", ["load", "-q", "-i", "@image.tar"], good="loaded"),
    Case("import", ["import", "@root.tar", "image"], good="image"),
    Case("remove an image", ["rmi", "-f", "loaded"], ready=(["load", "-i", "@image.tar"],)),
    Case("volume", ["volume", "create", "data"]),
    Case("remove a volume", ["volume", "rm", "data"], ready=(["volume", "create", "data"],)),
    Case("network", NET),
    Case("remove a network", ["network", "rm", "net"], ready=(NET,)),
    Case("connect", ["network", "connect", "net", "witness"], ready=(NET,)),
    Case("copy", ["cp", "@root.tar", "one:/root.tar"], ready=(CREATE,)),
    Case("exec", ["exec", "witness", "true"]),
    Case("prune", ["system", "prune", "-af", "--volumes"], ready=(CHANGED, NET)),
)  # fmt: skip


def drawn(cases: Sequence[Case], count: int) -> Sequence[Case]:
    return cases if PLAN else random.Random(SEED).sample(cases, count)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a container that must not notice anything, and files to work with."""
    with Daemon(tmp_path_factory.mktemp("crash")) as daemon:
        daemon.docker("pull", "-q", "busybox")
        context = daemon.root / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "file").write_text("content")
        daemon.docker("build", "-q", "-t", "loaded", str(context))
        daemon.docker("save", "-o", str(context / "image.tar"), "loaded")
        daemon.docker("rmi", "loaded")
        daemon.docker("create", "--name", "root", "busybox")
        daemon.docker("export", "-o", str(context / "root.tar"), "root")
        daemon.docker("rm", "root")
        script = "httpd -p 80; i=0; while :; do echo $i; i=$((i+1)); usleep 50000; done"
        daemon.docker("run", "-d", "--name", "witness", "-p", f"127.0.0.1:{WITNESS_PORT}:80",
                      "busybox", "sh", "-c", script)  # fmt: skip
        yield daemon


def cleared(daemon: Daemon) -> None:
    """Nothing but the witness and its image."""
    for line in (
        "rm -fv one",
        "rm -fv two",
        "network disconnect -f net witness",
        "network rm net",
        "volume rm data",
        "rmi -f image",
        "rmi -f loaded",
    ):
        said = attempt(daemon, *line.split()).lower()
        missing = ("no such", "not found", "is not connected")
        assert not said or any(word in said for word in missing), f"{line}: {said}"


def spawner(daemon: Daemon) -> int:
    """The process that forks monitors, and with them runtimes and containers."""
    assert daemon.process is not None
    pids = subprocess.run(
        ["pgrep", "-P", str(daemon.process.pid), "-x", "pier-spawner"],
        capture_output=True, check=True,
    ).stdout.split()  # fmt: skip
    return int(pids[0])


class Trace:
    """strace on a process and its children, for as long as the block lasts."""

    def __init__(self, daemon: Daemon, *options: str, pid: int = 0) -> None:
        assert daemon.process is not None
        self._output = daemon.root / "trace"
        traced = str(pid or daemon.process.pid)
        argv = ["strace", "-f", "-qq", "-o", str(self._output), "-p", traced]
        self._argv = [*argv, *options]

    def __enter__(self) -> "Trace":
        self._output.unlink(missing_ok=True)
        pid = self._argv[self._argv.index("-p") + 1]
        self._process = subprocess.Popen(self._argv, stderr=subprocess.DEVNULL)
        wait_until(lambda: _traced(pid) or self._process.poll() is not None, "strace is attached")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:  # it waits for threads of a daemon that is gone
            self._process.kill()
            self._process.wait()

    def calls(self) -> Counter[str]:
        """How often each call was made by the thread that made it most."""
        found: Counter[tuple[str, str]] = Counter()
        for line in self._output.read_text(errors="replace").splitlines():
            if match := re.match(r"(\d+) +(\w+)\(", line):
                found[match[1], match[2]] += 1
        most: Counter[str] = Counter()
        for (_, call), count in found.items():
            most[call] = max(most[call], count)
        return most


def _traced(pid: str) -> bool:
    """Every thread of the process."""
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return all("TracerPid:\t0\n" not in status for status in statuses)


def points(calls: Counter[str], chance: random.Random) -> list[tuple[str, int]]:
    """Which call, and the how many-th of its kind, is the daemon's last."""
    if not calls:
        pytest.skip("strace may not look at processes here")
    every = [(call, number) for call, count in calls.items() for number in range(1, count + 1)]
    if PLAN == "all":
        return every
    chosen = chance.choices(sorted(calls), k=int(PLAN or "1"))
    return [(call, chance.randint(1, calls[call])) for call in chosen]


def witness(daemon: Daemon) -> tuple[str, str]:
    shown = daemon.docker("inspect", "-f", "{{.State.Pid}} {{.RestartCount}}", "witness")
    return shown, daemon.docker("inspect", "-f", "{{.State.Status}}", "witness")


@pytest.mark.parametrize("case", drawn(CASES, DRAWN), ids=str)
def test_a_crash_at_any_system_call_is_made_good(shop: Daemon, case: Case) -> None:
    daemon, before = shop, witness(shop)
    prepare(daemon, case)
    with Trace(daemon, "-e", f"trace={CALLS}") as trace:
        daemon.docker(*words(daemon, case.work))
    for call, number in points(trace.calls(), random.Random(f"{SEED} {case}")):
        told = f"{case.name}, killed at {call} number {number} (PIER_CRASH_SEED={SEED})"
        prepare(daemon, case)
        with Trace(daemon, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"):
            attempt(daemon, *case.work)
        daemon.kill()
        daemon.log.write_text("")
        daemon.start()
        settled(daemon, told)
        assert witness(daemon) == before, told
        prepare(daemon, case)
        daemon.docker(*words(daemon, case.work))
        if case.good:
            done = daemon.docker("run", "--rm", case.good, "cat", "/etc/passwd")
            assert "root" in done, told
    cleared(daemon)
    settled(daemon, case.name)


def prepare(daemon: Daemon, case: Case) -> None:
    cleared(daemon)
    for command in case.ready:
        daemon.docker(*words(daemon, command))


def settled(daemon: Daemon, told: str) -> None:
    """Removals go on in the background; after them everything must hold."""
    deadline = time.monotonic() + 10
    while (found := broken(daemon)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not found, f"{told}: {found}"


BELOW = "mount,umount2,pivot_root,sethostname,clone,clone3,setns,unshare,rename,execve,bind,chdir"


BELOW_CASES = [case for case in CASES if case.name in ("run", "exec", "update", "build")]


@pytest.mark.parametrize("case", drawn(BELOW_CASES, 2), ids=str)
def test_a_monitor_or_a_runtime_dies_at_any_system_call(shop: Daemon, case: Case) -> None:
    """The daemon lives: it says that it failed, cleans up, and does it the next time."""
    daemon, before = shop, witness(shop)
    prepare(daemon, case)
    with Trace(daemon, "-e", f"trace={BELOW}", pid=spawner(daemon)) as trace:
        daemon.docker(*words(daemon, case.work))
    for call, number in points(trace.calls(), random.Random(f"{SEED} {case}")):
        told = f"{case.name}, killed below at {call} number {number} (PIER_CRASH_SEED={SEED})"
        prepare(daemon, case)
        inject = f"inject={call}:signal=KILL:when={number}"
        with Trace(daemon, "-e", f"trace={call}", "-e", inject, pid=spawner(daemon)):
            attempt(daemon, *case.work)
        settled(daemon, told)
        assert witness(daemon) == before, told
        prepare(daemon, case)
        daemon.docker(*words(daemon, case.work))
    cleared(daemon)
    settled(daemon, case.name)


def test_monitors_and_spawner_are_killed(shop: Daemon) -> None:
    daemon = shop
    cleared(daemon)
    daemon.docker(*NET)
    for who in (("monitor",), ("spawner",), ("monitor", "spawner"), ("monitor", "daemon")):
        daemon.docker(*RUN)
        pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "one"))
        status = Path(f"/proc/{pid}/status").read_text()
        victims = {"monitor": int(status.partition("PPid:")[2].split()[0]),
                   "spawner": spawner(daemon)}  # fmt: skip
        for name in who:
            if name == "daemon":
                daemon.kill()
                daemon.start()
            else:
                os.kill(victims[name], signal.SIGKILL)
        if "monitor" in who:
            wait_until(lambda: state(daemon) == "exited 255", "its container is given up")
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it has ended")  # noqa: B023
        else:
            assert daemon.docker("exec", "one", "echo", "on") == "on\n"
        settled(daemon, str(who))
        daemon.docker("restart", "-t", "0", "one")
        daemon.docker("rm", "-fv", "one")
    cleared(daemon)
    settled(daemon, "all")


def state(daemon: Daemon) -> str:
    shown = "{{.State.Status}} {{.State.ExitCode}}"
    return daemon.docker("inspect", "-f", shown, "one").strip()


def test_the_witness_lost_no_line(shop: Daemon) -> None:
    lines = [int(line) for line in shop.docker("logs", "witness").split()]
    assert lines == list(range(len(lines)))
    assert len(lines) > 20
