"""pier.linux.process: programs answer, or are killed."""

import asyncio

import pytest

from pier.linux import process


def test_a_program_gets_its_input_and_answers() -> None:
    done = asyncio.run(process.run(["cat"], input=b"x" * 300_000, timeout_s=10))
    assert (done.code, len(done.stdout), done.stderr) == (0, 300_000, b"")


def test_a_failure_is_an_answer() -> None:
    done = asyncio.run(process.run(["sh", "-c", "echo no >&2; exit 3"], timeout_s=10))
    assert (done.code, done.message) == (3, "no")


def test_a_slow_program_is_killed() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(process.run(["sleep", "60"], timeout_s=0.05))


def test_a_program_that_does_not_read_is_no_error() -> None:
    assert asyncio.run(process.run(["true"], input=b"x" * 1_000_000, timeout_s=10)).code == 0


def test_output_is_bounded() -> None:
    with pytest.raises(process.OutputTooLong):
        asyncio.run(process.run(["yes"], timeout_s=10, limit_bytes=100_000))
