"""Manifests, tags, the catalogue and referrers over HTTP (OCI distribution specification)."""

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from pier.oci.digest import digest_of
from pier.registry import protocol
from pier.registry.server import faults, names
from pier.registry.server.contents import Stored
from pier.registry.server.parsing import stated_type
from pier.registry.server.parts import PARTS, Parts

_REFERRERS_PAGE = 2 * 1024 * 1024


async def get(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name, reference = names.repository(request), names.reference(request)
    if parts.cache is not None:
        await parts.cache.freshen_manifest(name, reference)
    stored = await parts.contents.manifest(name, reference)
    etag = f'"{stored.digest}"'
    headers = {"Docker-Content-Digest": stored.digest, "ETag": etag}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = stored.media_type
    return web.Response(body=stored.data, headers=headers)


async def put(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name, reference = names.repository(request), names.reference(request)
    data = await _read(request)
    digest = digest_of(data)
    if ":" in reference and reference != digest:
        raise faults.digest_invalid(f"it is {digest}")
    tags = [] if ":" in reference else [reference]
    tags += request.query.getall("tag", [])
    for tag in tags:
        if not protocol.valid_tag(tag):
            raise faults.manifest_invalid(f"{tag!r} is no tag")
    media_type = protocol.media_type(request.headers.get("Content-Type", ""))
    stored = Stored(media_type or stated_type(data), digest, data)
    parsed = await parts.contents.put_manifest(name, stored, tags)
    headers = {
        "Location": f"/v2/{name}/manifests/{digest}",
        "Docker-Content-Digest": digest,
    }
    if parsed.subject:
        headers["OCI-Subject"] = parsed.subject
    if "tag" in request.query:
        headers["OCI-Tag"] = ", ".join(request.query.getall("tag"))
    return web.Response(status=201, headers=headers)


async def _read(request: web.Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > protocol.MANIFEST_LIMIT:
            words = f"manifest is larger than {protocol.MANIFEST_LIMIT} bytes"
            raise faults.Fault(413, "MANIFEST_INVALID", words)
        parts.append(chunk)
    return b"".join(parts)


async def delete(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name, reference = names.repository(request), names.reference(request)
    if ":" in reference:
        await parts.contents.delete_manifest(name, names.checked_digest(reference))
    else:
        await parts.contents.delete_tag(name, reference)
    return web.Response(status=202)


async def tags(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name = names.repository(request)
    page = names.page(request)
    found = await _all_tags(parts, name)
    rest = [tag for tag in found if tag > page.last]
    shown = rest[: page.count]
    path = f"/v2/{name}/tags/list"
    return _paged(
        {"name": name, "tags": shown}, path, page, shown if len(rest) > page.count else ()
    )


async def _all_tags(parts: Parts, name: str) -> list[str]:
    if parts.cache is not None:
        upstream = await parts.cache.tags(name)
        if upstream is not None:
            return sorted(upstream)
    if not await parts.contents.exists(name):
        raise faults.name_unknown(name)
    return await parts.contents.tags(name)


async def catalogue(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    page = names.page(request)
    found = await parts.contents.catalogue(page.last, page.count + 1)
    shown = found[: page.count]
    more = shown if len(found) > page.count else ()
    return _paged({"repositories": shown}, "/v2/_catalog", page, more)


def _paged(
    body: dict[str, object], path: str, page: names.Page, shown: Sequence[str]
) -> web.Response:
    """A list; `shown` is not empty when there is more after it."""
    headers = {"Content-Type": "application/json"}
    if shown:
        query = urlencode({"n": page.count, "last": shown[-1]})
        headers["Link"] = protocol.format_next_link(f"{path}?{query}")
    return web.Response(body=msgspec.json.encode(body), headers=headers)


class _Filterable(msgspec.Struct, rename="camel"):
    digest: str
    artifact_type: str = ""


async def referrers(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name, subject = names.repository(request), names.digest(request)
    wanted = request.query.get("artifactType", "")
    last = request.query.get("last", "")
    shown: list[msgspec.Raw] = []
    size, cursor = 0, ""
    headers = {"Content-Type": protocol.INDEX_OCI}
    for raw in await parts.contents.referrers(name, subject):
        entry = msgspec.json.decode(raw, type=_Filterable)
        if entry.digest <= last or (wanted and entry.artifact_type != wanted):
            continue
        if size + len(bytes(raw)) > _REFERRERS_PAGE:
            query = {"last": cursor, **({"artifactType": wanted} if wanted else {})}
            path = f"/v2/{name}/referrers/{subject}?{urlencode(query)}"
            headers["Link"] = protocol.format_next_link(path)
            break
        shown.append(raw)
        size, cursor = size + len(bytes(raw)), entry.digest
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    index = {"schemaVersion": 2, "mediaType": protocol.INDEX_OCI, "manifests": shown}
    return web.Response(body=msgspec.json.encode(index), headers=headers)
