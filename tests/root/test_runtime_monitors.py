# ruff: noqa: ASYNC240 - tests may block
"""Spawner and monitors with the real kernel and both OCI runtimes."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.errors import Failed
from pier.linux import cgroup, syscalls
from pier.linux.mount import Overlay
from pier.runtime.monitors import MonitorLost, RuntimeFailed, adopt, read_exit
from pier.runtime.orders import ConsoleSize
from tests.root.runtime_support import PARENT, Bench, Client, forget_groups, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=["crun", "runc"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, request.param)
    deadline = time.monotonic() + 2
    while (left := monitors_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)  # a monitor that hung up is still on its way out
    parents = map(Path, cgroup.layout().directories(PARENT))
    groups = [path for parent in parents for path in parent.iterdir() if path.is_dir()]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    forget_groups()
    assert left == []
    assert groups == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def monitors_of(root: Path) -> list[int]:
    """Processes, monitors above all, that still have something below `root` open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(str(root) in str(fd.readlink()) for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


@scenario
async def test_output_and_exit_code_arrive(bench: Bench) -> None:
    monitor = await bench.launch("sh", "-c", "echo out; echo err >&2; exit 3")
    client = await Client().attach(monitor)
    pid = await monitor.start()
    assert pid > 0
    assert monitor.pid == pid
    end = await monitor.wait()
    assert (end.code, end.oom_killed) == (3, False)
    assert await client.read_streams() == {1: b"out\n", 2: b"err\n"}
    await monitor.ended()
    assert read_exit(monitor.directory) == end


@scenario
async def test_a_signal_ends_with_128_and_its_number(bench: Bench) -> None:
    monitor = await bench.started("sleep", "100")
    assert await monitor.signal(signal.SIGKILL)
    assert (await monitor.wait()).code == 137
    await monitor.ended()
    with pytest.raises(MonitorLost):
        await monitor.signal(signal.SIGKILL)


@scenario
async def test_the_first_clients_end_of_input_ends_the_process_input(bench: Bench) -> None:
    monitor = await bench.launch("cat", stdin=True, stdin_once=True)
    client = await Client().attach(monitor, stdin=True, early=b"early ")
    await client.send(b"before ")
    await monitor.start()
    await client.send(b"after")
    client.end_input()
    assert await client.read_streams() == {1: b"early before after"}
    assert (await monitor.wait()).code == 0
    await monitor.ended()


@scenario
async def test_without_stdin_once_input_stays_open_until_told(bench: Bench) -> None:
    monitor = await bench.launch("cat", stdin=True)
    first = await Client().attach(monitor, stdin=True, mux=False)
    await monitor.start()
    await first.send(b"one")
    first.end_input()
    assert await first.read_until(b"one") == b"one"
    second = await Client().attach(monitor, stdin=True, mux=False)
    await second.send(b"two")
    assert await second.read_until(b"two") == b"two"
    await monitor.close_stdin()
    assert (await monitor.wait()).code == 0
    assert await second.read_all() == b""
    assert await first.read_all() == b"two"
    await monitor.ended()


@scenario
async def test_no_stdin_is_dev_null(bench: Bench) -> None:
    monitor = await bench.launch("cat")
    client = await Client().attach(monitor, stdin=True)
    await client.send(b"lost")
    await monitor.start()
    assert (await monitor.wait()).code == 0
    assert await client.read_all() == b""
    await monitor.ended()


@scenario
async def test_much_output_after_half_close_arrives_whole(bench: Bench) -> None:
    monitor = await bench.launch(
        "sh", "-c", "cat >/dev/null; seq 400000", stdin=True, stdin_once=True
    )
    client = await Client().attach(monitor, stdin=True)
    await monitor.start()
    client.end_input()
    streams = await client.read_streams()
    assert streams[1].split() == [b"%d" % n for n in range(1, 400001)]
    assert (await monitor.wait()).code == 0
    await monitor.ended()


@scenario
async def test_a_terminal_has_the_size_asked_for_and_follows_resize(bench: Bench) -> None:
    script = "stty size; read x; stty size; echo done"
    size = ConsoleSize(33, 99)
    monitor = await bench.launch("sh", "-c", script, terminal=True, console_size=size, stdin=True)
    client = await Client().attach(monitor, stdin=True, mux=False)
    await monitor.start()
    await client.read_until(b"33 99\r\n")
    await monitor.resize(40, 120)
    await client.send(b"\n")
    text = await client.read_until(b"done\r\n")
    assert b"40 120\r\n" in text
    assert (await monitor.wait()).code == 0
    assert await client.read_all() == b""
    await monitor.ended()


@scenario
async def test_detach_keys_split_over_reads_leave_the_container_running(bench: Bench) -> None:
    monitor = await bench.launch("cat", terminal=True, stdin=True)
    detached: list[str] = []
    monitor.on_detached = detached.append
    client = await Client().attach(
        monitor, stdin=True, mux=False, detach_keys=b"\x10\x11", client_id="me"
    )
    await monitor.start()
    await client.send(b"hello\n")
    await client.read_until(b"hello\r\nhello\r\n")
    await client.send(b"\x10")
    await client.send(b"\x11")
    await client.read_all()
    await until(lambda: detached == ["me"])
    assert await monitor.signal(0)
    again = await Client().attach(monitor, stdin=True, mux=False)
    await again.send(b"still\n")
    await again.read_until(b"still\r\n")
    await monitor.kill()
    assert (await monitor.wait()).code == 137
    await again.read_all()
    await monitor.ended()


@scenario
async def test_a_client_from_before_the_start_holds_output_back(bench: Bench) -> None:
    log = bench.log()
    monitor = await bench.launch("seq", "2000000", log=log)
    client = await Client().attach(monitor)
    await monitor.start()
    sizes = [-1]

    def settled() -> bool:
        sizes.append(Path(log.path).stat().st_size)
        return sizes[-1] > 0 and len(sizes) > 40 and len(set(sizes[-30:])) == 1

    await until(settled)
    assert await monitor.signal(0), "it must be waiting, not finished"
    streams = await client.read_streams()
    assert len(streams[1].split()) == 2000000
    await monitor.wait()
    await monitor.ended()


@scenario
async def test_a_late_client_that_does_not_read_is_dropped(bench: Bench) -> None:
    monitor = await bench.launch("sh", "-c", "read x; seq 1500000", stdin=True, stall_s=0.3)
    await monitor.start()
    stuck = await Client().attach(monitor)
    typist = await Client().attach(monitor, stdin=True, stdout=False, stderr=False)
    await typist.send(b"\n")
    assert (await monitor.wait()).code == 0
    await monitor.ended()
    streams = await stuck.read_streams()
    assert b"disconnected" in streams[3]
    typist.socket.close()


@scenario
async def test_a_vanished_client_disturbs_nobody(bench: Bench) -> None:
    monitor = await bench.launch("sh", "-c", "read x; seq 100000", stdin=True)
    gone = await Client().attach(monitor)
    stays = await Client().attach(monitor, stdin=True)
    await monitor.start()
    gone.socket.close()
    await stays.send(b"\n")
    assert len((await stays.read_streams())[1].split()) == 100000
    assert (await monitor.wait()).code == 0
    await monitor.ended()


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/secret", 126, "permission denied"),
        ("/etc", 126, "is a directory"),
    ],
)
@scenario
async def test_a_failed_start_says_why_and_leaves_nothing(
    bench: Bench, program: str, code: int, words: str
) -> None:
    order = bench.order(program)
    monitor = await bench.spawner.launch(order)
    client = Client()
    mine = client._theirs.dup()
    await client.attach(monitor)
    with pytest.raises(RuntimeFailed) as caught:
        await monitor.start()
    if program != "/etc":
        assert words in str(caught.value)
    assert caught.value.exit_code == code
    assert not Path(bench.info.root, order.container_id).exists()
    assert cgroup.layout().directories(order.cgroup) == []
    mine.sendall(b"the daemon's own words")
    mine.close()
    assert await client.read_all() == b"the daemon's own words"


@scenario
async def test_a_launch_that_cannot_be_says_why(bench: Bench) -> None:
    order = bench.order("true")._replace(overlay=Overlay(("/no/such/layer", "/nor/this")))
    with pytest.raises(Failed, match="No such file"):
        await bench.spawner.launch(order)


@scenario
async def test_out_of_memory_is_told_and_recorded(bench: Bench) -> None:
    script = (
        "x=$(dd if=/dev/zero bs=1M count=256 | sh -c 'y=$(cat | head -c 200000000 | sed s/^/x/)')"
    )
    script = "dd if=/dev/zero of=/dev/null bs=200M count=1; exit 7"
    monitor = await bench.launch("sh", "-c", script, memory=64 << 20)
    told: list[bool] = []
    monitor.on_oom = lambda: told.append(True)
    await monitor.start()
    end = await monitor.wait()
    assert end.oom_killed
    assert end.code == 7
    await until(lambda: bool(told))
    await monitor.ended()


@pytest.mark.parametrize("child", ["sleep 30", "yes"])
@scenario
async def test_a_grandchild_that_keeps_the_pipe_delays_the_end_only_briefly(
    bench: Bench, child: str
) -> None:
    order = bench.order("sh", "-c", f"echo started; {child} &")
    config = json.loads((Path(order.bundle) / "config.json").read_text())
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
    (Path(order.bundle) / "config.json").write_text(json.dumps(config))
    monitor = await bench.spawner.launch(order)
    client = await Client().attach(monitor)
    await monitor.start()
    async with asyncio.timeout(5):
        assert (await monitor.wait()).code == 0
    assert (await client.read_streams())[1].startswith(b"started\n")
    await monitor.ended()
    await asyncio.to_thread(cgroup.remove, order.cgroup)


@pytest.mark.parametrize("native", [False, True])
@scenario
async def test_exec_has_its_own_stdio_and_code(bench: Bench, *, native: bool) -> None:
    bench.native = native
    order = bench.order("sleep", "100")
    container = await bench.spawner.launch(order)
    await container.start()
    process = await bench.exec(order, "sh", "-c", "cat; echo err >&2; exit 5", stdin=True)
    client = await Client().attach(process, stdin=True)
    await process.start()
    await client.send(b"typed\n")
    client.end_input()
    assert (await process.wait()).code == 5
    assert await client.read_streams() == {1: b"typed\n", 2: b"err\n"}
    await process.ended()
    assert read_exit(process.directory) is not None
    await container.kill()
    await container.wait()
    await container.ended()


@pytest.mark.parametrize("native", [False, True])
@scenario
async def test_exec_output_can_be_captured_up_to_a_bound(bench: Bench, *, native: bool) -> None:
    bench.native = native
    order = bench.order("sleep", "100")
    container = await bench.spawner.launch(order)
    await container.start()
    small = await bench.exec(order, "echo", "fine", capture_bytes=4096)
    await small.start()
    end = await small.wait()
    assert (end.code, end.output, end.output_truncated) == (0, b"fine\n", False)
    large = await bench.exec(order, "seq", "100000", capture_bytes=4096)
    await large.start()
    end = await large.wait()
    assert (len(end.output), end.output_truncated) == (4096, True)
    missing = await bench.exec(order, "nosuch")
    with pytest.raises(RuntimeFailed, match="executable file not found") as caught:
        await missing.start()
    assert caught.value.exit_code == 127
    terminal = await bench.exec(order, "sh", "-c", "stty size", terminal=True, capture_bytes=99)
    await terminal.resize(10, 20)
    await terminal.start()
    await terminal.wait()
    await container.kill()
    for monitor in (small, large, terminal, container):
        await monitor.ended()


@pytest.mark.parametrize("native", [False, True])
@scenario
async def test_an_exec_dies_with_its_container(bench: Bench, *, native: bool) -> None:
    bench.native = native
    order = bench.order("sleep", "100")
    container = await bench.spawner.launch(order)
    await container.start()
    process = await bench.exec(order, "sleep", "100")
    await process.start()
    await container.kill()
    assert (await process.wait()).code == 137
    await process.ended()
    await container.ended()


@scenario
async def test_monitors_survive_their_spawner_and_are_adopted(bench: Bench) -> None:
    order = bench.order("cat", stdin=True, stdin_once=True)
    monitor = await bench.spawner.launch(order)
    pid = await monitor.start()
    spawner = bench.spawner._process
    assert spawner is not None
    spawner.kill()
    spawner.wait()
    await monitor.disconnect()
    adopted = await adopt(Path(order.bundle))
    assert adopted is not None
    assert adopted.pid == pid
    client = await Client().attach(adopted, stdin=True)
    await client.send(b"again")
    client.end_input()
    assert await client.read_streams() == {1: b"again"}
    assert (await adopted.wait()).code == 0
    await adopted.ended()
    assert await adopt(Path(order.bundle)) is None
    other = await bench.started("true")
    assert (await other.wait()).code == 0
    await other.ended()


@scenario
async def test_a_monitor_never_started_ends_with_its_daemon(bench: Bench) -> None:
    order = bench.order("true")
    monitor = await bench.spawner.launch(order)
    watcher = await adopt(Path(order.bundle))
    assert watcher is not None
    await monitor.disconnect()
    await watcher.resize(1, 1)
    await watcher.disconnect()
    await until(lambda: monitors_of(Path(order.bundle)) == [])
    assert await adopt(Path(order.bundle)) is None
    assert read_exit(Path(order.bundle)) is None


@scenario
async def test_a_killed_daemon_costs_nothing(bench: Bench) -> None:
    """A subprocess plays the daemon: it starts two containers and is killed with SIGKILL."""
    running = bench.order("sh", "-c", "while :; do echo tick; sleep 0.05; done", log=bench.log())
    short = bench.order("sh", "-c", "sleep 0.3; exit 9")
    script = f"""
import asyncio, sys
sys.path[:0] = {[str(Path.cwd()), str(Path(__file__).parent)]!r}
from pier.runtime.spawners import Spawner
from pier.runtime.protocol import to_order
async def main():
    spawner = Spawner()
    for fields in {[_fields(running), _fields(short)]!r}:
        monitor = await spawner.launch(to_order(fields))
        await monitor.start()
    print("started", flush=True)
    await asyncio.sleep(100)
asyncio.run(main())
"""
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    assert await daemon.stdout.readline() == b"started\n"
    daemon.kill()
    await daemon.wait()
    await until(lambda: read_exit(Path(short.bundle)) is not None)
    end = read_exit(Path(short.bundle))
    assert end is not None
    assert end.code == 9
    await until(lambda: monitors_of(Path(short.bundle)) == [])
    assert running.log is not None
    path = Path(running.log.path)
    before = path.stat().st_size
    await until(lambda: path.stat().st_size > before)
    monitor = await adopt(Path(running.bundle))
    assert monitor is not None
    await monitor.kill()
    assert (await monitor.wait()).code == 137
    await monitor.ended()


def _fields(order: object) -> dict[str, object]:
    from pier.runtime.protocol import from_order

    return from_order(order)  # type: ignore[arg-type]


@scenario
async def test_a_killed_monitor_is_reported_and_the_container_can_run_again(bench: Bench) -> None:
    order = bench.order("sleep", "100")
    monitor = await bench.spawner.launch(order)
    pid = await monitor.start()
    [owner] = {p for p in monitors_of(Path(order.bundle)) if p != pid}
    os.kill(owner, signal.SIGKILL)
    with pytest.raises(MonitorLost):
        await monitor.wait()
    again = await bench.spawner.launch(order)
    assert await again.start() != pid
    await again.kill()
    assert (await again.wait()).code == 137
    await again.ended()


@scenario
async def test_long_bundle_paths_work(bench: Bench) -> None:
    order = bench.order("sh", "-c", "stty size", terminal=True)
    long = bench.root / ("d" * 120) / "bundle"
    long.parent.mkdir()
    Path(order.bundle).rename(long)
    monitor = await bench.spawner.launch(order._replace(bundle=long))
    other = await adopt(long)
    assert other is not None
    await monitor.start()
    assert (await other.wait()).code == 0
    await other.ended()


@scenario
async def test_the_host_sees_no_mount_and_the_container_no_descriptor(bench: Bench) -> None:
    script = "echo /proc/self/fd/*; cat /proc/self/cgroup >/dev/null"
    order = bench.order("sh", "-c", script)
    monitor = await bench.spawner.launch(order)
    client = await Client().attach(monitor)
    assert str(bench.root) not in Path("/proc/self/mountinfo").read_text()
    await monitor.start()
    assert str(bench.root) not in Path("/proc/self/mountinfo").read_text()
    await monitor.wait()
    fds = (await client.read_streams())[1].decode().split()
    assert {Path(fd).name for fd in fds} <= {"0", "1", "2", "3"}
    await monitor.ended()


@scenario
async def test_the_process_inherits_neither_signals_nor_umask_of_ours(bench: Bench) -> None:
    monitor = await bench.launch("cat", "/proc/self/status")
    client = await Client().attach(monitor)
    await monitor.start()
    status = (await client.read_streams())[1].decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Umask"] == "0022"
    # 32 and 33 are the C library's: its posix_spawn ignores them.
    ignored = int(fields["SigIgn"], 16) & ~(3 << 31)
    assert (ignored, int(fields["SigBlk"], 16)) == (0, 0)
    await monitor.ended()


@contextlib.contextmanager
def shared_tmpfs(directory: Path) -> Iterator[Path]:
    directory.mkdir()
    syscalls.mount("tmpfs", str(directory), "tmpfs")
    syscalls.mount("", str(directory), flags=syscalls.MS_SHARED)
    try:
        yield directory
    finally:
        syscalls.umount2(str(directory), syscalls.MNT_DETACH)


@scenario
async def test_on_shared_mounts_the_overlay_stays_hidden_and_rshared_binds_do_not(
    bench: Bench,
) -> None:
    """As on a host with systemd, where every mount is shared."""
    with shared_tmpfs(bench.root / "run") as run, shared_tmpfs(bench.root / "data") as data:
        order = bench.order("sh", "-c", "mount -t tmpfs inside /data/sub; read x", stdin=True)
        bundle = run / "bundle"
        shutil.copytree(order.bundle, bundle)
        config = json.loads((bundle / "config.json").read_text())
        bind = {"destination": "/data", "type": "bind", "source": str(data)}
        config["mounts"].append({**bind, "options": ["rbind", "rshared"]})
        config["linux"]["rootfsPropagation"] = "rshared"
        (bundle / "config.json").write_text(json.dumps(config))
        (data / "sub").mkdir()
        monitor = await bench.spawner.launch(order._replace(bundle=bundle, stdin_once=True))
        client = await Client().attach(monitor, stdin=True)
        await monitor.start()
        await until(lambda: f"{data}/sub " in Path("/proc/self/mountinfo").read_text())
        assert f"{bundle}/rootfs" not in Path("/proc/self/mountinfo").read_text()
        client.end_input()
        await client.read_all()
        await monitor.ended()
        syscalls.umount2(str(data / "sub"), syscalls.MNT_DETACH)
