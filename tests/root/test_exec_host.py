"""The process that monitors execs: shared, started again, and left with nothing."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.runtime.exec_host import MANY
from pier.runtime.monitors import RuntimeFailed
from pier.runtime.orders import MonitorOrder
from tests.root.runtime_support import Bench, Client, forget_groups, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.native = True
    yield made
    forget_groups()


def hosts(bench: Bench) -> list[int]:
    spawner = bench.spawner._process
    assert spawner is not None
    children = Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children").read_text().split()
    return [int(pid) for pid in children if comm(int(pid)) == "pier-execs"]


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


async def run(bench: Bench, order: MonitorOrder, *args: str) -> int:
    monitor = await bench.exec(order, *args)
    await monitor.start()
    code = (await monitor.wait()).code
    await monitor.ended()
    return code


@scenario
async def test_many_execs_share_a_process_and_leave_nothing_in_it(bench: Bench) -> None:
    order = bench.order("sleep", "1000")
    container = await bench.spawner.launch(order)
    await container.start()
    bench.spawner.expect_exec()
    await until(lambda: len(hosts(bench)) == 1)
    [host] = hosts(bench)
    assert await run(bench, order, "true") == 0
    few = 12  # the loop's, the daemon's connection and stdio; 20 execs follow
    for _ in range(5):
        assert await run(bench, order, "sh", "-c", "exit 4") == 4
        with pytest.raises(RuntimeFailed):
            await run(bench, order, "nosuch")
        terminal = await bench.exec(order, "true", terminal=True, stdin=True)
        await terminal.start()
        await terminal.ended()
        never = await bench.exec(order, "true", terminal=True)
        await never.disconnect()
    await until(lambda: len(os.listdir(f"/proc/{host}/fd")) <= few)  # noqa: PTH208
    assert hosts(bench) == [host]
    await container.kill()
    await container.ended()


@scenario
async def test_each_has_its_own_stdio_end_and_code(bench: Bench) -> None:
    order = bench.order("sleep", "1000")
    container = await bench.spawner.launch(order)
    await container.start()
    cats = [await bench.exec(order, "cat", stdin=True) for _ in range(MANY + 3)]
    clients = [await Client().attach(cat, stdin=True, mux=False) for cat in cats]
    await asyncio.gather(*(cat.start() for cat in cats))
    assert len(hosts(bench)) == 1
    for number, client in enumerate(clients):
        await client.send(b"%d" % number)
    for number, client in reversed(list(enumerate(clients))):
        client.end_input()
        assert await client.read_all() == b"%d" % number
        assert (await cats[number].wait()).code == 0
    for cat in cats:
        await cat.ended()
    await container.kill()
    await container.ended()


@scenario
async def test_a_killed_host_is_followed_by_another(bench: Bench) -> None:
    order = bench.order("sleep", "1000")
    container = await bench.spawner.launch(order)
    await container.start()
    assert await run(bench, order, "true") == 0
    [host] = hosts(bench)
    os.kill(host, signal.SIGKILL)
    assert await run(bench, order, "true") == 0
    assert await run(bench, order, "true") == 0
    assert host not in hosts(bench)
    await container.kill()
    await container.ended()


@scenario
async def test_an_exec_outlives_the_daemon_and_the_host_ends_with_it(bench: Bench) -> None:
    order = bench.order("sleep", "1000")
    container = await bench.spawner.launch(order)
    await container.start()
    lasting = await bench.exec(order, "cat", stdin=True)
    client = await Client().attach(lasting, stdin=True, mux=False)
    await lasting.start()
    [host] = hosts(bench)
    await lasting.disconnect()
    await bench.spawner.close()
    await client.send(b"still there")
    assert await client.read_until(b"still there")
    assert comm(host) == "pier-execs"
    client.end_input()
    assert await client.read_all() == b""
    await until(lambda: comm(host) == "")
    await container.kill()
    await container.ended()
