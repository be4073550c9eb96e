"""Registries of one image: one that gives its bytes, one that gives others."""

from aiohttp import web

from tests.clients.image_store import MadeImage
from tests.clients.registries import Respond, digest


def serving(*documents: bytes, types: dict[bytes, str] | None = None) -> Respond:
    """A registry that answers any tag with the first document, digests with what has them."""

    async def respond(request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        for data in documents:
            if name in (digest(data), "latest"):
                kind = (types or {}).get(data, "application/octet-stream")
                return web.Response(body=data, content_type=kind)
        return web.Response(status=404)

    return respond


def lying(image: MadeImage, layer: bytes) -> Respond:
    """The image, with other bytes for its last layer."""
    honest = serving(image.manifest, image.config, *image.layers[:-1])

    async def respond(request: web.Request) -> web.StreamResponse:
        if request.path.endswith(digest(image.layers[-1])):
            header = request.headers.get("Range", "")
            start = int(header[6:-1]) if header else 0
            headers = {"Content-Range": f"bytes {start}-{len(layer) - 1}/{len(layer)}"}
            if not header:
                return web.Response(body=layer)
            return web.Response(status=206, body=layer[start:], headers=headers)
        return await honest(request)

    return respond
