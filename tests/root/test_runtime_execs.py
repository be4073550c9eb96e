"""Execs and their monitors, made by both OCI runtimes and without one."""

import os

import pytest

from pier.runtime.monitors import RuntimeFailed, read_exit
from tests.root.runtime_support import Bench, Client, scenario

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
    await container.kill()
    for monitor in (small, large, container):
        await monitor.ended()


@pytest.mark.parametrize("native", [False, True])
@scenario
async def test_a_terminal_has_its_size_before_the_program_looks(
    bench: Bench, *, native: bool
) -> None:
    """The order says nothing of a size here: the monitor's own setting of it may come late."""
    if bench.info.name == "crun" and not native:
        pytest.skip("crun exec sets it beside the program that it has started")
    order = bench.order("sleep", "1000")
    container = await bench.spawner.launch(order)
    await container.start()
    bench.native = native
    process = {"consoleSize": {"height": 33, "width": 99}}
    terminal = await bench.exec(
        order, "stty", "size", terminal=True, process=process, capture_bytes=99
    )
    await terminal.start()
    assert (await terminal.wait()).output == b"33 99\r\n"
    await container.kill()
    for monitor in (terminal, container):
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
