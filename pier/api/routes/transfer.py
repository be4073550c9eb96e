"""Images on their way: pull, push, import, load, save; and what a registry says."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from pier.api import answers
from pier.api.auth import AuthConfig, registry_auth, to_auth
from pier.api.call import Call, settled
from pier.api.dispatch import Route
from pier.api.platforms import image_of, platform_of
from pier.api.progress import send_progress
from pier.api.schema.filters import Filters
from pier.api.transfers import TAR, body_chunks, send_archive
from pier.errors import (
    Failed,
    Forbidden,
    InvalidArgument,
    NotSupported,
    PierError,
    Unavailable,
)
from pier.images.model import Image
from pier.images.remote import import_url
from pier.images.transfer import Step
from pier.oci.platform import WrongPlatform
from pier.oci.reference import parse_reference
from pier.registry.queries import SearchFilters


class NoExportTarget(Failed):
    def __init__(self, platform: str) -> None:
        super().__init__(f"no suitable export target found for platform {platform}")


class InvalidStars(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"invalid filter 'stars={text}': strconv.Atoi: parsing {json.dumps(text)}: "
            "invalid syntax"
        )


class ScratchIsReserved(Forbidden):
    def __init__(self) -> None:
        super().__init__("'scratch' is a reserved name")


async def create(call: Call) -> web.StreamResponse:
    """A pull if `fromImage` is given, else an import."""
    if source := call.text("fromImage"):
        return await _pull(call, source.strip())
    return await _import(call)


async def _pull(call: Call, name: str) -> web.StreamResponse:
    reference, all_tags = pull_reference(name, call.text("tag"))
    if parse_reference(reference).path == "library/scratch":
        raise ScratchIsReserved
    steps = call.part("puller", "docker pull").pull(
        reference,
        platform=call.text("platform"),
        auth=registry_auth(call.request.headers),
        all_tags=all_tags,
    )
    with _asking_a_registry():
        return await send_progress(call.request, steps)


@contextmanager
def _asking_a_registry() -> Iterator[None]:
    """A registry that cannot be reached is a plain failure here: 503 would say we are down."""
    try:
        yield
    except Unavailable as error:
        raise Failed(str(error)) from error


def pull_reference(name: str, tag: str) -> tuple[str, bool]:
    """The reference to pull, and whether all its tags are meant: neither tag nor digest given."""
    if tag:
        return (f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"), False
    reference = parse_reference(name.removesuffix(":"))
    return str(reference), not (reference.tag or reference.digest)


async def _import(call: Call) -> web.StreamResponse:
    source = call.text("fromSrc")
    repository, tag = call.text("repo"), call.text("tag")
    reference = f"{repository}:{tag}" if repository and tag else repository
    if reference:
        parse_reference(reference)

    asked: dict[str, Any] = {  # keyword arguments of two functions
        "reference": reference,
        "message": call.text("message"),
        "changes": call.texts("changes"),
        "platform": call.text("platform"),
    }
    if source != "-":
        return await send_progress(call.request, import_url(call.engine.images, source, **asked))

    async def steps() -> AsyncIterator[Step]:
        image: Image = await settled(call.engine.images.import_(body_chunks(call), **asked))
        yield Step(status=image.id)

    return await send_progress(call.request, steps())


async def push(call: Call) -> web.StreamResponse:
    await settled(call.engine.images.list_())
    steps = call.part("pusher", "docker push").push(
        call.name,
        tag=call.text("tag"),
        platform=platform_of(call, 46),
        auth=registry_auth(call.request.headers),
    )
    with _asking_a_registry():
        return await send_progress(call.request, steps)


async def load(call: Call) -> web.StreamResponse:
    """What is wrong with the archive is told in the stream, as Docker does; clients look there."""
    platform = platform_of(call, 48)

    async def steps() -> AsyncIterator[Step]:
        try:
            events = await settled(call.engine.images.load(body_chunks(call), platform=platform))
            async for event in events:
                yield Step(
                    stream=event.stream,
                    status=event.status,
                    id=event.id,
                    current=event.current,
                    total=event.total,
                )
        except PierError as error:
            yield Step(error=str(error))

    return await send_progress(call.request, steps(), quiet=call.flag("quiet", default=True))


async def save(call: Call) -> web.StreamResponse:
    names = (call.name,) if "name" in call.path else _names(call)
    if platform := platform_of(call, 48):
        try:
            for name in names:
                await settled(image_of(call, name, 48))
        except WrongPlatform:
            raise NoExportTarget(platform) from None
    chunks = await settled(call.engine.images.save(names))
    return await send_archive(call.request, TAR, chunks)


def _names(call: Call) -> tuple[str, ...]:
    names = tuple(name for text in call.texts("names") for name in text.split(",") if name)
    if not names:
        raise InvalidArgument("no images specified")
    return names


async def search(call: Call) -> web.StreamResponse:
    if not call.text("term"):
        raise InvalidArgument("missing 'term' parameter")
    filters = _search_filters(call.filters(("is-official", "is-automated", "stars")))
    limit = call.number("limit", 25)
    if not 1 <= limit <= 100:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, 100]")
    registry = call.part("registry", "docker search")
    with _asking_a_registry():
        found = await registry.search(
            call.text("term"),
            limit=limit,
            auth=registry_auth(call.request.headers),
            filters=filters,
        )
    return answers.json(found)


def _search_filters(filters: Filters) -> SearchFilters:
    stars = 0
    for text in filters.get("stars"):
        if not re.fullmatch(r"[+-]?\d{1,9}", text, re.ASCII):
            raise InvalidStars(text)
        stars = max(stars, int(text))
    official = filters.flag("is-official", default=False) if "is-official" in filters else None
    return SearchFilters(official, filters.flag("is-automated", default=False), stars)


async def distribution(call: Call) -> web.StreamResponse:
    reference = parse_reference(call.name)
    registry = call.part("registry", "asking a registry")
    with _asking_a_registry():
        found = await registry.distribution(
            str(reference.tagged()), auth=registry_auth(call.request.headers)
        )
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return answers.json({"Descriptor": descriptor, "Platforms": found.platforms})


async def manifest(call: Call) -> web.StreamResponse:
    """Pier's own: a manifest or index as the registry has it, for `pier manifest inspect`."""
    registry = call.part("registry", "asking a registry")
    with _asking_a_registry():
        found = await registry.manifest(call.name, auth=registry_auth(call.request.headers))
    headers = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest}
    return web.Response(body=found.data, headers=headers)


async def login(call: Call) -> web.StreamResponse:
    auth = to_auth(await call.needed_body(AuthConfig))
    token = await call.part("registry", "docker login").login(auth)
    return answers.json({"Status": "Login Succeeded", "IdentityToken": token or ""})


async def attestations(call: Call) -> web.StreamResponse:
    raise NotSupported("attestations are not supported by Pier")


ROUTES = (
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("GET", "/images/get", save),
    Route("GET", "/images/search", search),
    Route("GET", "/images/{name}/get", save),
    Route("POST", "/images/{name}/push", push),
    Route("GET", "/images/{name}/attestations", attestations),
    Route("GET", "/distribution/{name}/json", distribution),
    Route("GET", "/distribution/{name}/manifest", manifest),
    Route("POST", "/auth", login),
)
