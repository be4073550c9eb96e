"""The routes of a registry, and what is true of all of them: who may, errors, counts."""

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from pier.errors import NotFound, PierError, Unauthorized, Unavailable
from pier.registry.failures import TooManyRequests
from pier.registry.protocol import ErrorEntry, format_errors
from pier.registry.server import blobs, faults, manifests
from pier.registry.server.access import TOKEN_PATH
from pier.registry.server.parts import PARTS, Parts

logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_READS = frozenset({"GET", "HEAD"})
_NAME = "/v2/{name:.+?}"


def create_app(parts: Parts) -> web.Application:
    """The registry as an aiohttp application; the caller serves it and closes the backend."""
    app = web.Application(middlewares=[_answering, _guarded], client_max_size=0)
    app[PARTS] = parts
    app.router.add_get("/v2/", _hello)
    app.router.add_get("/v2", _hello)
    app.router.add_get("/v2/_catalog", manifests.catalogue)
    app.router.add_get("/metrics", _metrics)
    if parts.access is not None and parts.access.anonymous_pull:
        app.router.add_get(TOKEN_PATH, parts.access.token)
    uploads = _NAME + "/blobs/uploads"
    app.router.add_post(uploads + "/", blobs.start)
    app.router.add_post(uploads, blobs.start)
    app.router.add_patch(uploads + "/{uuid:[^/]+}", blobs.patch)
    app.router.add_put(uploads + "/{uuid:[^/]+}", blobs.finish)
    app.router.add_get(uploads + "/{uuid:[^/]+}", blobs.status)
    app.router.add_delete(uploads + "/{uuid:[^/]+}", blobs.cancel)
    app.router.add_get(_NAME + "/blobs/{digest:[^/]+}", blobs.get)
    app.router.add_delete(_NAME + "/blobs/{digest:[^/]+}", blobs.delete)
    reference = _NAME + "/manifests/{reference:[^/]+}"
    app.router.add_get(reference, manifests.get)
    app.router.add_put(reference, manifests.put)
    app.router.add_delete(reference, manifests.delete)
    app.router.add_get(_NAME + "/tags/list", manifests.tags)
    app.router.add_get(_NAME + "/referrers/{digest:[^/]+}", manifests.referrers)
    return app


async def _hello(_: web.Request) -> web.Response:
    return web.json_response({})


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[PARTS].metrics
    if not metrics.available:
        words = "metrics need the package prometheus-client: pip install 'pier[metrics]'"
        return web.Response(status=501, text=words)
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=metrics.expose(), headers=headers)


@web.middleware
async def _answering(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in the protocol's form, the version header, one count per request."""
    started = time.monotonic()
    try:
        response = await handler(request)
    except Exception as error:  # every error gets a body; what is no known one is logged
        response = _error_response(error)
    if not response.prepared:
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        response.headers["X-Content-Type-Options"] = "nosniff"
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "unknown"
    seconds = time.monotonic() - started
    request.app[PARTS].metrics.request(route, request.method, response.status, seconds)
    return response


def _error_response(error: Exception) -> web.Response:
    match error:
        case faults.Fault():
            return _failed(error.status, error.entry, error.headers)
        case web.HTTPException():
            entry = ErrorEntry("UNSUPPORTED", error.reason)
            return _failed(error.status, entry)
        case TooManyRequests():
            return _failed(429, ErrorEntry("TOOMANYREQUESTS", str(error)))
        case NotFound():
            return _failed(404, ErrorEntry("NAME_UNKNOWN", str(error)))
        case Unauthorized():
            return _failed(502, ErrorEntry("DENIED", f"upstream: {error}"))
        case Unavailable():
            return _failed(503, ErrorEntry("UNAVAILABLE", f"upstream: {error}"))
        case PierError():
            return _failed(502, ErrorEntry("UNKNOWN", f"upstream: {error}"))
    logger.error("a request failed", exc_info=error)
    return _failed(500, ErrorEntry("UNKNOWN", "unknown error"))


def _failed(status: int, entry: ErrorEntry, headers: dict[str, str] | None = None) -> web.Response:
    content = {"Content-Type": "application/json"}
    return web.Response(
        status=status, body=format_errors(entry), headers={**content, **(headers or {})}
    )


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authentication, then whether this registry takes writes at all."""
    parts = request.app[PARTS]
    reading = request.method in _READS and "/blobs/uploads" not in request.path
    if parts.access is not None and request.path != TOKEN_PATH:
        await parts.access.check(request, reading=reading)
    if not reading and parts.cache is not None:
        raise faults.unsupported("this registry is a pull-through cache: push to its upstream")
    if not reading and parts.readonly:
        raise faults.unsupported("this registry is read-only")
    return await handler(request)
