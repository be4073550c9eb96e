"""Which records of the cache a prune takes: Docker's filters and caps. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pier.errors import InvalidArgument

STEP: Final = "regular"
MOUNT: Final = "exec.cachemount"
_TRUE: Final = ("", "1", "t", "true")
_FALSE: Final = ("0", "f", "false")


class BadCacheFilter(InvalidArgument):
    def __init__(self, name: str, value: str) -> None:
        super().__init__(f"invalid filter '{name}={value}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """A step's result or a cache mount, as people see it. `shared`: an image has it too."""

    key: str
    parent: str = ""
    kind: str = STEP
    description: str = ""
    size: int = 0
    uses: int = 0
    created_ns: int = 0
    used_ns: int = 0
    in_use: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequest:
    """What may go: with `everything` also what images share; `before_ns`: not used since.

    filters: by the record's fields, all must hold. Caps in bytes, 0 for none: never leave less
    than `reserved_bytes`; stop when `max_used_bytes` are left, or `min_free_bytes` are free.
    """

    everything: bool = False
    before_ns: int = 0
    filters: Mapping[str, str] = field(default_factory=dict)
    reserved_bytes: int = 0
    max_used_bytes: int = 0
    min_free_bytes: int = 0


def chosen(
    records: Sequence[CacheRecord], request: PruneRequest, free_bytes: int
) -> list[CacheRecord]:
    """Those to remove, least recently used first. Raises BadCacheFilter."""
    total = sum(record.size for record in records)
    keep = _bytes_to_keep(total, request, free_bytes)
    taken = []
    for record in sorted(records, key=lambda record: (record.used_ns, record.created_ns)):
        if keep and total <= keep:
            break
        if _may_go(record, request):
            taken.append(record)
            total -= record.size
    return taken


def _bytes_to_keep(total: int, request: PruneRequest, free_bytes: int) -> int:
    """How much is to be left; 0 when nothing need be."""
    keep = request.max_used_bytes
    excess = request.min_free_bytes - free_bytes
    if request.min_free_bytes and excess <= 0 and not keep:
        return max(total, request.reserved_bytes)
    if excess > 0:
        keep = min(keep or total, max(total - excess, 0))
    return max(keep, request.reserved_bytes)


def _may_go(record: CacheRecord, request: PruneRequest) -> bool:
    if record.in_use or (record.shared and not request.everything):
        return False
    if request.before_ns and record.used_ns >= request.before_ns:
        return False
    return all(_holds(record, name, value) for name, value in request.filters.items())


def _holds(record: CacheRecord, name: str, value: str) -> bool:
    match name:
        case "id":
            return value in record.key
        case "parent" | "parents":
            return value == record.parent
        case "type":
            return value == record.kind
        case "description":
            return value == record.description
        case "inuse":
            return record.in_use == _boolean(name, value)
        case "shared":
            return record.shared == _boolean(name, value)
        case "private":
            return record.shared != _boolean(name, value)
        case "label":
            return False  # nothing in the cache has one: `system prune` asks all the same
        case "label!":
            return True
        case _:
            raise BadCacheFilter(name, value)


def _boolean(name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise BadCacheFilter(name, value)


def total_bytes(records: Iterable[CacheRecord]) -> int:
    return sum(record.size for record in records)
