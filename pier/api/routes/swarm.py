"""What only a swarm, plugins or BuildKit could answer: refused in Docker's words.

`docker inspect` asks here for things it did not find elsewhere, so the words matter.
"""

from aiohttp import web

from pier.api import answers
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.routes.volumes import NotASwarmManager
from pier.errors import NotFound, NotSupported, Unavailable


class NotInSwarm(Unavailable):
    def __init__(self) -> None:
        super().__init__("This node is not part of a swarm")


class NoSuchPlugin(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f'plugin "{name}" not found')


async def no_manager(call: Call) -> web.StreamResponse:
    raise NotASwarmManager


async def no_swarm(call: Call) -> web.StreamResponse:
    raise NotInSwarm


async def swarm_mode(call: Call) -> web.StreamResponse:
    raise Unavailable("swarm mode is not supported by Pier")


async def no_plugins(call: Call) -> web.StreamResponse:
    call.filters(("capability", "enabled"))
    return answers.json([])


async def no_plugin(call: Call) -> web.StreamResponse:
    raise NoSuchPlugin(call.name)


async def managed_plugins(call: Call) -> web.StreamResponse:
    raise Unavailable("managed plugins are not supported by Pier")


async def no_buildkit(call: Call) -> web.StreamResponse:
    raise NotSupported("BuildKit is not supported by Pier; set DOCKER_BUILDKIT=0")


_MANAGED = ("nodes", "services", "tasks", "secrets", "configs")

ROUTES = (
    Route("GET", "/swarm", no_manager),
    Route("GET", "/swarm/unlockkey", no_manager),
    Route("POST", "/swarm/init", swarm_mode),
    Route("POST", "/swarm/join", swarm_mode),
    Route("POST", "/swarm/leave", no_swarm),
    Route("POST", "/swarm/update", no_manager),
    Route("POST", "/swarm/unlock", no_swarm),
    *(Route("GET", f"/{kind}", no_manager) for kind in _MANAGED),
    *(
        Route(method, f"/{kind}/{{name}}", no_manager)
        for kind in _MANAGED
        for method in ("GET", "POST", "DELETE")
    ),
    Route("GET", "/plugins", no_plugins),
    Route("GET", "/plugins/privileges", managed_plugins),
    Route("POST", "/plugins/pull", managed_plugins),
    Route("POST", "/plugins/create", managed_plugins),
    Route("GET", "/plugins/{name}/json", no_plugin),
    Route("POST", "/plugins/{name}/enable", no_plugin),
    Route("POST", "/plugins/{name}/disable", no_plugin),
    Route("POST", "/plugins/{name}/upgrade", no_plugin),
    Route("POST", "/plugins/{name}/push", no_plugin),
    Route("POST", "/plugins/{name}/set", no_plugin),
    Route("DELETE", "/plugins/{name}", no_plugin),
    Route("POST", "/session", no_buildkit),
    Route("POST", "/grpc", no_buildkit),
)
