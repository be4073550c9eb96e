"""Images here: list, inspect, history, tag, remove, prune."""

import re
from collections.abc import Iterable, Sequence

from aiohttp import web

from pier.api import answers
from pier.api.call import Call, settled
from pier.api.dispatch import Route
from pier.api.platforms import image_of, platforms_of
from pier.api.schema.filters import Filters, InvalidFilter
from pier.api.schema.images import (
    familiar,
    history_json,
    inspect_json,
    removed_json,
    summary_json,
)
from pier.api.schema.prune import prune_labels, prune_until
from pier.api.schema.words import parse_moment
from pier.errors import InvalidArgument
from pier.images.model import HistoryEntry, Image

_FILTERS = ("dangling", "label", "label!", "before", "since", "reference", "until")


class NoImageName(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("invalid reference format: repository name is empty")


async def list_images(call: Call) -> web.StreamResponse:
    filters = call.filters(_FILTERS)
    images: Sequence[Image] = await settled(call.engine.images.list_())
    used = [container.image_id for container in call.engine.containers.list_()]
    counted = call.version.at_least(51)
    found = [
        summary_json(image, call.version, containers=used.count(image.id) if counted else -1)
        for image in _within(call, _visible(images, everything=call.flag("all")), filters)
        if _matches(image, filters)
    ]
    if "reference" in filters:
        for item in found:
            item.repo_tags = [tag for tag in item.repo_tags if _referenced((tag,), filters)]
            item.repo_digests = [
                name for name in item.repo_digests if _referenced((name,), filters)
            ]
    return answers.json(sorted(found, key=lambda item: -item.created))


def _visible(images: Sequence[Image], *, everything: bool) -> Iterable[Image]:
    """Without `all`, untagged images that others were made from are steps, not results."""
    parents = {image.parent for image in images}
    return (image for image in images if everything or image.tags or image.id not in parents)


def _within(call: Call, images: Iterable[Image], filters: Filters) -> Iterable[Image]:
    before = [call.engine.images.get(name).created_ns for name in filters.get("before")]
    since = [call.engine.images.get(name).created_ns for name in filters.get("since")]
    before += [parse_moment(text, call.now_ns) for text in filters.get("until") if text]
    return (
        image
        for image in images
        if all(image.created_ns < limit for limit in before)
        and all(image.created_ns > limit for limit in since)
    )


def _matches(image: Image, filters: Filters) -> bool:
    labels = image.config.run.labels
    if "dangling" in filters and filters.flag("dangling", default=False) == bool(image.tags):
        return False
    if "label!" in filters and filters.labels(labels, "label!"):
        return False
    names = [familiar(name) for name in (*image.tags, *image.digests)]
    return filters.labels(labels) and _referenced(names, filters)


def _referenced(names: Iterable[str], filters: Filters) -> bool:
    """`reference`: a pattern for a familiar name, with its tag or without."""
    if "reference" not in filters:
        return True
    patterns = [_glob(value) for value in filters.get("reference")]
    return any(
        pattern.fullmatch(name) or pattern.fullmatch(_without_tag(name))
        for pattern in patterns
        for name in names
    )


def _without_tag(name: str) -> str:
    name = name.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _glob(pattern: str) -> re.Pattern[str]:
    """A shell pattern in which `*` does not cross slashes."""
    if len(pattern) > 256:
        raise InvalidFilter(f"reference={pattern[:32]}...")
    escaped = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return (
        re.compile(escaped.replace(r"\[", "[").replace(r"\]", "]"))
        if _sets(pattern)
        else (re.compile(escaped))
    )


def _sets(pattern: str) -> bool:
    return re.search(r"\[[^\]\\]+\]", pattern) is not None and pattern.count("[") == 1


async def inspect(call: Call) -> web.StreamResponse:
    image = image_of(call, call.name, 49)
    tagged_ns = call.engine.images.last_tagged_ns(image.id)
    directories = call.engine.images.layer_directories(image)
    return answers.json(inspect_json(image, directories, tagged_ns))


async def history(call: Call) -> web.StreamResponse:
    image_of(call, call.name, 48)
    entries: Sequence[HistoryEntry] = await settled(call.engine.images.history(call.name))
    return answers.json(history_json(entries))


async def tag(call: Call) -> web.StreamResponse:
    repository, label = call.text("repo"), call.text("tag")
    await settled(call.engine.images.get(call.name))
    if not repository:
        raise NoImageName
    await settled(call.engine.images.tag(call.name, f"{repository}:{label or 'latest'}"))
    return answers.empty(201)


async def remove(call: Call) -> web.StreamResponse:
    if platforms_of(call, 50, "platforms"):  # else a damaged one, which is none, can be removed
        image_of(call, call.name, 50, "platforms")
    removed = await settled(
        call.engine.images.remove(
            call.name, force=call.flag("force"), prune=not call.flag("noprune")
        )
    )
    return answers.json(removed_json(removed))


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters(("dangling", "until", "label", "label!"))
    pruned = await settled(
        call.engine.images.prune(
            dangling=filters.flag("dangling", default=True),
            until_ns=prune_until(filters, call.now_ns),
            **prune_labels(filters),
        )
    )
    answer = {
        "ImagesDeleted": removed_json(pruned.removed) or None,
        "SpaceReclaimed": pruned.bytes_reclaimed,
    }
    return answers.json(answer)


ROUTES = (
    Route("GET", "/images/json", list_images),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/{name}/json", inspect),
    Route("GET", "/images/{name}/history", history),
    Route("POST", "/images/{name}/tag", tag),
    Route("DELETE", "/images/{name}", remove),
)
