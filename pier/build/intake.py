"""How a build gets its main context: from what the client sends, or from where a URL says."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from pier.build import fetch, git
from pier.build.context import (
    Context,
    open_context,
    remote_dockerfile,
    unpack_where_it_fits,
)
from pier.build.request import BuildRequest
from pier.build.sources import below
from pier.build.steps import is_git_url
from pier.errors import InvalidArgument
from pier.images.feed import work_on
from pier.threads import Bulkhead, blocking

PARCEL_MAIN = "context"
"""Where the main context is in a parcel of several."""
_THREADS = Bulkhead("build contexts", most=256)


@dataclass(frozen=True, slots=True)
class Intake:
    """`directory` and `quick` belong to the build: the one on disk, the other in memory."""

    request: BuildRequest
    directory: Path
    quick: Path

    async def receive(self, stream: AsyncIterator[bytes]) -> tuple[Context, Path]:
        """The main context, and the directory that `input:` contexts are below."""
        remote, parcel = self.request.remote, None
        if not (remote or self.request.parcel):
            return await self._plain(stream)
        if self.request.parcel:
            parcel = await self._unpacked(stream)
        if remote:
            place = await self._fetched(remote)
        else:
            assert parcel is not None
            place = below(parcel, PARCEL_MAIN)
        context = await blocking(open_context, place, self.request.dockerfile)
        return context, parcel or place

    async def _plain(self, stream: AsyncIterator[bytes]) -> tuple[Context, Path]:
        """The usual case, in one go."""
        quick, roomy = self._places()

        def work(chunks: Iterator[bytes]) -> tuple[Context, Path]:
            place = unpack_where_it_fits(chunks, quick, roomy)
            return open_context(place, self.request.dockerfile), place

        return await work_on(stream, work, _THREADS)

    def _places(self) -> tuple[Path, Path]:
        return self.quick / "context", self.directory / "context"

    async def _unpacked(self, stream: AsyncIterator[bytes]) -> Path:
        quick, place = self._places()
        return await work_on(stream, lambda it: unpack_where_it_fits(it, quick, place), _THREADS)

    async def _fetched(self, remote: str) -> Path:
        place = self.directory / "fetched"
        place.mkdir(mode=0o755)
        if is_git_url(remote) or remote.startswith("github.com/"):
            source = git.parse_git_url(remote)
            keep = self.request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in ("1", "true")
            access = self.request.git_access
            await git.check_out(source, place, keep_git_dir=keep, access=access)
            return await blocking(below, place, source.subdirectory)
        if remote.startswith(("http://", "https://")):
            file = self.directory / "remote"
            await fetch.download(remote, file)
            await blocking(remote_dockerfile, file, place)
            return place
        raise InvalidArgument(f"unsupported remote context: {remote}")
