"""pier.containers.health: the verdict, as tables."""

import pytest

from pier.containers.health import judge, pause_ns, probe_command
from pier.containers.model import Health, ProbeResult
from pier.containers.spec import Healthcheck

CHECK = Healthcheck(
    test=("CMD", "true"), interval_ns=10, start_period_ns=100, start_interval_ns=2, retries=2
)


def result(code: int) -> ProbeResult:
    return ProbeResult(started_ns=1, ended_ns=2, exit_code=code, output="")


@pytest.mark.parametrize(
    ("status", "streak", "code", "since_start_ns", "expected"),
    [
        ("starting", 0, 0, 5, ("healthy", 0)),
        ("starting", 0, 1, 5, ("starting", 0)),  # in the start period: does not count
        ("starting", 0, 1, 500, ("starting", 1)),
        ("starting", 1, 1, 500, ("unhealthy", 2)),
        ("healthy", 0, 1, 5, ("healthy", 1)),  # once healthy, failures count at once
        ("healthy", 1, -1, 500, ("unhealthy", 2)),
        ("unhealthy", 7, 0, 500, ("healthy", 0)),
        ("unhealthy", 7, 1, 500, ("unhealthy", 8)),
    ],
)
def test_verdict(
    status: str, streak: int, code: int, since_start_ns: int, expected: tuple[str, int]
) -> None:
    before = Health(status=status, failing_streak=streak)
    after = judge(before, CHECK, result(code), since_start_ns=since_start_ns)
    assert (after.status, after.failing_streak) == expected


def test_five_results_are_kept() -> None:
    health = Health()
    for code in range(1, 9):
        health = judge(health, CHECK, result(code), since_start_ns=500)
    assert [entry.exit_code for entry in health.log] == [4, 5, 6, 7, 8]


def test_probes_are_closer_together_while_starting() -> None:
    assert pause_ns(Health(), CHECK, since_start_ns=5) == 2
    assert pause_ns(Health(), CHECK, since_start_ns=500) == 10
    assert pause_ns(Health(status="healthy"), CHECK, since_start_ns=5) == 10


@pytest.mark.parametrize(
    ("test", "argv"),
    [
        (("CMD", "a", "b"), ("a", "b")),
        (("CMD-SHELL", "a | b"), ("/bin/sh", "-c", "a | b")),
        (("NONE",), ()),
        ((), ()),
    ],
)
def test_command(test: tuple[str, ...], argv: tuple[str, ...]) -> None:
    assert probe_command(Healthcheck(test=test), ()) == argv
