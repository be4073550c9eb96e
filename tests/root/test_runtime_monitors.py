# ruff: noqa: ASYNC240 - tests may block
"""Spawner and monitors with the real kernel and both OCI runtimes."""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.errors import Failed
from pier.linux import cgroup, syscalls
from pier.linux.mount import Overlay
from pier.runtime.monitors import MonitorLost, RuntimeFailed
from tests.root.runtime_support import Bench, Client, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@scenario
async def test_a_signal_ends_with_128_and_its_number(bench: Bench) -> None:
    monitor = await bench.started("sleep", "100")
    assert await monitor.signal(signal.SIGKILL)
    assert (await monitor.wait()).code == 137
    await monitor.ended()
    with pytest.raises(MonitorLost):
        await monitor.signal(signal.SIGKILL)


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
