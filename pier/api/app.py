"""Docker's Engine API as an aiohttp application. It translates; the engine decides.

app = create_app(engine)          # a pier.engine.engine.Engine
listener = Listener(app)          # pier.api.listen
"""

from aiohttp import web

from pier.api.call import MAX_BODY, Engine
from pier.api.dispatch import ENGINE, HIJACKED, Dispatcher, Table
from pier.api.hijack import connection_of
from pier.api.routes.table import ROUTES
from pier.api.versions import FLOOR_VERSION, MAX_VERSION, SERVER_VERSION, ApiVersion, parse_version


def create_app(engine: Engine) -> web.Application:
    """The application. Serve it with `pier.api.listen.Listener`: hijacking needs that."""
    minimum = minimum_version(engine)
    app = web.Application(client_max_size=MAX_BODY)
    app[ENGINE] = engine
    app[HIJACKED] = set()
    app.router.add_route("*", "/{path:.*}", Dispatcher(Table(ROUTES), minimum).handle)
    app.on_response_prepare.append(_add_headers)
    return app


def minimum_version(engine: Engine) -> ApiVersion:
    text = getattr(getattr(engine, "settings", None), "min_api_version", "")
    return max(parse_version(text), FLOOR_VERSION) if text else FLOOR_VERSION


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    settings = getattr(request.app[ENGINE], "settings", None)
    experimental = bool(getattr(settings, "experimental", False))
    response.headers["Server"] = f"Docker/{SERVER_VERSION} (linux)"
    response.headers["Api-Version"] = str(MAX_VERSION)
    response.headers["Ostype"] = "linux"
    response.headers["Docker-Experimental"] = str(experimental).lower()
    connection = connection_of(request)
    if connection is not None and connection.half_closed:
        response.force_close()
