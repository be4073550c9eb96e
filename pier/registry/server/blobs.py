"""Blobs and uploads over HTTP (OCI distribution specification)."""

from aiohttp import web

from pier.oci.digest import Digest
from pier.registry import protocol
from pier.registry.server import faults, names
from pier.registry.server.contents import blob_key
from pier.registry.server.parts import PARTS, Parts
from pier.registry.server.spool import BROKEN, Upload

_OCTETS = "application/octet-stream"


async def get(request: web.Request) -> web.StreamResponse:
    """GET and HEAD, whole or by Range."""
    parts = request.app[PARTS]
    name, digest = names.repository(request), names.digest(request)
    if parts.cache is not None:
        arriving = await parts.cache.blob(name, digest)
        if arriving is not None:
            return await arriving.serve(request, parts.metrics)
    size = await parts.contents.blob_size(name, digest)
    headers = {
        "Docker-Content-Digest": digest,
        "Content-Type": _OCTETS,
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    local = parts.contents.backend.local(blob_key(digest))
    if local is not None:
        parts.metrics.sent(size if request.method == "GET" else 0)
        return web.FileResponse(local, headers=headers)
    return await _stream(request, parts, digest, size, headers)


async def _stream(
    request: web.Request, parts: Parts, digest: Digest, size: int, headers: dict[str, str]
) -> web.StreamResponse:
    """For backends without files."""
    span = None
    try:
        span = protocol.parse_byte_range(request.headers.get("Range", ""), size)
    except ValueError:
        fault = faults.range_invalid("the range lies outside the blob")
        fault.headers["Content-Range"] = f"bytes */{size}"
        raise fault from None
    first, count = (span.first, span.size) if span else (0, size)
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    response.content_length = count
    if span:
        response.headers["Content-Range"] = f"bytes {span.first}-{span.last}/{size}"
    await response.prepare(request)
    if request.method == "GET":
        async for chunk in parts.contents.backend.read(blob_key(digest), first, count):
            await response.write(chunk)
            parts.metrics.sent(len(chunk))
    await response.write_eof()
    return response


async def delete(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    await parts.contents.unlink_blob(names.repository(request), names.digest(request))
    return web.Response(status=202)


async def start(request: web.Request) -> web.Response:
    """POST: mount, upload in one go, or open a session."""
    parts = request.app[PARTS]
    name = names.repository(request)
    if "mount" in request.query:
        digest = names.checked_digest(request.query["mount"])
        source = request.query.get("from", "")
        if source and not protocol.valid_name(source):
            raise faults.name_invalid(source)
        if await parts.contents.mount(name, digest, source):
            return _created(name, digest)
    upload = parts.spool.create(name)
    if "digest" in request.query:
        async with upload:
            return await _finish(request, parts, name, upload)
    return _accepted(name, upload)


async def patch(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name = names.repository(request)
    async with parts.spool.get(name, request.match_info["uuid"]) as upload:
        _check_position(name, request, upload)
        await _append(request, parts, upload)
        return _accepted(name, upload)


async def finish(request: web.Request) -> web.Response:
    """PUT: the last bytes, if any, and the digest of all."""
    parts = request.app[PARTS]
    name = names.repository(request)
    async with parts.spool.get(name, request.match_info["uuid"]) as upload:
        _check_position(name, request, upload)
        return await _finish(request, parts, name, upload)


async def status(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    name = names.repository(request)
    upload = parts.spool.get(name, request.match_info["uuid"])
    return web.Response(status=204, headers=_upload_headers(name, upload))


async def cancel(request: web.Request) -> web.Response:
    parts = request.app[PARTS]
    async with parts.spool.get(names.repository(request), request.match_info["uuid"]) as upload:
        parts.spool.drop(upload)
    return web.Response(status=204)


async def _append(request: web.Request, parts: Parts, upload: Upload) -> None:
    before = upload.offset
    limit = None
    if request.content_length is not None:
        limit = before + request.content_length
    try:
        await upload.append(request.content.iter_any(), limit)
    except BROKEN as error:
        raise faults.Fault(400, "BLOB_UPLOAD_INVALID", "the connection broke off") from error
    finally:
        parts.metrics.received(upload.offset - before)


async def _finish(request: web.Request, parts: Parts, name: str, upload: Upload) -> web.Response:
    digest = names.checked_digest(request.query.get("digest", ""))
    await _append(request, parts, upload)
    actual = await upload.digest()
    if actual != digest:
        parts.spool.drop(upload)
        raise faults.digest_invalid(f"it is {actual}")
    await parts.contents.adopt_blob(name, digest, upload.path)
    parts.spool.drop(upload)
    return _created(name, digest)


def _check_position(name: str, request: web.Request, upload: Upload) -> None:
    """A Content-Range must begin where the upload ends."""
    header = request.headers.get("Content-Range")
    if header is None:
        return
    span = protocol.parse_content_range(header)
    if span is None or span.first != upload.offset:
        fault = faults.range_invalid(f"{header} does not follow {upload.offset} bytes")
        fault.headers.update(_upload_headers(name, upload))
        raise fault
    if request.content_length is not None and request.content_length != span.size:
        raise faults.Fault(400, "SIZE_INVALID", "Content-Range and Content-Length differ")


def _upload_headers(name: str, upload: Upload) -> dict[str, str]:
    return {
        "Location": f"/v2/{name}/blobs/uploads/{upload.uuid}",
        "Range": protocol.format_upload_range(upload.offset),
        "Docker-Upload-UUID": upload.uuid,
    }


def _accepted(name: str, upload: Upload) -> web.Response:
    return web.Response(status=202, headers=_upload_headers(name, upload))


def _created(name: str, digest: Digest) -> web.Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)
