"""A registry that lies: refused with a reason, nothing secret given away, memory bounded."""

import asyncio
import json
import os
import resource
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from pier.oci.digest import Descriptor, digest_of
from pier.registry.client import RegistryClient
from pier.registry.credentials import Credentials
from pier.registry.failures import (
    BadAnswer,
    RegistryUnreachable,
    UnsafeRedirect,
    WrongContent,
)
from pier.registry.fetching import Memory
from pier.registry.uploads import Uploads
from tests.clients.registries import QUICK, Site, client

ANN = Credentials("ann", "secret")
DATA = os.urandom(3_000_000)
BLOB = Descriptor("", digest_of(DATA), len(DATA))


def ask(work: Callable[[RegistryClient], Awaitable[object]]) -> None:
    async def scenario() -> None:
        registries = client()
        try:
            async with asyncio.timeout(20):
                await work(registries)
        finally:
            await registries.close()

    asyncio.run(scenario())


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_manifest_without_end_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    before = peak_bytes()
    with Site(endless) as site, pytest.raises(BadAnswer, match="larger than 4194304 bytes"):
        ask(lambda c: c.repository(site.host, "a").manifest("latest"))
    assert peak_bytes() - before < 40_000_000


def test_a_token_and_a_tag_list_without_end_are_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/v2/a/manifests"):
            challenge = f'Bearer realm="http://{request.host}/token"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if request.path.startswith("/v2/a/tags"):
            body = json.dumps({"tags": [f"t{i}" for i in range(1000)]})
            return web.Response(text=body, headers={"Link": '</v2/a/tags/list?x=1>; rel="next"'})
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    with Site(endless) as site:
        with pytest.raises(BadAnswer, match="larger than 1048576 bytes"):
            ask(lambda c: c.repository(site.host, "a", ANN).manifest("latest"))
        ask(lambda c: c.repository(site.host, "a").tags())
        pages = [path for _, path, _ in site.seen if "tags" in path]
        assert len(pages) <= 201


@pytest.mark.parametrize("announced", [True, False])
def test_a_blob_with_more_bytes_than_promised_is_cut_off(*, announced: bool) -> None:
    async def too_much(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if announced:
            response.content_length = 2 * len(DATA)
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(DATA)
        while True:
            await response.write(DATA)
            await asyncio.sleep(0)  # a write beyond the announced length does not wait

    words = "bytes announced" if announced else f"has more than {len(DATA)} bytes"
    memory = Memory()
    with Site(too_much) as site, pytest.raises(WrongContent, match=words):
        ask(lambda c: c.repository(site.host, "a").fetch(BLOB, memory))
    assert memory.offset <= len(DATA)


def test_a_blob_that_breaks_off_is_fetched_on_from_there_a_bounded_number_of_times() -> None:
    async def short(request: web.Request) -> web.StreamResponse:
        header = request.headers.get("Range", "")
        start = int(header[6:-1]) if header else 0
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(DATA) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        await response.prepare(request)
        if start < 2_000_000:
            await response.write(DATA[start : start + 700_000])
        assert request.transport is not None
        request.transport.close()
        return response

    memory = Memory()
    with Site(short) as site:
        with pytest.raises(RegistryUnreachable, match="after 2100000"):
            ask(lambda c: c.repository(site.host, "a").fetch(BLOB, memory))
        assert bytes(memory.data) == DATA[:2_100_000]
        assert len([1 for method, path, _ in site.seen if "blobs" in path]) == 2 + QUICK.attempts


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (206, {"Content-Range": "bytes 0-2999999/3000000"}, "answers a range from 1000 with"),
        (206, {"Content-Range": "bytes 1000-2999999/4000000"}, "answers a range from 1000 with"),
        (206, {}, "answers a range from 1000 with None"),
        (416, {}, "unexpected status"),
    ],
)
def test_a_range_other_than_asked_for_is_refused(
    status: int, headers: dict[str, str], words: str
) -> None:
    async def other(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, body=DATA[1000:])

    memory = Memory(bytearray(DATA[:1000]))
    with Site(other) as site, pytest.raises(Exception, match=words):
        ask(lambda c: c.repository(site.host, "a").fetch(BLOB, memory))


def test_a_server_that_ignores_range_is_read_past_what_is_held() -> None:
    async def whole(_: web.Request) -> web.StreamResponse:
        return web.Response(body=DATA)

    memory = Memory(bytearray(DATA[:1_000_001]))
    with Site(whole) as site:
        ask(lambda c: c.repository(site.host, "a").fetch(BLOB, memory))
    assert bytes(memory.data) == DATA


def test_a_manifest_with_another_digest_is_refused() -> None:
    async def lie(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"{}", headers={"Docker-Content-Digest": digest_of(b"x")})

    with Site(lie) as site:
        for reference in ("latest", digest_of(b"y")):
            with pytest.raises(WrongContent, match="manifest verification failed for digest"):
                ask(lambda c, r=reference: c.repository(site.host, "a").manifest(r))  # type: ignore[misc]


def test_a_small_blob_is_verified() -> None:
    async def lie(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"other")

    with Site(lie) as site:
        blob = Descriptor("", digest_of(b"right"), 5)
        with pytest.raises(WrongContent, match="has digest"):
            ask(lambda c: c.repository(site.host, "a").small_blob(blob))
        huge = Descriptor("", digest_of(b"right"), 50_000_000)
        with pytest.raises(BadAnswer, match="are allowed"):
            ask(lambda c: c.repository(site.host, "a").small_blob(huge))


def test_credentials_do_not_follow_a_redirect() -> None:
    async def thief(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/open"):
            return web.Response(body=DATA)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="trust me"'})

    with Site(thief) as other:

        async def registry(request: web.Request) -> web.StreamResponse:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            where = "open" if "/open/" in request.path else "closed"
            return web.Response(
                status=307, headers={"Location": f"http://{other.host}/{where}?signed=a%2Fb"}
            )

        with Site(registry) as site:
            memory = Memory()
            ask(lambda c: c.repository(site.host, "open", ANN).fetch(BLOB, memory))
            assert memory.data == DATA
            with pytest.raises(BadAnswer, match="which asks for credentials; refused"):
                ask(lambda c: c.repository(site.host, "closed", ANN).fetch(BLOB, Memory()))
        assert len(other.seen) == 2
        assert other.seen[0][1] == "/open?signed=a%2Fb"
        assert not any("Authorization" in headers for _, _, headers in other.seen)


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://x/",
        "http://ann:secret@127.0.0.1:1/",
        "gopher:",
        "http://[x/",
        "http://h:99999/",
        "http://h:x/",
        "//[",
        "http:///x",
    ],
)
def test_strange_redirects_are_refused(target: str) -> None:
    async def strange(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target})

    with Site(strange) as site, pytest.raises(UnsafeRedirect):
        ask(lambda c: c.repository(site.host, "a").manifest("latest"))


def test_a_redirect_to_itself_ends() -> None:
    async def loop(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": str(request.rel_url)})

    with Site(loop) as site, pytest.raises(UnsafeRedirect, match="without end"):
        ask(lambda c: c.repository(site.host, "a").manifest("latest"))


def test_an_upload_is_not_sent_where_credentials_would_leak() -> None:
    async def elsewhere(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})

    with Site(elsewhere) as other:

        async def registry(request: web.Request) -> web.StreamResponse:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            return web.Response(status=202, headers={"Location": f"http://{other.host}/upload"})

        async def source(offset: int, size: int):  # type: ignore[no-untyped-def]  # a generator
            yield DATA[offset : offset + size]

        with Site(registry) as site, pytest.raises(BadAnswer, match="asks for credentials"):
            ask(lambda c: Uploads(c.repository(site.host, "a", ANN)).upload(BLOB, source))
        assert other.seen
        assert not any("Authorization" in headers for _, _, headers in other.seen)


def test_nonsense_is_an_error_not_a_crash() -> None:
    async def nonsense(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/tags/list"):
            return web.Response(body=b'{"tags": 3}')
        if request.path.startswith("/v2/a/blobs"):
            return web.Response(status=418, body=b"\xff\xfe")
        return web.Response(status=401, headers={"WWW-Authenticate": "Bearer realm=,,,="})

    with Site(nonsense) as site:
        with pytest.raises(BadAnswer, match="list of tags cannot be read"):
            ask(lambda c: c.repository(site.host, "a").tags())
        with pytest.raises(Exception, match=r"unexpected status from .*: 418"):
            ask(lambda c: c.repository(site.host, "a").fetch(BLOB, Memory()))
        with pytest.raises(BadAnswer, match="is no http"):
            ask(lambda c: c.repository(site.host, "a").manifest("latest"))
