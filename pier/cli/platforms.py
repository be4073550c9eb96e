"""`--platform os[/arch[/variant]]` as the API takes it since 1.48: JSON in the query."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier.cli.client import Query


def platform_json(text: str) -> str:
    """Return the OCI platform object; raise ValueError."""
    from pier.cli.jsonlite import format_json

    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f'invalid platform: "{text}": must be os[/arch[/variant]]')
    if len(parts) == 1:
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}
        machine = os.uname().machine
        return format_json({"architecture": architecture.get(machine, machine), "os": parts[0]})
    platform = {"architecture": parts[1], "os": parts[0]}
    if len(parts) == 3:
        platform["variant"] = parts[2]
    return format_json(platform)


def platform_query(text: str) -> Query:
    return {"platform": platform_json(text) if text else None}
