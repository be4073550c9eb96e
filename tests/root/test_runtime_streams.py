"""A container's input and output through its monitor, and the clients attached to them."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from pier.linux import cgroup
from pier.runtime.monitors import read_exit
from pier.runtime.orders import ConsoleSize
from tests.root.runtime_support import Bench, Client, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
