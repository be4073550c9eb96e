"""Limits are enforced by the kernel and can be seen inside."""

import os
import time
from pathlib import Path

import pytest

from tests.daemon import Daemon


def test_memory(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "--name",
        "hog",
        "--memory",
        "64m",
        "--memory-swap",
        "64m",
        "busybox",
        "sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
        status=137,
    )
    assert daemon.docker("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hog") == (
        "true 137\n"
    )
    daemon.docker("rm", "hog")


def test_cpus(daemon: Daemon) -> None:
    """Two busy loops share half a core, within a tenth."""
    daemon.docker(
        "run",
        "-d",
        "--name",
        "busy",
        "--cpus",
        "0.5",
        "busybox",
        "sh",
        "-c",
        "while :; do :; done & while :; do :; done",
    )
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", "busy").strip()

    def used_ns() -> int:
        status, stats = daemon.api("GET", "/containers/busy/stats?stream=false&one-shot=true")
        assert status == 200, stats
        return int(stats["cpu_stats"]["cpu_usage"]["total_usage"])

    begin, before = time.monotonic(), used_ns()
    time.sleep(3)
    share = (used_ns() - before) / (time.monotonic() - begin) / 1e9
    assert pid != "0"
    assert 0.45 <= share <= 0.55
    daemon.docker("rm", "-f", "busy")


def test_pids(daemon: Daemon) -> None:
    shown = daemon.run(
        [
            "docker",
            "run",
            "--rm",
            "--pids-limit",
            "8",
            "busybox",
            "sh",
            "-c",
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo done",
        ]
    )
    assert b"can't fork" in shown.stderr


def test_ulimit_and_shm(daemon: Daemon) -> None:
    shown = daemon.docker(
        "run",
        "--rm",
        "--ulimit",
        "nofile=100:200",
        "--shm-size",
        "32m",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; df -m /dev/shm | tail -1",
    )
    assert shown.split()[0] == "100"
    assert " 32 " in shown


def test_update_takes_effect_at_once(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "grow", "--memory", "64m", "busybox", "sleep", "300")
    daemon.docker("update", "--memory", "128m", "--memory-swap", "128m", "grow")
    assert daemon.docker("inspect", "-f", "{{.HostConfig.Memory}}", "grow") == "134217728\n"
    status, stats = daemon.api("GET", "/containers/grow/stats?stream=false&one-shot=true")
    assert (status, stats["memory_stats"]["limit"]) == (200, 134217728)
    daemon.docker("rm", "-f", "grow")


def test_block_io(daemon: Daemon, tmp_path: Path) -> None:
    """3 MB at 1 MB a second cannot be read in less than two seconds."""
    device = os.stat(tmp_path).st_dev
    nodes = [path for path in Path("/dev").iterdir() if path.is_block_device()]
    node = next((path for path in nodes if path.stat().st_rdev == device), None)
    if node is None:
        pytest.skip("the tests' directory is on no block device")
    (tmp_path / "data").write_bytes(os.urandom(3_000_000))
    os.sync()
    begin = time.monotonic()
    daemon.docker(
        "run",
        "--rm",
        "--device-read-bps",
        f"{node}:1mb",
        "-v",
        f"{tmp_path}:/d",
        "busybox",
        "dd",
        "if=/d/data",
        "of=/dev/null",
        "bs=64k",
        "iflag=direct",
    )
    assert time.monotonic() - begin > 2


def test_block_io_weights_are_set_or_discarded_aloud(daemon: Daemon) -> None:
    """cgroup v2 has weights with the bfq scheduler or iocost, those of a device with bfq alone."""
    disks = [Path("/dev", disk.name) for disk in Path("/sys/block").iterdir()]
    disk = next(path for path in sorted(disks) if path.exists())
    for flags in (("--blkio-weight", "300"), ("--blkio-weight-device", f"{disk}:300")):
        done = daemon.run(["docker", "run", "--rm", *flags, "busybox", "true"])
        assert done.returncode == 0, done.stderr
        assert done.stderr == b"" or b"discarded" in done.stderr
