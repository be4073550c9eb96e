"""`--filter name=value`: as the API wants them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def encode_filters(pairs: Iterable[str]) -> str | None:
    """Return the filters as a JSON map of maps, None if there are none."""
    filters: dict[str, dict[str, bool]] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        filters.setdefault(name.strip().lower(), {})[value.strip()] = True
    if not filters:
        return None
    from pier.cli.jsonlite import format_json

    return format_json(filters, sort_keys=True)
