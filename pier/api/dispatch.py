"""From a request to its route and from an error to its status.

One table serves every path twice, under `/v1.N/` and bare. A name in a path may hold slashes,
colons and `@`, so patterns match greedily and the more special route stands first.
"""

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from pier import errors
from pier.api import answers
from pier.api.call import Call, Engine
from pier.api.connection import Connection
from pier.api.faults import in_words
from pier.api.hijack import Taken, connection_of
from pier.api.versions import ApiVersion, VersionTooOld, negotiated

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

ENGINE: web.AppKey[Engine] = web.AppKey("engine")
HIJACKED: web.AppKey[set[asyncio.Task[object]]] = web.AppKey("hijacked")
"""Tasks that serve connections HTTP has let go of."""

_STATUS: tuple[tuple[type[errors.PierError], int], ...] = (
    (errors.InvalidArgument, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.NotModified, 304),
    (errors.NotSupported, 501),
    (errors.Unavailable, 503),
    (errors.Failed, 500),
)
_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)")
_VARIABLE = re.compile(r"\{(\w+)\}")
_log = logging.getLogger("pier.api")


class PageNotFound(errors.NotFound):
    def __init__(self) -> None:
        super().__init__("page not found")


class CrossOrigin(errors.Forbidden):
    def __init__(self) -> None:
        super().__init__("requests from web pages are refused")


class StrangeHost(errors.Forbidden):
    def __init__(self, host: str) -> None:
        super().__init__(
            f"requests for host {host!r} are refused without TLS: it is no name of this machine "
            "that a web page could not have made up"
        )


@dataclass(frozen=True, slots=True)
class Route:
    """`{name}` in a path stands for one or more characters of any kind."""

    method: str
    path: str
    handler: Handler

    @property
    def pattern(self) -> re.Pattern[str]:
        parts = _VARIABLE.split(self.path)
        for index in range(0, len(parts), 2):
            parts[index] = re.escape(parts[index])
        for index in range(1, len(parts), 2):
            parts[index] = f"(?P<{parts[index]}>.+)"
        return re.compile("".join(parts))


@dataclass(frozen=True, slots=True)
class Match:
    handler: Handler
    path: dict[str, str]


class Table:
    """Routes by method and first word of the path; those without variables by their path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Handler] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = defaultdict(
            list
        )
        for route in routes:
            if "{" in route.path:
                key = (route.method, route.path.split("/", 2)[1])
                self._patterns[key].append((route.pattern, route.handler))
            else:
                self._fixed[route.method, route.path] = route.handler

    def find(self, method: str, path: str) -> Match:
        """Raises PageNotFound, also for a wrong method, as Docker does."""
        if handler := self._fixed.get((method, path)):
            return Match(handler, {})
        word = path.split("/", 2)[1] if path.startswith("/") else ""
        for pattern, candidate in self._patterns.get((method, word), ()):
            if found := pattern.fullmatch(path):
                return Match(candidate, found.groupdict())
        raise PageNotFound


class Dispatcher:
    """The application's only handler."""

    def __init__(self, table: Table, minimum: ApiVersion) -> None:
        self._table = table
        self._minimum = minimum

    async def handle(self, request: web.Request) -> web.StreamResponse:
        connection = connection_of(request)
        if connection is not None:
            connection.begin_request()
        try:
            return await self._answer(request)
        except Exception as error:  # every error becomes an answer, here and nowhere else
            if isinstance(error, ConnectionError) and _client_gone(connection):
                return _hung_up(connection)
            if connection is not None and connection.answering:
                return _broken_off(request, connection, error)
            return _failed(request, error)
        finally:
            if connection is not None:
                connection.finish_request()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers:
            raise CrossOrigin
        _check_host(request)
        if request.method == "OPTIONS":
            return answers.empty(200)
        version, path = _split(request.path)
        match = self._table.find(request.method, path)
        call = Call(request, request.app[ENGINE], negotiated(version, self._minimum), match.path)
        return await match.handler(call)


def _check_host(request: web.Request) -> None:
    """Raise StrangeHost where a page's own name may have been made to mean 127.0.0.1.

    A browser sends no Origin with what it takes for the page's own server, so what it asks for
    would be read by the page (DNS rebinding). Such names have dots, and their `localhost` none.
    """
    transport = request.transport
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return
    if not isinstance(transport.get_extra_info("sockname"), tuple):
        return
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        raise StrangeHost(request.host) from None
    if "." in name and not name.endswith(".localhost") and not _is_address(name):
        raise StrangeHost(request.host)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _split(path: str) -> tuple[str | None, str]:
    """The version in a path, if any, and the rest."""
    found = _VERSIONED.fullmatch(path)
    return (found[1], found[2]) if found else (None, path)


def status_of(error: Exception) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _client_gone(connection: Connection | None) -> bool:
    return connection is None or connection.half_closed or connection.transport.is_closing()


def _hung_up(connection: Connection | None) -> web.StreamResponse:
    """Nobody is left to answer."""
    if connection is not None:
        connection.transport.close()
    return Taken()


def _broken_off(
    request: web.Request, connection: Connection, error: Exception
) -> web.StreamResponse:
    """The status is long gone: a stream cut short is all that can be told."""
    _log.error("%s %s broke off", request.method, request.path, exc_info=error)
    connection.transport.close()
    return Taken()


def _failed(request: web.Request, error: Exception) -> web.StreamResponse:
    status, message = status_of(error), str(error)
    if not isinstance(error, errors.PierError):
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
        message = in_words(error)
    if status == 304:
        return answers.empty(304)
    if isinstance(error, VersionTooOld):  # such clients know no errors in JSON
        return web.Response(text=f"{message}\n", status=status)
    return answers.json({"message": message}, status)
