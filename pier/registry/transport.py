"""One request to one endpoint of a registry, until there is an answer worth reading.

Schemes, authorization, redirects, retries with back-off, and errors as exceptions. A redirect to
another host goes without Authorization and is never answered with credentials, nor may it step
down from https to http. Bodies are never decompressed and never read without a bound here.
"""

import asyncio
import math
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import aiohttp
from yarl import URL

from pier.registry import tls
from pier.registry.auth import Authorizer, Identity, TokenAnswer, TokenRequest
from pier.registry.breakage import is_final, speaks_no_tls, words
from pier.registry.failures import (
    BadAnswer,
    RegistryError,
    RegistryUnauthorized,
    RegistryUnreachable,
    ServerTrouble,
    TooManyRequests,
    UnsafeRedirect,
)
from pier.registry.hosts import Endpoint, Hosts, Trust
from pier.registry.protocol import (
    join_url,
    parse_challenges,
    parse_errors,
    parse_http_url,
    parse_retry_after,
)

USER_AGENT = "pier/0.1 (docker distribution client)"
_ERROR_BODY_LIMIT = 64 * 1024
_TOKEN_BODY_LIMIT = 1024 * 1024
_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_READ_BUFFER = 1024 * 1024

Body = bytes | Callable[[], AsyncIterator[bytes]]
Waiting = Callable[[int], None]
"""Told every second of a pause how many are left: whoever watches sees why nothing moves."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try. Delays double from the first to the longest, with jitter."""

    attempts: int = 5
    first_delay_s: float = 0.5
    longest_delay_s: float = 10.0
    longest_wait_s: float = 60.0
    """A Retry-After beyond this is an error now: the user may not want to wait."""
    connect_s: float = 15.0
    read_s: float = 60.0

    def delay_s(self, attempt: int) -> float:
        longest = min(self.first_delay_s * 2.0**attempt, self.longest_delay_s)
        return longest * random.uniform(0.75, 1.0)  # noqa: S311 -- jitter, no secret


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Below the endpoint's prefix, with a leading slash; or a full URL, as Location gives one."""
    scopes: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    accepted: frozenset[int] = frozenset()
    """Error statuses the caller wants to see as answers."""
    retried: bool = True
    unauthorized: bool = False
    """Send no credentials and let a 401 be the answer."""
    waiting: Waiting | None = None


class Transport:
    """Connections to every registry; one per daemon. Close it."""

    def __init__(
        self, hosts: Hosts, patience: Patience, environ: Mapping[str, str] | None = None
    ) -> None:
        self.hosts = hosts
        self.patience = patience
        self.authorizer = Authorizer(self._exchange)
        self._environ = os.environ if environ is None else environ
        self._session: aiohttp.ClientSession | None = None
        self._schemes: dict[str, str] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def open(
        self, identity: Identity, request: Request
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, headers read and body not. Raises what `failures` names.

        Statuses from 400 raise, unless `request.accepted` has them.
        """
        response = await self._answer(identity, request)
        try:
            yield response
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def _answer(self, identity: Identity, request: Request) -> aiohttp.ClientResponse:
        # Behind a mirror stands another endpoint that can be asked at once.
        attempts = self.patience.attempts if request.retried and not identity.endpoint.mirror else 1
        for attempt in range(attempts):
            last = attempt + 1 == attempts
            try:
                response = await self._authorized(identity, request)
            except RegistryUnreachable as error:
                if last or is_final(error.__cause__):
                    raise
                await pause(self.patience.delay_s(attempt), request.waiting)
                continue
            if response.status < 400 or response.status in request.accepted:
                return response
            wait_s = self._wait_s(response, attempt)
            failure = await _failure(identity, response)
            if last or wait_s is None:
                raise failure
            await pause(wait_s, request.waiting)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait_s(self, response: aiohttp.ClientResponse, attempt: int) -> float | None:
        """How long to wait before another attempt; None: there is no point in one."""
        if response.status not in _RETRIED:
            return None
        header = response.headers.get("Retry-After", "")
        asked = parse_retry_after(header, time.time()) if header else None
        if asked is not None:
            return asked if asked <= self.patience.longest_wait_s else None
        if response.status == 429 and attempt >= 1:
            return None  # a limit per hour: the registry's words help more than another try
        return self.patience.delay_s(attempt)

    async def _authorized(self, identity: Identity, request: Request) -> aiohttp.ClientResponse:
        """Send, and once more with what the challenge asks for."""
        if request.unauthorized:
            return await self._schemed(identity, request, "")
        for _ in range(2):
            sent = await self.authorizer.header(identity, request.scopes)
            response = await self._schemed(identity, request, sent)
            if response.status != 401:
                return response
            challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
            if not await self.authorizer.learn(identity, challenges, request.scopes, sent):
                return response
            response.close()
        return response

    async def _schemed(
        self, identity: Identity, request: Request, authorization: str
    ) -> aiohttp.ClientResponse:
        """Try https, then http where that is allowed; remember which one answered."""
        endpoint = identity.endpoint
        if "://" in request.path:  # a Location says itself which
            return await self._followed(identity, request, _url("", request, ""), authorization)
        known = self._schemes.get(endpoint.host, "")
        schemes = (known,) if known in endpoint.schemes else endpoint.schemes
        for position, scheme in enumerate(schemes, start=1):
            url = _url(f"{scheme}://{endpoint.host}{endpoint.prefix}", request, endpoint.namespace)
            try:
                response = await self._followed(identity, request, url, authorization)
            except RegistryUnreachable as error:
                self._schemes.pop(endpoint.host, None)
                other_port = urlsplit(url).port is None
                if position == len(schemes) or not speaks_no_tls(
                    error.__cause__, other_port=other_port
                ):
                    raise
                continue
            if len(endpoint.schemes) > 1:
                self._schemes[endpoint.host] = scheme
            return response
        raise AssertionError("unreachable: an endpoint has a scheme")

    async def _followed(
        self, identity: Identity, request: Request, url: str, authorization: str
    ) -> aiohttp.ClientResponse:
        endpoint = identity.endpoint
        for _ in range(_MAX_REDIRECTS):
            at_home = (
                _authority(url)[1:] == _authority(f"{urlsplit(url).scheme}://{endpoint.host}")[1:]
            )
            headers = dict(request.headers)
            if at_home:
                headers = {**endpoint.headers, **headers}
            if at_home and authorization:
                headers["Authorization"] = authorization
            trust = endpoint.trust if at_home else self._trust_of(url)
            response = await self._send(
                request.method, url, headers, request.body, trust, endpoint.connect_s
            )
            if response.status == 401 and not at_home:
                response.close()
                raise BadAnswer(
                    endpoint.host,
                    f"sends us to {response.url.host}, which asks for credentials; refused",
                )
            if response.status not in _REDIRECTS:
                return response
            response.close()
            url = _redirected(endpoint, request, url, response.headers.get("Location", ""))
        raise UnsafeRedirect(endpoint.host, "itself without end")

    def _trust_of(self, url: str) -> Trust:
        return self.hosts.origin(urlsplit(url).netloc.rpartition("@")[2]).trust

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        trust: Trust,
        connect_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        try:
            return await self._connected().request(
                method,
                URL(url, encoded=True),
                headers={"Accept-Encoding": "identity", **headers},
                data=body() if callable(body) else body,
                ssl=tls.context(trust) if url.startswith("https:") else False,
                proxy=tls.proxy_for(url, self._environ),
                allow_redirects=False,
                timeout=self._timeout(connect_s),
            )
        except (aiohttp.ClientError, ssl.SSLError, TimeoutError, OSError, ValueError) as error:
            where = url.partition("?")[0]
            base = "/v2/"
            if isinstance(error, aiohttp.ClientConnectorError) and URL(url).path.startswith(base):
                where = f"{URL(url).origin()}{base}"  # nothing there can be reached
            raise RegistryUnreachable(where, words(error)) from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"User-Agent": USER_AGENT},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
            )
        return self._session

    def _timeout(self, connect_s: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None,
            sock_connect=connect_s or self.patience.connect_s,
            sock_read=self.patience.read_s,
        )

    async def _exchange(self, request: TokenRequest) -> TokenAnswer:
        """Ask a token server. Its redirects are not followed: they could carry the secret away."""
        url = URL(request.url)
        headers = {"Authorization": request.authorization} if request.authorization else {}
        body: bytes | None = None
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(request.form).encode()
        trust = self._trust_of(request.url)
        if request.endpoint is not None and request.endpoint.host == url.raw_authority:
            trust = request.endpoint.trust
        for attempt in range(self.patience.attempts):
            response = await self._send(
                "POST" if body is not None else "GET", str(url), headers, body, trust
            )
            try:
                wait_s = self._wait_s(response, attempt)
                if wait_s is None or attempt + 1 == self.patience.attempts:
                    data = await read_bounded(response, _TOKEN_BODY_LIMIT)
                    return TokenAnswer(response.status, data)
            finally:
                response.close()
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable: the last attempt returns")


async def pause(delay_s: float, waiting: Waiting | None) -> None:
    """Sleep, and tell every second how long it will still be."""
    while delay_s > 0:
        if waiting is not None:
            waiting(math.ceil(delay_s))
        step_s = delay_s % 1.0 or 1.0
        await asyncio.sleep(step_s)
        delay_s -= step_s


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; raises BadAnswer as soon as it exceeds `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise BadAnswer(response.url.host or "", f"answer is larger than {limit} bytes")
            parts.append(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise RegistryUnreachable(str(response.url.with_query(None)), words(error)) from error
    return b"".join(parts)


async def _failure(identity: Identity, response: aiohttp.ClientResponse) -> Exception:
    """The exception an error answer means. Closes the response."""
    try:
        body = await read_bounded(response, _ERROR_BODY_LIMIT)
    except (BadAnswer, RegistryUnreachable):
        body = b""
    finally:
        response.close()
    entries = parse_errors(body)
    said = "\n".join(entry.text() for entry in entries)
    url = str(response.url.with_query(None))
    if response.status == 401:
        offered = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        if identity.credentials.anonymous and any(one.scheme == "basic" for one in offered):
            said = "no basic auth credentials"
        return RegistryUnauthorized(identity.endpoint.host, said)
    if response.status == 429:
        return TooManyRequests(said)
    if response.status >= 500:
        return ServerTrouble(url, response.status, entries)
    return RegistryError(url, response.status, entries)


def _url(base: str, request: Request, namespace: str) -> str:
    if "://" in request.path:
        url = request.path
    elif request.path.startswith("//"):
        raise ValueError(request.path)
    else:
        url = base + request.path
    query: Sequence[tuple[str, str]] = request.query
    if namespace:
        query = (*query, ("ns", namespace))
    if query:
        url += ("&" if "?" in url else "?") + urlencode(query)
    return url


def _authority(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", parts.port or default


def _redirected(endpoint: Endpoint, request: Request, url: str, location: str) -> str:
    """Where a redirect of `url` leads, or UnsafeRedirect."""
    if request.method not in ("GET", "HEAD") or not location:
        raise UnsafeRedirect(endpoint.host, location or "nowhere")
    target = join_url(url, location)
    check_target(endpoint, url, target)
    return target


def check_target(endpoint: Endpoint, url: str, target: str) -> None:
    """Raise UnsafeRedirect unless an answer from `url` may send us to `target`."""
    parts = parse_http_url(target)
    if parts is None:
        raise UnsafeRedirect(endpoint.host, target.partition("?")[0])
    if url.startswith("https:") and parts.scheme == "http" and not endpoint.insecure:
        raise UnsafeRedirect(endpoint.host, target.partition("?")[0])
