"""prune, of containers, images, networks, volumes, the build cache, and of everything."""

from __future__ import annotations

import sys

from pier.cli.command import Command, Flag
from pier.cli.faults import Fault
from pier.cli.filters import encode_filters
from pier.cli.session import confirmed, out
from pier.cli.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pier.cli.client import Client
    from pier.cli.command import Options
    from pier.cli.session import Session

    Answer = dict[str, Any]

SURE = "Are you sure you want to continue?"


class Pruned:
    """What one kind gave: the text to show, and the bytes."""

    __slots__ = ("size_bytes", "text")

    def __init__(self, title: str, lines: list[str], size_bytes: int) -> None:
        self.text = "\n".join([title, *lines]) + "\n" if lines else ""
        self.size_bytes = size_bytes


def _filters(options: Options) -> list[str]:
    """Return --filter and the `pruneFilters` of this invocation."""
    return list(options.texts("filter"))


def prune_containers(client: Client, options: Options) -> Pruned:
    answer = client.post("/containers/prune", {"filters": encode_filters(_filters(options))})
    deleted = answer.get("ContainersDeleted") or []
    return Pruned("Deleted Containers:", deleted, answer.get("SpaceReclaimed", 0))


def prune_images(client: Client, options: Options) -> Pruned:
    dangling = "false" if options.on("all") else "true"
    filters = encode_filters([*_filters(options), f"dangling={dangling}"])
    answer = client.post("/images/prune", {"filters": filters})
    lines = [
        f"untagged: {item['Untagged']}" if item.get("Untagged") else f"deleted: {item['Deleted']}"
        for item in answer.get("ImagesDeleted") or []
    ]
    return Pruned("Deleted Images:", lines, answer.get("SpaceReclaimed", 0))


def prune_networks(client: Client, options: Options) -> Pruned:
    answer = client.post("/networks/prune", {"filters": encode_filters(_filters(options))})
    return Pruned("Deleted Networks:", answer.get("NetworksDeleted") or [], 0)


def prune_volumes(client: Client, options: Options) -> Pruned:
    return _prune_volumes(client, _filters(options), everything=options.on("all"))


def _prune_anonymous(client: Client, options: Options) -> Pruned:
    return _prune_volumes(client, _filters(options), everything=False)


def _prune_volumes(client: Client, filters: list[str], *, everything: bool) -> Pruned:
    wanted = encode_filters([*filters, "all=true"] if everything else filters)
    answer = client.post("/volumes/prune", {"filters": wanted})
    deleted = answer.get("VolumesDeleted") or []
    return Pruned("Deleted Volumes:", deleted, answer.get("SpaceReclaimed", 0))


def prune_cache(client: Client, options: Options) -> Pruned:
    keep = options.values.get("keep-storage") or None
    query = {
        "all": options.on("all"),
        "filters": encode_filters(_filters(options)),
        "keep-storage": keep if isinstance(keep, int) else None,
    }
    answer = client.post("/build/prune", query)
    deleted = answer.get("CachesDeleted") or []
    return Pruned("Deleted build cache objects:", deleted, answer.get("SpaceReclaimed", 0))


def _one(
    prune: Callable[[Client, Options], Pruned],
    warning: Callable[[Options], str],
    *,
    total: bool = True,
    separator: str = "\n",
) -> Callable[[Session, Options, list[str]], None]:
    """Return the command that asks, prunes one kind and tells what that gave."""

    def run(session: Session, options: Options, _arguments: list[str]) -> None:
        if not options.on("force") and not confirmed(
            f"WARNING! This will remove {warning(options)}.{separator}{SURE}"
        ):
            return
        pruned = prune(session.client, options)
        if pruned.text:
            out(pruned.text)
        if total:
            out(f"Total reclaimed space: {format_size(pruned.size_bytes, 4)}")

    return run


def prune_system(session: Session, options: Options, _arguments: list[str]) -> None:
    filters = options.texts("filter")
    volumes = options.on("volumes")
    if volumes and any(text.startswith("until=") for text in filters):
        raise Fault('ERROR: The "until" filter is not supported with "--volumes"')
    if not options.on("force") and not confirmed(_system_warning(options)):
        return
    steps = [prune_containers, prune_networks]
    steps += [_prune_anonymous] if volumes else []
    steps += [prune_images, prune_cache]
    size_bytes = 0
    for step in steps:
        pruned = step(session.client, options)
        size_bytes += pruned.size_bytes
        if pruned.text:
            out(pruned.text)
    out(f"Total reclaimed space: {format_size(size_bytes, 4)}")
    sys.stdout.flush()


def _system_warning(options: Options) -> str:
    everything = options.on("all")
    what = ["all stopped containers", "all networks not used by at least one container"]
    if options.on("volumes"):
        what.append("all anonymous volumes not used by at least one container")
    what.append(
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    what.append("all build cache" if everything else "unused build cache")
    lines = ["WARNING! This will remove:", *(f"  - {item}" for item in what), ""]
    if options.texts("filter"):
        lines.append("  Items to be pruned will be filtered with:")
        lines += [f"  - {text}" for text in sorted(options.texts("filter"))] + [""]
    return "\n".join([*lines, SURE])


def _image_warning(options: Options) -> str:
    if options.on("all"):
        return "all images without at least one container associated to them"
    return "all dangling images"


def _volume_warning(options: Options) -> str:
    kind = "all" if options.on("all") else "anonymous"
    return f"{kind} local volumes not used by at least one container"


_FORCE = Flag("force,f", "bool", "Do not ask")
_FILTER = Flag("filter", "filter", "Remove only what matches this condition")
_ALL = Flag("all,a", "bool", "Remove everything unused, not only what has no name")
COMMANDS = {
    "container prune": Command(
        _one(prune_containers, lambda _o: "all stopped containers"),
        "[OPTIONS]", "Remove all stopped containers", (0, 0), (_FILTER, _FORCE),
    ),
    "image prune": Command(
        _one(prune_images, _image_warning),
        "[OPTIONS]", "Remove unused images", (0, 0), (_ALL, _FILTER, _FORCE),
    ),
    "network prune": Command(
        _one(
            prune_networks,
            lambda _o: "all custom networks not used by at least one container",
            total=False,
        ),
        "[OPTIONS]", "Remove all unused networks", (0, 0), (_FILTER, _FORCE),
    ),
    "volume prune": Command(
        _one(prune_volumes, _volume_warning),
        "[OPTIONS]", "Remove unused volumes", (0, 0), (_ALL, _FILTER, _FORCE),
    ),
    "builder prune": Command(
        _one(
            prune_cache,
            lambda o: "all build cache" if o.on("all") else "all dangling build cache",
            separator=" ",
        ),
        "", "Remove the build cache", (0, 0),
        (_ALL, _FILTER, _FORCE, Flag("keep-storage", "bytes", "Keep this much of it")),
    ),
    "system prune": Command(
        prune_system, "[OPTIONS]", "Remove everything unused", (0, 0),
        (_ALL, _FILTER, _FORCE, Flag("volumes", "bool", "Remove anonymous volumes too")),
    ),
}  # fmt: skip
