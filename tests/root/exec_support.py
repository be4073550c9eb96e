"""Execs next to the container they are made in, and what tests ask of them."""

import json
from pathlib import Path
from typing import Any

from pier.runtime.monitors import Monitor
from pier.runtime.orders import MonitorOrder, NativeExec
from tests.root.runtime_support import Bench


def with_config(order: MonitorOrder, **changes: Any) -> MonitorOrder:
    path = Path(order.bundle) / "config.json"
    configuration = json.loads(path.read_text())
    configuration["linux"] |= changes.pop("linux", {})
    configuration["process"] |= changes.pop("process", {})
    path.write_text(json.dumps(configuration | changes))
    return order


async def started(bench: Bench, **changes: Any) -> tuple[MonitorOrder, Monitor]:
    order = with_config(bench.order("sleep", "1000"), **changes)
    monitor = await bench.spawner.launch(order)
    await monitor.start()
    return order, monitor


async def end(container: Monitor) -> None:
    await container.kill()
    await container.ended()


async def output(
    bench: Bench,
    order: MonitorOrder,
    *args: str,
    native: bool = False,
    planned: NativeExec | None = None,
    **fields: Any,
) -> tuple[int, str]:
    bench.native = native
    if planned is not None:
        fields["native"] = planned
    monitor = await bench.exec(order, *args, capture_bytes=1 << 20, **fields)
    await monitor.start()
    ended = await monitor.wait()
    await monitor.ended()
    return ended.code, ended.output.decode()
