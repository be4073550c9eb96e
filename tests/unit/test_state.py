"""pier.containers.state: a table in, a table out."""

import pytest

from pier.containers.spec import RestartPolicy
from pier.containers.state import (
    Action,
    Operation,
    State,
    WrongState,
    next_state,
    reconcile,
    restart,
)
from pier.errors import NotModified


@pytest.mark.parametrize(
    ("state", "alive", "exit_recorded", "expected"),
    [
        (State.RUNNING, True, False, Action.ADOPT),
        (State.PAUSED, True, False, Action.ADOPT),
        (State.RUNNING, False, True, Action.SETTLE),
        (State.RUNNING, False, False, Action.LOST),
        (State.CREATED, True, False, Action.KILL),
        (State.CREATED, False, False, Action.SWEEP),
        (State.EXITED, False, True, Action.SWEEP),
        (State.RESTARTING, False, False, Action.SWEEP),
        (State.REMOVING, True, False, Action.FINISH_REMOVAL),
        (State.DEAD, False, False, Action.FINISH_REMOVAL),
    ],
)
def test_reconcile(state: State, alive: bool, exit_recorded: bool, expected: Action) -> None:
    assert reconcile(state, alive=alive, exit_recorded=exit_recorded) is expected


def after(policy: str, **facts: object) -> float | None:
    usual: dict[str, object] = {
        "exit_code": 1,
        "ran_s": 0.5,
        "last_delay_s": 0.0,
        "retries": 0,
        "stopped_by_user": False,
    }
    return restart(RestartPolicy(name=policy, max_retries=2), **(usual | facts))  # type: ignore[arg-type]


def test_restart_doubles_the_delay_until_a_minute() -> None:
    assert after("always") == 0.1
    assert after("always", last_delay_s=0.1) == 0.2
    assert after("always", last_delay_s=45) == 60
    assert after("always", last_delay_s=45, ran_s=11) == 0.1


def test_on_failure_gives_up_after_its_retries() -> None:
    assert after("on-failure", retries=1) == 0.1
    assert after("on-failure", retries=2) is None
    assert after("on-failure", exit_code=0) is None


def test_a_stopped_container_stays_stopped() -> None:
    for policy in ("", "no", "always", "on-failure", "unless-stopped"):
        assert after(policy, stopped_by_user=True) is None


@pytest.mark.parametrize(
    ("state", "operation", "leads_to"),
    [
        (State.CREATED, Operation.START, State.RUNNING),
        (State.RUNNING, Operation.PAUSE, State.PAUSED),
        (State.PAUSED, Operation.EXIT, State.EXITED),
        (State.EXITED, Operation.RETRY, State.RESTARTING),
        (State.RESTARTING, Operation.REMOVE, State.REMOVING),
    ],
)
def test_next_state(state: State, operation: Operation, leads_to: State) -> None:
    assert next_state("web", state, operation) is leads_to


def test_what_may_not_happen_is_refused() -> None:
    with pytest.raises(NotModified):
        next_state("web", State.RUNNING, Operation.START)
    with pytest.raises(WrongState, match="cannot pause container web: it is exited"):
        next_state("web", State.EXITED, Operation.PAUSE)
