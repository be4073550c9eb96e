"""Events on the wire, and which of them a client asked for."""

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.filters import Filters
from pier.api.versions import ApiVersion
from pier.events import Event

_ACTORS = ("container", "network", "volume", "daemon", "plugin", "service", "node", "secret")


class ActorJson(msgspec.Struct, rename="pascal"):
    id: str = field(name="ID")
    attributes: dict[str, str]


class EventJson(msgspec.Struct, kw_only=True):
    """`status`, `id` and `from` are what clients of the oldest versions read."""

    status: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    from_: str | UnsetType = field(default=UNSET, name="from")
    type: str = field(name="Type")
    action: str = field(name="Action")
    actor: ActorJson = field(name="Actor")
    scope: str = "local"
    time: int
    time_ns: int = field(name="timeNano")


def event_json(event: Event) -> EventJson:
    json = EventJson(
        type=event.kind,
        action=event.action,
        actor=ActorJson(event.id, dict(event.attributes)),
        time=event.time_ns // 1_000_000_000,
        time_ns=event.time_ns,
    )
    if event.kind in ("container", "image"):
        json.status, json.id = event.action, event.id
        json.from_ = event.attributes.get("image", UNSET)
    return json


def wanted(event: Event, filters: Filters, version: ApiVersion) -> bool:
    """Whether an event passes the client's filters, and was known to its version."""
    if event.kind == "image" and event.action == "create" and not version.at_least(46):
        return False
    action = event.action.partition(":")[0]
    return (
        filters.exact("type", event.kind)
        and filters.any_of("event", (event.action, action))
        and filters.exact("scope", "local")
        and filters.labels(event.attributes)
        and all(_actor_matches(event, filters, kind) for kind in _ACTORS)
        and _image_matches(event, filters)
    )


def _actor_matches(event: Event, filters: Filters, kind: str) -> bool:
    """By ID, its beginning, or name; an event of another kind does not match."""
    if kind not in filters:
        return True
    if event.kind != kind:
        return False
    name = event.attributes.get("name", "")
    return filters.exact(kind, name) or filters.prefix(kind, event.id)


def _image_matches(event: Event, filters: Filters) -> bool:
    """Images, and containers of an image; `busybox` also stands for its tags."""
    if "image" not in filters:
        return True
    name = event.attributes.get("image" if event.kind == "container" else "name", "")
    names = (event.id, name, name.partition(":")[0])
    return event.kind in ("image", "container") and filters.any_of("image", names)
