"""Small pure parts of containers: signals, made-up names, wait conditions, log orders."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from pier.containers.log_order import InvalidLogOption, check_log, log_order
from pier.containers.model import Container
from pier.containers.names import made_up_name
from pier.containers.requests import WaitResult
from pier.containers.signals import InvalidSignal, parse_signal
from pier.containers.spec import ContainerSpec, HostSpec, LogSpec
from pier.containers.waiting import Condition, InvalidCondition, Waiters, parse_condition


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("sigterm", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("64", 64)],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "NOSUCH", "SIG"])
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidSignal):
        parse_signal(text)


def test_a_made_up_name_is_free() -> None:
    first = made_up_name(lambda _: False, "id", Random(1))
    assert made_up_name(lambda name: name == first, "id", Random(1)) != first
    assert made_up_name(lambda _: True, "id", Random(1)) == "id"


def test_waiters_hear_what_they_wait_for() -> None:
    async def wait() -> list[bool]:
        waiters = Waiters()
        exits, removal = waiters.add(Condition.NEXT_EXIT), waiters.add(Condition.REMOVED)
        waiters.exited(WaitResult(status_code=3))
        first = (await exits.result()).status_code == 3
        removed = asyncio.ensure_future(removal.result())
        await asyncio.sleep(0)
        pending = not removed.done()
        waiters.removed(WaitResult(status_code=3))
        return [first, pending, (await removed).status_code == 3]

    assert all(asyncio.run(wait()))


def test_conditions() -> None:
    assert parse_condition("") is Condition.NOT_RUNNING
    assert parse_condition("removed") is Condition.REMOVED
    with pytest.raises(InvalidCondition, match='invalid condition: "x"'):
        parse_condition("x")


def logged(driver: str, **options: str) -> Container:
    log = LogSpec(driver=driver, options={k.replace("_", "-"): v for k, v in options.items()})
    spec = ContainerSpec(env=("A=1", "B=2"), labels={"who": "me", "x": "y"}, host=HostSpec(log=log))
    return Container(id="c" * 64, name="web", image_id="i", spec=spec)


def test_a_log_order() -> None:
    order = log_order(
        logged("json-file", max_size="10m", max_file="3", labels="who", env_regex="^B"), Path("/d")
    )
    assert order is not None
    assert (order.max_size_bytes, order.max_files) == (10 << 20, 3)
    assert order.attributes == {"who": "me", "B": "2"}
    assert order.path == f"/d/{'c' * 64}-json.log"
    assert log_order(logged("none"), Path("/d")) is None


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("syslog", {}, 'plugin "syslog" not found (Pier has json-file, local and none)'),
        ("nosuch", {}, 'error looking up logging plugin nosuch: plugin "nosuch" not found'),
        ("json-file", {"nosuch": "1"}, "unknown log opt 'nosuch' for json-file log driver"),
        ("none", {"max-size": "1m"}, "unknown log opt 'max-size' for none log driver"),
        ("json-file", {"max-size": "big"}, "invalid size"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"labels-regex": "("}, "invalid regular expression"),
    ],
)
def test_refused_log_options(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidLogOption) as refusal:
        check_log(LogSpec(driver=driver, options=options))
    assert message in str(refusal.value)
