"""Which containers `docker ps` shows: the rules of its filters."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from pier.api.schema.containers import View, port_list
from pier.api.schema.filters import Filters
from pier.containers.model import Container
from pier.containers.state import State
from pier.errors import InvalidArgument

FILTER_KEYS = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label",
    "name", "network", "publish", "since", "status", "volume",
)  # fmt: skip
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")


_HEALTH = ("none", "starting", "healthy", "unhealthy")


class InvalidChoice(InvalidArgument):
    def __init__(self, key: str, what: str, text: str, choices: Iterable[str]) -> None:
        super().__init__(
            f"invalid filter '{key}={text}': invalid value for {what} ({text}): must be one of "
            + ", ".join(choices)
        )


class InvalidExitCode(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"invalid filter 'exited={text}': strconv.Atoi: parsing {json.dumps(text)}: "
            "invalid syntax"
        )


class InvalidPorts(InvalidArgument):
    def __init__(self, key: str, text: str) -> None:
        number = re.split("[-/]", text)[0]
        super().__init__(
            f"error while looking up for {key} {text}: strconv.ParseUint: parsing "
            f"{json.dumps(number)}: invalid syntax"
        )


def check(filters: Filters) -> None:
    """Raises InvalidArgument for values that can never match."""
    for value in filters.get("status"):
        if value not in _STATES:
            raise InvalidChoice("status", "state", value, _STATES)
    for value in filters.get("exited"):
        if not re.fullmatch(r"-?[0-9]{1,10}", value):
            raise InvalidExitCode(value)
    for value in filters.get("health"):
        if value not in _HEALTH:
            raise InvalidChoice("health", "health", value, _HEALTH)
    filters.flag("is-task", default=False)
    for key in ("publish", "expose"):
        for value in filters.get(key):
            _port_range(key, value)


def shows_stopped(filters: Filters) -> bool:
    """Asking for a state, or for a place in time, is asking for those that do not run too."""
    return any(key in filters for key in ("status", "exited", "before", "since"))


def listed(container: Container) -> bool:
    """Whether it is shown to who does not ask for all."""
    return container.state.active and container.state is not State.REMOVING


def within(
    containers: Sequence[Container], filters: Filters, get: Callable[[str], Container]
) -> Sequence[Container]:
    """Those older than `before` and newer than `since`. Raises NotFound for unknown names."""
    found = containers
    for value in filters.get("before"):
        found = [item for item in found if item.created_ns < get(value).created_ns]
    for value in filters.get("since"):
        found = [item for item in found if item.created_ns > get(value).created_ns]
    return found


def matches_record(container: Container, filters: Filters, ancestors: Iterable[str]) -> bool:
    """The filters that need only the record; `ancestors` are the IDs of the images asked for."""
    name, health = container.name, container.status.health
    return (
        filters.matches("name", name, f"/{name}")
        and filters.matches("id", container.id)
        and filters.labels(container.spec.labels)
        and filters.exact("status", container.state.value)
        and filters.exact("health", health.status if health else "none")
        and _exited(container, filters)
        and _volume(container, filters)
        and ("ancestor" not in filters or container.image_id in ancestors)
        and not filters.flag("is-task", default=False)
    )


def _exited(container: Container, filters: Filters) -> bool:
    if "exited" not in filters:
        return True
    ran = container.state in (State.EXITED, State.DEAD) and bool(container.status.started_ns)
    return ran and str(container.status.exit_code) in filters.get("exited")


def _volume(container: Container, filters: Filters) -> bool:
    mounted = {mount.name for mount in container.mounts}
    mounted |= {mount.source for mount in container.mounts}
    mounted |= {mount.destination for mount in container.mounts}
    return filters.any_of("volume", mounted - {""})


def matches_view(view: View, filters: Filters) -> bool:
    """The filters that need the networks."""
    return (
        _network(view, filters)
        and _ports(view, filters, "publish", lambda port: port.public_port or None)
        and _ports(view, filters, "expose", lambda port: port.private_port)
    )


def _network(view: View, filters: Filters) -> bool:
    if "network" not in filters:
        return True
    names: Mapping[str, str] = {name: item.network_id for name, item in view.endpoints.items()}
    return any(
        value in names or any(id_.startswith(value) for id_ in names.values() if id_)
        for value in filters.get("network")
    )


def _ports(view: View, filters: Filters, key: str, number: Callable[..., int | None]) -> bool:
    if key not in filters:
        return True
    ports = [(number(port), port.type) for port in port_list(view)]
    wanted = [_port_range(key, value) for value in filters.get(key)]
    return any(
        port is not None and port in numbers and kind == protocol
        for numbers, protocol in wanted
        for port, kind in ports
    )


def _port_range(key: str, text: str) -> tuple[range, str]:
    match = _PORTS.fullmatch(text)
    if not match:
        raise InvalidPorts(key, text)
    first = int(match[1])
    return range(first, int(match[2] or first) + 1), match[3] or "tcp"
