"""An inspected object as a template sees it: with Go's types, where JSON has lost them.

What is a map has no entry rather than an error where a name is missing; what is a pointer is
<nil> where JSON has null or nothing; a list that is null is empty; and the few structs that are
shown whole, `{{.Mounts}}`, have their fields in order. Moby: api/types.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MAPS = frozenset((
    "Annotations", "Attributes", "AuxiliaryAddresses", "Containers", "Data", "DriverOpts",
    "ExposedPorts", "Labels", "Networks", "Options", "PortBindings", "Ports", "Status",
    "StorageOpt", "Sysctls", "Tmpfs", "Volumes",
))  # fmt: skip
_POINTERS = frozenset((
    "Health", "Healthcheck", "IPAMConfig", "Init", "MemorySwappiness", "OomKillDisable",
    "PidsLimit", "SizeRootFs", "SizeRw", "StopTimeout",
))  # fmt: skip
_BINDING = ("HostIp", "HostPort")
_ORDERS = {
    "Mounts": (
        "Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation",
    ),
    "Ports": _BINDING,
    "PortBindings": _BINDING,
    "RestartPolicy": ("Name", "MaximumRetryCount"),
    "LogConfig": ("Type", "Config"),
    "ExposedPorts": (),
    "Volumes": (),
}  # fmt: skip


def typed(value: object, name: str = "", *, entry: bool = False) -> object:
    """`value`, which a struct has as its field `name` or, entry, which a map of that name has."""
    if isinstance(value, list):
        return [typed(item, name, entry=True) for item in value]
    if value is None:
        return NilList() if entry else _nothing(name)
    if not isinstance(value, dict):
        return value
    if name in _MAPS and not entry:
        return GoMap({key: typed(item, name, entry=True) for key, item in value.items()})
    fields = {key: typed(item, key) for key, item in value.items()}
    return Record(fields, _ORDERS[name]) if name in _ORDERS else GoStruct(fields)


def plain(value: object) -> object:
    """What was made of JSON, as JSON again."""
    if isinstance(value, Nothing | NilList | NilMap):
        return None
    return value.fields if isinstance(value, Record) else value


def _nothing(name: str) -> object:
    if name in _POINTERS:
        return NIL
    return NilMap() if name in _MAPS else NilList()


class Nothing:
    """A pointer to nothing, or what a map has where it has nothing; shown as `text`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # its import is too long
        return self._text

    def __gotemplate_lookup__(self, name: str) -> object:
        raise KeyError(name)


NIL = Nothing("<nil>")
NO_VALUE = Nothing("<no value>")


class NilList(list[object]):
    """A slice that is nil: empty, and null as JSON."""


class GoMap(dict[str, object]):
    """`.name` of what is not there is no value; `index` of it is the zero of a string."""

    def __gotemplate_lookup__(self, name: str) -> object:
        return self.get(name, NO_VALUE)

    def __contains__(self, key: object) -> bool:  # type: ignore[explicit-override]  # as below
        return True  # the engine's `index` asks before it looks

    def __missing__(self, key: str) -> object:
        return ""


class NilMap(GoMap):
    """A map that is nil: empty, and null as JSON."""


class GoStruct(dict[str, object]):
    def __gotemplate_lookup__(self, name: str) -> object:
        return _field(self, name)


class Record:
    """A struct that is shown as Go shows one: its fields in order, between braces."""

    def __init__(self, fields: dict[str, object], order: Sequence[str]) -> None:
        self.fields = fields
        self._order = order

    def __gotemplate_lookup__(self, name: str) -> object:
        return _field(self.fields, name)

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # its import is too long
        return "{" + " ".join(_text(self.fields.get(name, "")) for name in self._order) + "}"


def _field(fields: dict[str, object], name: str) -> object:
    if name in fields:
        return fields[name]
    if name == "ID" and "Id" in fields:
        return fields["Id"]
    if name in _POINTERS:
        return NIL
    raise KeyError(name)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text(value[key])}" for key in sorted(value)) + "]"
    return str(value)
