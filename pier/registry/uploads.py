"""Writing to a repository: mount, chunked upload that survives broken connections, manifests.

OCI distribution specification, "Push". Always to the origin, never to a mirror.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from pier.oci.digest import Descriptor, Digest, digest_of
from pier.registry import protocol
from pier.registry.auth import Identity
from pier.registry.failures import (
    BadAnswer,
    PushDenied,
    RegistryError,
    RegistryUnreachable,
    ServerTrouble,
)
from pier.registry.repository import Repository, absolute, with_query
from pier.registry.transport import Request, Transport, Waiting, check_target, pause

CHUNK = 256 * 1024 * 1024
"""Bytes per PATCH: one for nearly every layer, yet below the limits proxies are known to set
only for what is streamed without end."""

Source = Callable[[int, int], AsyncIterator[bytes]]
"""The bytes of a blob from an offset on, so many. Called again after a broken connection."""


class UploadLost(RegistryUnreachable):
    """The registry no longer knows the upload: start over."""


@dataclass(slots=True)
class _Session:
    location: str
    offset: int = 0
    chunk: int = CHUNK


class Uploads:
    """Pushing to one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._transport: Transport = repository.transport
        self._path = repository.path
        self._scopes = (protocol.push_scope(repository.path),)

    async def reach(self) -> None:
        """Ask for nothing but an answer, of any kind. Raises RegistryUnreachable."""
        answers = frozenset({401, 403, 404, 405})
        async with self._open(Request("GET", "/", self._scopes, accepted=answers)):
            pass

    async def has_blob(self, digest: Digest, waiting: Waiting | None = None) -> bool:
        request = Request(
            "HEAD",
            f"/{self._path}/blobs/{digest}",
            self._scopes,
            accepted=frozenset({404}),
            waiting=waiting,
        )
        async with self._open(request) as response:
            return response.status == 200

    async def mount(self, digest: Digest, source: str) -> bool:
        """Have the registry link a blob of its repository `source`; False when it will not."""
        request = Request(
            "POST",
            f"/{self._path}/blobs/uploads/",
            (*self._scopes, protocol.pull_scope(source)),
            (("mount", digest), ("from", source)),
            {"Content-Length": "0"},
            accepted=frozenset({400, 401, 403, 404, 405}),
        )
        async with self._open(request) as response:
            if response.status == 202:
                await self._cancel(self._location(response))
            return response.status == 201

    async def upload(
        self, blob: Descriptor, source: Source, waiting: Waiting | None = None
    ) -> None:
        """Store a blob. Goes on where a broken connection left off; verified by the registry."""
        failures = 0
        session: _Session | None = None
        while True:
            before = session.offset if session else 0
            try:
                session = session or await self._begin(waiting)
                await self._send(session, blob, source)
                return
            except UploadLost:
                if await self.has_blob(blob.digest):
                    return  # it was stored, and the answer got lost
                session = None
                failures += 1
            except (RegistryUnreachable, ServerTrouble):
                if session and session.offset > before:
                    failures = 0
                failures += 1
                if failures >= self._transport.patience.attempts:
                    raise
                session = await self._recovered(session)
                if session is None and await self.has_blob(blob.digest):
                    return
            if failures >= self._transport.patience.attempts:
                raise RegistryUnreachable(self._path, "the upload is lost again and again")
            await pause(self._transport.patience.delay_s(failures), waiting)

    async def put_manifest(self, reference: str, media_type: str, data: bytes) -> Digest:
        """Store a manifest under a tag or digest. Its blobs must be there."""
        request = Request(
            "PUT",
            f"/{self._path}/manifests/{quote(reference, safe=':')}",
            self._scopes,
            headers={"Content-Type": media_type},
            body=data,
            waiting=self._repository.waiting,
        )
        digest = digest_of(data)
        async with self._open(request) as response:
            said = response.headers.get("Docker-Content-Digest", digest)
        if said.startswith("sha256:") and said != digest:
            raise BadAnswer(self._identity.endpoint.host, f"stored {said} instead of {digest}")
        return digest

    @property
    def _identity(self) -> Identity:
        return self._repository.origin()

    def _open(self, request: Request) -> "_Opened":
        return _Opened(self._transport, self._identity, request)

    async def _begin(self, waiting: Waiting | None) -> _Session:
        request = Request(
            "POST",
            f"/{self._path}/blobs/uploads/",
            self._scopes,
            headers={"Content-Length": "0"},
            waiting=waiting,
        )
        async with self._open(request) as response:
            least = response.headers.get("OCI-Chunk-Min-Length", "")
            chunk = max(CHUNK, int(least)) if least.isascii() and least.isdigit() else CHUNK
            return _Session(self._location(response), chunk=chunk)

    async def _send(self, session: _Session, blob: Descriptor, source: Source) -> None:
        while session.offset < blob.size:
            size = min(session.chunk, blob.size - session.offset)
            await self._patch(session, source, size)
        request = Request(
            "PUT",
            with_query(session.location, digest=blob.digest),
            self._scopes,
            headers={"Content-Length": "0"},
            retried=False,
        )
        async with self._open(request):
            pass

    async def _patch(self, session: _Session, source: Source, size: int) -> None:
        start = session.offset
        request = Request(
            "PATCH",
            session.location,
            self._scopes,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(size),
                "Content-Range": f"{start}-{start + size - 1}",
            },
            body=lambda: source(start, size),
            accepted=frozenset({404, 416}),
            retried=False,
        )
        async with self._open(request) as response:
            if response.status == 404:
                raise UploadLost(self._path, "upload unknown to registry")
            if response.status == 416:
                raise RegistryUnreachable(self._path, "the registry holds other bytes")
            session.location = self._location(response)
            session.offset = start + size

    async def _recovered(self, session: _Session | None) -> _Session | None:
        """Ask how much has arrived; None when the upload has to start over."""
        if session is None:
            return None
        request = Request("GET", session.location, self._scopes, retried=False)
        try:
            async with self._open(request) as response:
                held = protocol.parse_upload_offset(response.headers.get("Range", ""))
                location = session.location
                if "Location" in response.headers:
                    location = self._location(response)
                return _Session(location, held, session.chunk)
        except RegistryError as error:
            return session if isinstance(error, ServerTrouble) else None
        except RegistryUnreachable:
            return session

    async def _cancel(self, location: str) -> None:
        """Give an upload up. A registry that will not hear of it forgets it by itself."""
        request = Request(
            "DELETE", location, self._scopes, accepted=frozenset({400, 404, 405}), retried=False
        )
        async with self._open(request):
            pass

    def _location(self, response: aiohttp.ClientResponse) -> str:
        header = response.headers.get("Location", "")
        endpoint = self._identity.endpoint
        if not header:
            raise BadAnswer(endpoint.host, "accepts an upload without saying where")
        target = absolute(response, header)
        check_target(endpoint, str(response.url), target)
        return target


class _Opened:
    """`Transport.open`, with refusals in the words of a push."""

    def __init__(self, transport: Transport, identity: Identity, request: Request) -> None:
        self._manager = transport.open(identity, request)

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._manager.__aenter__()
        except RegistryError as error:
            if error.status == 403 or "DENIED" in error.codes:
                raise PushDenied(str(error) if error.codes else "") from error
            raise

    async def __aexit__(self, *error: object) -> None:
        await self._manager.__aexit__(None, None, None)
