"""What a container may do next. Tables and pure functions; no clock, no kernel.

Three questions are answered here and nowhere else:

    next_state   may this operation happen in this state, and where does it lead?
    restart      a container exited: start it again, and when?
    reconcile    the daemon came back: the record says one thing, the machine another.
"""

import enum

from pier.containers.spec import RestartPolicy
from pier.errors import Conflict, NotModified


class State(enum.Enum):
    """States as Docker names them in `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"

    @property
    def active(self) -> bool:
        """There is, or soon will be again, a process."""
        return self in (State.RUNNING, State.PAUSED, State.RESTARTING)


class Operation(enum.Enum):
    START = "start"
    EXIT = "exit"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    RETRY = "retry"
    REMOVE = "remove"


_NEXT: dict[State, dict[Operation, State]] = {
    State.CREATED: {Operation.START: State.RUNNING, Operation.REMOVE: State.REMOVING},
    State.RUNNING: {Operation.EXIT: State.EXITED, Operation.PAUSE: State.PAUSED},
    State.PAUSED: {Operation.EXIT: State.EXITED, Operation.UNPAUSE: State.RUNNING},
    State.EXITED: {
        Operation.START: State.RUNNING,
        Operation.RETRY: State.RESTARTING,
        Operation.REMOVE: State.REMOVING,
    },
    State.RESTARTING: {
        Operation.START: State.RUNNING,
        Operation.EXIT: State.EXITED,
        Operation.REMOVE: State.REMOVING,
    },
    State.REMOVING: {},
    State.DEAD: {Operation.REMOVE: State.REMOVING},
}


class WrongState(Conflict):
    def __init__(self, name: str, operation: Operation, state: State) -> None:
        super().__init__(f"cannot {operation.value} container {name}: it is {state.value}")


def next_state(name: str, state: State, operation: Operation) -> State:
    """Where `operation` leads. Raises NotModified or WrongState."""
    if operation is Operation.START and state is State.RUNNING:
        raise NotModified(f"container {name} is already running")
    try:
        return _NEXT[state][operation]
    except KeyError:
        raise WrongState(name, operation, state) from None


FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
LONG_ENOUGH_S = 10.0
"""A container that ran this long starts over at FIRST_DELAY_S."""


def restart(
    policy: RestartPolicy,
    *,
    exit_code: int,
    ran_s: float,
    last_delay_s: float,
    retries: int,
    stopped_by_user: bool,
) -> float | None:
    """Seconds to wait before starting again, or None to leave it exited."""
    if stopped_by_user or policy.name in ("", "no"):
        return None
    if policy.name == "on-failure":
        if exit_code == 0:
            return None
        if policy.max_retries and retries >= policy.max_retries:
            return None
    if ran_s >= LONG_ENOUGH_S or last_delay_s == 0:
        return FIRST_DELAY_S
    return min(last_delay_s * 2, LONGEST_DELAY_S)


class Action(enum.Enum):
    """What restore must do with one container."""

    ADOPT = "watch the running process again"
    SETTLE = "record the exit found on disk, then apply the restart policy"
    LOST = "record exit 255: it ended while nobody was watching"
    KILL = "it runs but its start was never acknowledged"
    SWEEP = "remove leftovers: namespace, bundle, cgroup"
    FINISH_REMOVAL = "the removal had begun"


def reconcile(state: State, *, alive: bool, exit_recorded: bool) -> Action:
    """Compare a record with the facts after a daemon restart."""
    match state:
        case State.REMOVING | State.DEAD:
            return Action.FINISH_REMOVAL
        case State.RUNNING | State.PAUSED:
            if alive:
                return Action.ADOPT
            return Action.SETTLE if exit_recorded else Action.LOST
        case State.CREATED | State.EXITED | State.RESTARTING:
            return Action.KILL if alive else Action.SWEEP
