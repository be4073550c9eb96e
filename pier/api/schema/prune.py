"""What a prune may take, from its filters. Pure."""

from typing import TypedDict

from pier.api.schema.filters import Filters
from pier.api.schema.words import parse_moment
from pier.errors import InvalidArgument


class TwoUntils(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("more than one until filter specified")


class Labels(TypedDict):
    """Keyword arguments of every prune: "k" or "k=v"; all must match, none must match."""

    labels: tuple[str, ...]
    not_labels: tuple[str, ...]


def prune_until(filters: Filters, now_ns: int, *names: str) -> int:
    """Only what was made before this; 0: no limit. names: the filter's, if not `until` alone."""
    values = [value for name in names or ("until",) for value in filters.get(name)]
    if len(values) > 1:
        raise TwoUntils
    return parse_moment(values[0], now_ns) if values else 0


def prune_labels(filters: Filters) -> Labels:
    return Labels(labels=filters.get("label"), not_labels=filters.get("label!"))
