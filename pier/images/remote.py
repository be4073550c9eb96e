"""Files by URL: what `docker import URL` fetches, and ADD and contexts by way of `build`."""

import contextlib
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from pier.errors import Failed, InvalidArgument, NotFound
from pier.images.store import Images
from pier.images.transfer import Report, Step, reported
from pier.registry.breakage import words
from pier.threads import blocking

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30, sock_read=120)
_CHUNK = 256 * 1024
_LONGEST_ANSWER = 1024
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}")


class InvalidSource(InvalidArgument):
    """The sentences are Go's, as clients know them."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f'parse "{url}": {why}')


class SourceFailed(Failed):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(f'Get "{url}": {why}')


class SourceRefused(Failed):
    def __init__(self, url: str, answer: str) -> None:
        super().__init__(f"failed to GET {url} with status {answer}")


class SourceMissing(NotFound):
    def __init__(self, url: str, answer: str) -> None:
        super().__init__(f"failed to GET {url} with status {answer}")


@contextlib.asynccontextmanager
async def answer_to(url: str) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    """What a server answers, whatever its status. Raises aiohttp.ClientError, TimeoutError."""
    certificates = await blocking(ssl.create_default_context)
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True) as session,
        session.get(URL(url, encoded=True), ssl=certificates) as response,
    ):
        yield response


def source_url(source: str) -> str:
    """`source` as a URL; http where it names no scheme. Raises InvalidSource, SourceFailed."""
    url = source if "://" in source else f"http://{source}"
    host = url.partition("://")[2].partition("/")[0]
    if "%" in host:
        raise InvalidSource(url, f'invalid URL escape "{host[host.index("%") :][:3]}"')
    if bad := _BAD_ESCAPE.search(url):
        raise InvalidSource(url, f'invalid URL escape "{bad[0]}"')
    if not host.isprintable() or " " in host:
        raise InvalidSource(url, "invalid character in host name")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise InvalidSource(url, str(error)) from error
    if parts.scheme not in ("http", "https"):
        raise SourceFailed(url, f'unsupported protocol scheme "{parts.scheme}"')
    if not named:
        raise SourceFailed(url.removesuffix("//"), "http: no Host in request URL")
    return url


def import_url(
    images: Images,
    source: str,
    *,
    reference: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
) -> AsyncIterator[Step]:
    """Make an image of the archive at `source`, with progress. Raises before the first step."""
    url = source_url(source)

    async def work(report: Report) -> None:
        async with _opened(url) as response:
            report(Step(status=f"Downloading from {url}"))
            image = await images.import_(
                _chunks(url, response, report),
                reference=reference,
                message=message or f"Imported from {source}",
                changes=changes,
                platform=platform,
            )
        report(Step(status=image.id))

    return reported(work)


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    """Raises SourceFailed, SourceRefused, SourceMissing."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            response = await stack.enter_async_context(answer_to(url))
            if response.status >= 400:
                said = (await response.content.read(_LONGEST_ANSWER)).decode(errors="replace")
                answer = f"{response.status} {response.reason}: {said}"
                kind = SourceMissing if response.status == 404 else SourceRefused
                raise kind(url, answer.strip())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceFailed(url, words(error)) from error
        yield response


async def _chunks(
    url: str, response: aiohttp.ClientResponse, report: Report
) -> AsyncIterator[bytes]:
    total, done = response.content_length or 0, 0
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            done += len(chunk)
            report(Step(status="Importing", current=done, total=total))
            yield chunk
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SourceFailed(url, words(error)) from error
