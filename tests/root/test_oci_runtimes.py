# ruff: noqa: ASYNC220, ASYNC222, ASYNC240 - tests may block
"""Probing runtimes, and their commands for running containers."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pier.linux import cgroup
from pier.runtime.monitors import MonitorLost
from pier.runtime.oci_runtime import Candidate, NoRuntime, Runtimes, UnknownRuntime
from pier.runtime.spawners import Spawner
from tests.root.runtime_support import PARENT, Bench, forget_groups, scenario, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=["crun", "runc"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, request.param)
    forget_groups()


class Parent(NamedTuple):
    pid: int
    comm: str


def parent_of(pid: int) -> Parent:
    """The runtime itself, for a moment after the start."""
    status = Path(f"/proc/{pid}/status").read_text()
    parent = int(status.partition("PPid:")[2].split()[0])
    return Parent(parent, Path(f"/proc/{parent}/comm").read_text().strip())


@scenario
async def test_probing_finds_what_works_and_says_why_the_rest_does_not(bench: Bench) -> None:
    extra = {
        "broken": Candidate("/bin/false"),
        "missing": Candidate("/no/such/runtime"),
        "again": Candidate("runc", ("--systemd-cgroup=false",)),
    }
    runtimes = Runtimes(bench.spawner, bench.root, extra=extra)
    await runtimes.probe()
    assert [info.name for info in runtimes.list_()] == ["crun", "runc", "again"]
    assert runtimes.get().name == "crun"
    assert runtimes.get("io.containerd.runc.v2").name == "crun"
    assert runtimes.get("runc").version
    assert set(runtimes.reasons) == {"broken", "missing"}
    with pytest.raises(UnknownRuntime, match="unknown or invalid runtime name: broken"):
        runtimes.get("broken")
    assert cgroup.layout().directories(f"/pier-probe-{os.getpid()}") == []
    cached = Runtimes(bench.spawner, bench.root)
    await cached.probe()
    assert cached.get("crun") == runtimes.get("crun")


@scenario
async def test_what_a_killed_daemon_left_of_its_probe_is_swept(bench: Bench) -> None:
    with subprocess.Popen(["true"]) as process:
        dead = f"/pier-probe-{process.pid}"
    for point in cgroup.layout().controllers.values():
        Path(f"{point}{dead}/crun").mkdir(parents=True, exist_ok=True)
    assert cgroup.list_groups("/pier-probe-") == [dead]
    await Runtimes(bench.spawner, bench.root).probe()
    assert cgroup.list_groups("/pier-probe-") == []


@scenario
async def test_without_a_working_runtime_the_error_says_what_to_do(bench: Bench) -> None:
    runtimes = Runtimes(bench.spawner, bench.root)
    runtimes._candidates = {"x": Candidate("/no/such")}
    with pytest.raises(NoRuntime, match="install crun or runc"):
        await runtimes.probe()


@scenario
async def test_pause_resume_and_update(bench: Bench) -> None:
    order = bench.order("sleep", "100", memory=128 << 20)
    runtimes = Runtimes(bench.spawner, bench.root)
    monitor = await bench.spawner.launch(order)
    pid = await monitor.start()
    assert cgroup.pids(order.cgroup) == [pid]
    await runtimes.pause(order.runtime, order.container_id)
    assert cgroup.frozen(order.cgroup)
    await runtimes.resume(order.runtime, order.container_id)
    assert not cgroup.frozen(order.cgroup)
    limit = {"memory": {"limit": 64 << 20, "swap": 64 << 20}}
    await runtimes.update(order.runtime, order.container_id, limit)
    layout = cgroup.layout()
    name = "memory.max" if layout.version == 2 else "memory.limit_in_bytes"
    assert int(cgroup.read(layout.path("memory", order.cgroup), name)) == 64 << 20
    cgroup.kill(order.cgroup)
    assert (await monitor.wait()).code == 137
    await monitor.ended()


@scenario
async def test_a_container_without_its_monitor_is_deleted(bench: Bench) -> None:
    order = bench.order("sleep", "100")
    runtimes = Runtimes(bench.spawner, bench.root)
    monitor = await bench.spawner.launch(order)
    await monitor.start()
    await until(lambda: parent_of(monitor.pid).comm == "pier-monitor")
    parent = parent_of(monitor.pid).pid
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(MonitorLost):
        await monitor.wait()
    await runtimes.delete(order.runtime, order.container_id)
    await runtimes.delete(order.runtime, order.container_id)
    cgroup.remove(order.cgroup)
    assert not Path(f"/proc/{monitor.pid}/exe").exists()
    assert cgroup.layout().directories(order.cgroup) == []


@scenario
async def test_leftovers_in_nested_groups_are_killed_and_removed(bench: Bench) -> None:
    group = f"{PARENT}/nested/inner"
    layout = cgroup.layout()
    for point in set(layout.controllers.values()):
        Path(point + group).mkdir(parents=True)
    pid = os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "100"])
    name = "freezer" if layout.version == 1 else cgroup.UNIFIED
    cgroup.write(layout.path(name, group), "cgroup.procs", str(pid))
    assert cgroup.pids(f"{PARENT}/nested") == [pid]
    cgroup.remove(f"{PARENT}/nested")
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert layout.directories(f"{PARENT}/nested") == []
    cgroup.remove(f"{PARENT}/nested")


@scenario
async def test_the_spawner_starts_again(bench: Bench) -> None:
    spawner: Spawner = bench.spawner
    done = await spawner.run(["/bin/echo", "one"], hide_v2=False, timeout_s=10)
    assert (done.code, done.stdout) == (0, b"one\n")
    assert spawner._process is not None
    spawner._process.kill()
    done = await spawner.run(["/bin/sh", "-c", "echo two >&2; exit 3"], hide_v2=True, timeout_s=10)
    assert (done.code, done.stderr) == (3, b"two\n")
