"""What an exec made without the runtime may not do, and what is left to the runtime."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.containers.native_exec import plan
from pier.linux import syscalls
from pier.runtime.joining import (
    Group,
    NotUnderstood,
    close_groups,
    find_container,
    join_groups,
    open_groups,
)
from pier.runtime.launcher import LaunchFailed
from pier.runtime.monitor import START_S
from pier.runtime.monitors import Monitor, RuntimeFailed
from pier.runtime.native_exec import checked_pid
from pier.runtime.orders import MonitorOrder, NativeExec
from tests.root.exec_support import end, output, started
from tests.root.runtime_support import Bench, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@scenario
async def test_a_directory_only_the_user_may_enter_is_entered(bench: Bench) -> None:
    home = bench.layer / "etc/home"
    home.mkdir(mode=0o700)
    os.chown(home, 1000, 1000)
    order, container = await started(bench)
    user = {"user": {"uid": 1000, "gid": 1000}, "cwd": "/etc/home", "capabilities": {}}
    assert await output(bench, order, "pwd", native=True, process=user) == (0, "/etc/home\n")
    other = user | {"user": {"uid": 1001, "gid": 1001}}
    # As root, with every capability: the runtime looks first, too.
    assert await output(bench, order, "true", native=True, process=other) == (0, "")
    bench.native = True
    monitor = await bench.exec(order, "true", process={"cwd": "/no/such"})
    with pytest.raises(RuntimeFailed, match=r'chdir to cwd \("/no/such"\).*no such file'):
        await monitor.start()
    await end(container)


@scenario
async def test_no_directory_and_no_program_of_the_hosts_can_be_reached(bench: Bench) -> None:
    """CVE-2024-21626 and CVE-2019-5736."""
    (bench.layer / "etc/script").write_text("#!/proc/self/exe\n")
    (bench.layer / "etc/script").chmod(0o755)
    for number in range(3, 40):
        (bench.layer / f"etc/{number}").symlink_to(f"/proc/self/fd/{number}")
    order, container = await started(bench)
    bench.native = True
    for number in range(3, 40):
        monitor = await bench.exec(order, "pwd", process={"cwd": f"/etc/{number}"})
        with pytest.raises(RuntimeFailed):
            await monitor.start()
    with contextlib.suppress(RuntimeFailed):
        await output(bench, order, "/etc/script", native=True)
    process = bench.spawner._process
    assert process is not None
    with pytest.raises(OSError, match="Read-only file system"):
        os.open(f"/proc/{process.pid}/exe", os.O_WRONLY)
    await end(container)


@scenario
async def test_what_is_no_multiplexer_is_not_opened(bench: Bench) -> None:
    order, container = await started(bench)
    bench.native = True
    ptmx = Path(f"/proc/{container.pid}/root/dev/ptmx")
    os.unlink(ptmx)  # noqa: PTH108 - its own container's
    os.mkfifo(ptmx)
    watch = syscalls.inotify_init1()
    syscalls.inotify_add_watch(watch, str(ptmx), 0x20)  # IN_OPEN
    monitor = await bench.exec(order, "true", terminal=True)
    with pytest.raises(RuntimeFailed, match="not a terminal multiplexer"):
        await monitor.start()
    with pytest.raises(BlockingIOError):
        os.read(watch, 4096)
    os.close(watch)
    await end(container)


@scenario
async def test_what_waits_to_be_started_is_in_the_container_but_not_among_its_processes(
    bench: Bench,
) -> None:
    order, container = await started(bench)
    bench.native = True
    monitor = await bench.exec(order, "true")

    def waiting() -> list[int]:
        pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        inside = namespace(container.pid, "mnt")
        return [pid for pid in pids if namespace(pid, "mnt") == inside and pid != container.pid]

    await until(lambda: len(waiting()) == 1)
    assert namespace(waiting()[0], "pid") == namespace(os.getpid(), "pid")
    await monitor.start()
    assert (await monitor.wait()).code == 0
    await monitor.ended()
    await end(container)


def namespace(pid: int, kind: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


@scenario
async def test_what_is_not_understood_is_left_to_the_runtime(bench: Bench) -> None:
    order, container = await started(bench)
    bench.native = False
    monitor = await bench.exec(
        order, "cat", "/etc/secret", native=NativeExec(os.getpid(), "x"), capture_bytes=99
    )
    await monitor.start()
    assert (await monitor.wait()).output == b"x"
    await monitor.ended()
    with pytest.raises(NotUnderstood, match="left its group"):
        find_container(os.getpid(), order.cgroup)
    child = subprocess.Popen(["unshare", "--user", "sleep", "100"])  # noqa: ASYNC220
    try:
        await until(lambda: namespace(child.pid, "user") != namespace(os.getpid(), "user"))
        with pytest.raises(NotUnderstood):
            find_container(child.pid, order.cgroup)
    finally:
        child.kill()
        child.wait()
    await end(container)


@scenario
async def test_where_somebody_may_look_into_processes_the_runtime_makes_them(bench: Bench) -> None:
    order, container = await started(bench)
    bundle = Path(order.bundle)
    pid = int((bundle / "pid").read_text())
    usual = {"args": ["true"], "cwd": "/", "env": ["HOME=/"]}
    assert await plan(bundle, bench.info, order.container_id, pid, usual) is not None
    strong = {**usual, "capabilities": {"bounding": ["CAP_SYS_PTRACE"]}}
    assert await plan(bundle, bench.info, order.container_id, pid, strong) is None
    assert await plan(bundle, bench.info, order.container_id, pid, usual) is None
    await end(container)


@scenario
async def test_the_last_process_a_container_may_have_can_be_an_exec(bench: Bench) -> None:
    if bench.info.name == "runc":
        pytest.skip("its own threads count, too")
    order, container = await started(bench, linux={"resources": {"pids": {"limit": 2}}})
    pid = int((Path(order.bundle) / "pid").read_text())
    native = NativeExec(pid, order.container_id)
    code, text = await output(bench, order, "echo", "there", planned=native)
    assert (code, text) == (0, "there\n")
    await end(container)


def test_only_a_child_is_taken_for_the_program() -> None:
    """Who took the program's process over could name any process of the host."""
    child = subprocess.Popen(["sleep", "100"])
    try:
        assert checked_pid(child.pid) == child.pid
        with pytest.raises(LaunchFailed, match="none of ours"):
            checked_pid(1)
    finally:
        child.kill()
        child.wait()
    assert checked_pid(child.pid) == child.pid


@pytest.fixture
def v2_group() -> Iterator[Path]:
    """A group in the v2 hierarchy, be it the only one or beside v1's."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    point = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if point is None:
        pytest.skip("no cgroup2 is mounted")
    group = point / f"pier-test-joining-{os.getpid()}"
    group.mkdir()
    yield group
    for directory in (group / "invalid", group / "threaded", group):
        with contextlib.suppress(FileNotFoundError):
            directory.rmdir()


def group_of_child(group: Group) -> str:
    """Where a process ends up that joins `group`."""
    reading, writing = os.pipe()
    opened = open_groups((group,))
    pid = os.fork()
    if pid == 0:
        try:
            join_groups(opened)
            os.write(writing, Path("/proc/self/cgroup").read_bytes())
        finally:
            os._exit(0)
    os.close(writing)
    close_groups(opened)
    os.waitpid(pid, 0)
    with open(reading) as file:
        lines = file.read().splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


def test_a_v2_group_is_joined_or_the_first_processs_where_it_holds_none(v2_group: Path) -> None:
    procs = str(v2_group / "cgroup.procs")
    assert group_of_child(Group(procs)) == f"/{v2_group.name}"
    (v2_group / "threaded").mkdir()
    (v2_group / "invalid").mkdir()
    (v2_group / "threaded/cgroup.type").write_text("threaded")
    invalid = str(v2_group / "invalid/cgroup.procs")
    assert group_of_child(Group(invalid, procs)) == f"/{v2_group.name}"


@scenario
async def test_who_is_stopped_before_it_is_the_program_is_killed(bench: Bench) -> None:
    """Its parent waits in vfork(2), and everybody else for that."""
    if bench.info.name == "runc":
        pytest.skip("no runtime takes part in it: once is enough")
    order, container = await started(bench)
    for _ in range(50):  # between birth and program there is a millisecond to hit
        monitor, first = await stopped_at_birth(bench, order)
        if first:
            break
        await monitor.wait()
        await monitor.ended()
    else:
        pytest.skip("this machine was never quick enough to stop one")
    try:
        async with asyncio.timeout(30):
            await monitor.start()
            assert (await monitor.wait()).code == 137
    except RuntimeFailed:
        pass  # an answer, too
    await monitor.ended()
    await until(lambda: not Path(f"/proc/{first}").exists())
    await end(container)


@scenario
async def test_a_start_that_is_held_up_can_be_killed(bench: Bench) -> None:
    order, container = await started(bench)
    for _ in range(50):
        monitor, first = await stopped_at_birth(bench, order)
        if first:
            break
        await monitor.wait()
        await monitor.ended()
    else:
        pytest.skip("this machine was never quick enough to stop one")
    begun = time.monotonic()
    assert await monitor.kill()
    with pytest.raises(RuntimeFailed):
        await monitor.start()
    await monitor.ended()
    assert time.monotonic() - begun < START_S  # before anybody looks at it
    await until(lambda: not Path(f"/proc/{first}").exists())
    await end(container)


async def stopped_at_birth(bench: Bench, order: MonitorOrder) -> tuple[Monitor, int]:
    """An exec whose process was stopped before it executed its program; its pid, 0: too late."""
    bench.native = True
    many = ["x" * 100] * 15_000  # it takes a while to copy them to the program
    monitor = await bench.exec(order, "true", *many)
    await until(lambda: len(inside(container_of(order))) == 1)
    (waiting,) = inside(container_of(order))
    monitor.begin()
    first = await asyncio.to_thread(stop_child, waiting)
    return monitor, first


def container_of(order: MonitorOrder) -> int:
    return int((Path(order.bundle) / "pid").read_text())


def inside(container: int) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    mounts = namespace(container, "mnt")
    return [pid for pid in pids if namespace(pid, "mnt") == mounts and pid != container]


def stop_child(parent: int) -> int:
    """Of a process that was in execve(2) by then it is the program that is stopped: too late."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    try:
        while not (found := children.read_text().split()):
            pass
        process = Path("/proc", found[0])
        os.kill(int(found[0]), signal.SIGSTOP)
        while (process / "stat").read_text().rpartition(")")[2].split()[0] not in "TZ":
            pass
        program = (process / "exe").readlink().name
    except OSError:
        return 0
    if program == "busybox":
        os.kill(int(found[0]), signal.SIGCONT)
        return 0
    return int(found[0])
