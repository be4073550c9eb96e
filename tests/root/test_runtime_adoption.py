# ruff: noqa: ASYNC240 - tests may block
"""Monitors outlive their spawner and their daemon; who comes next adopts them."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pier.runtime.monitors import MonitorLost, adopt, read_exit
from tests.root.runtime_support import Bench, Client, monitors_of, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
async def test_a_spawner_killed_twice_costs_no_start(bench: Bench) -> None:
    await bench.spawner.start()
    killed: list[int] = []

    async def kill_two() -> None:
        while len(killed) < 2:
            process = bench.spawner._process
            if process is not None and process.pid not in killed:
                process.kill()
                killed.append(process.pid)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(kill_two())
        monitor = await bench.started("true")
    assert len(set(killed)) == 2
    assert (await monitor.wait()).code == 0
    await monitor.ended()
