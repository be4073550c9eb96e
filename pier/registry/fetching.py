"""Getting one blob's bytes over connections that break.

RFC 9110 section 14. Goes on by Range where it stopped; a server that answers with the whole blob
instead is read past what is held. As long as bytes arrive the attempts start over.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

import aiohttp

from pier.oci.digest import Descriptor
from pier.registry.auth import Identity
from pier.registry.failures import (
    BadAnswer,
    RegistryUnreachable,
    ServerTrouble,
    WrongContent,
)
from pier.registry.protocol import parse_content_range
from pier.registry.transport import Request, Transport, pause

CHUNK = 1024 * 1024
"""Bytes handed to a sink at once, save the last: large enough to be worth a thread's attention."""


class Sink(Protocol):
    """Where a blob goes. What it holds already is not fetched again."""

    @property
    def offset(self) -> int:
        """Bytes it holds."""

    async def write(self, chunk: bytes, /) -> None:
        """Take the next bytes; whoever writes waits, so a slow sink slows the network."""


@dataclass(slots=True)
class Memory:
    """A sink for small blobs."""

    data: bytearray = field(default_factory=bytearray)

    @property
    def offset(self) -> int:
        return len(self.data)

    async def write(self, chunk: bytes, /) -> None:
        self.data += chunk


async def fetch(
    transport: Transport, identity: Identity, request: Request, blob: Descriptor, sink: Sink
) -> None:
    """Fill `sink` up to the blob's size, or raise what the last attempt met.

    A mirror that fails is not waited for: the next endpoint goes on where it stopped.
    """
    failures = 0
    attempts = 1 if identity.endpoint.mirror else transport.patience.attempts
    while sink.offset < blob.size:
        before = sink.offset
        try:
            await _once(transport, identity, request, blob, sink)
        except (RegistryUnreachable, ServerTrouble):
            failures = 1 if sink.offset > before else failures + 1
            if failures >= attempts:
                raise
            await pause(transport.patience.delay_s(failures - 1), request.waiting)


async def _once(
    transport: Transport, identity: Identity, request: Request, blob: Descriptor, sink: Sink
) -> None:
    """One request. Returns with the sink full, raises RegistryUnreachable when it broke off."""
    host = identity.endpoint.host
    if sink.offset:
        request = replace(request, headers={**request.headers, "Range": f"bytes={sink.offset}-"})
    async with transport.open(identity, request) as response:
        skip = _bytes_to_skip(response, host, blob, sink.offset)
        _check_length(response, host, blob, sink.offset - skip)
        try:
            await _copy(response, host, blob, sink, skip)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise RegistryUnreachable(
                str(response.url.with_query(None)), f"after {sink.offset} bytes: {error}"
            ) from error
    if sink.offset < blob.size:
        raise RegistryUnreachable(
            str(response.url.with_query(None)),
            f"unexpected EOF after {sink.offset} of {blob.size} bytes",
        )


def _bytes_to_skip(
    response: aiohttp.ClientResponse, host: str, blob: Descriptor, offset: int
) -> int:
    """How much of the answer is held already: all of `offset` when the Range was ignored."""
    if response.status != 206:
        return offset
    span = parse_content_range(response.headers.get("Content-Range", ""))
    if span is None or span.first != offset or span.total not in (None, blob.size):
        raise BadAnswer(host, f"answers a range from {offset} with {span}")
    return 0


def _check_length(
    response: aiohttp.ClientResponse, host: str, blob: Descriptor, start: int
) -> None:
    length = response.content_length
    if length is not None and length != blob.size - start:
        raise WrongContent(
            host, f"blob {blob.digest}: {start + length} bytes announced, {blob.size} expected"
        )


async def _copy(
    response: aiohttp.ClientResponse, host: str, blob: Descriptor, sink: Sink, skip: int
) -> None:
    pending = bytearray()
    try:
        async for chunk in response.content.iter_any():
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            pending += chunk[skip:] if skip else chunk
            skip = 0
            if sink.offset + len(pending) > blob.size:
                raise WrongContent(host, f"blob {blob.digest} has more than {blob.size} bytes")
            if len(pending) >= CHUNK:
                full, pending = pending, bytearray()
                await sink.write(bytes(full))
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        if pending:
            await sink.write(bytes(pending))
        raise
    if pending:
        await sink.write(bytes(pending))
