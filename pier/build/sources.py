"""What `--from=` and `from=` mean in one build: trees to copy from, layers to mount.

Each source is opened once and stays open until the build ends. A stage is awaited, an image is
found or pulled, a named context is fetched.
"""

import asyncio
import contextlib
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from pier.build import fetch, git
from pier.build.context import Context, open_tree, unpack_context
from pier.build.ignore import IgnoreRules
from pier.build.layers import Layers
from pier.build.layouts import load_layout
from pier.build.plan import Source
from pier.build.steps import is_git_url, is_http_url
from pier.build.trees import Tree, inside
from pier.errors import InvalidArgument
from pier.images.model import Image
from pier.images.store import Images
from pier.images.transfer import Report
from pier.linux.mount import Overlay, open_overlay
from pier.linux.paths import resolve_in_root
from pier.oci.image import ImageConfig
from pier.oci.platform import Platform
from pier.registry.credentials import Auth
from pier.threads import blocking

IMAGE_SCHEME = "docker-image://"
INPUT_SCHEME = "input:"
LAYOUT_SCHEME = "oci-layout:"
TARGET_SCHEME = "target:"
_PLACE = re.compile(r"[^:@]*")


class ImageFinder(Protocol):
    """Where images come from, whoever has them."""

    def get_image(
        self,
        reference: str,
        platform: Platform,
        *,
        pull: bool,
        auths: Mapping[str, Auth],
        report: Report,
    ) -> Awaitable[Image]:
        """The local one, or pulled when missing or asked for; the pull is told to `report`."""
        ...

    def get_config(
        self, reference: str, platform: Platform, *, auths: Mapping[str, Auth]
    ) -> Awaitable[ImageConfig]:
        """The config alone, of the local image or from the registry."""
        ...


class FindImage(Protocol):
    """The same within one build, which knows the credentials."""

    def __call__(self, reference: str, platform: Platform) -> Awaitable[Image]: ...


class BadContext(InvalidArgument):
    def __init__(self, name: str, value: str) -> None:
        super().__init__(
            f"unsupported context source for {name}: {value}: use docker-image://, target:STAGE, a "
            "git or http URL, or a directory or OCI layout that the client sends"
        )


class Sources:
    """Of one build. `chain_of` gives the top layer of a stage, when it is built.

    parcel: what the client sent, unpacked; `input:` contexts are below it.
    """

    def __init__(
        self,
        *,
        context: Context,
        contexts: Mapping[str, str],
        parcel: Path,
        directory: Path,
        layers: Layers,
        chain_of: Callable[[int], Awaitable[str]],
        get_image: FindImage,
        images: Images,
        platform: Platform,
        git_access: git.GitAccess,
    ) -> None:
        self.git_access = git_access
        self._images = images
        self._layouts: dict[str, Image] = {}
        self._loading = asyncio.Lock()
        self._context = context
        self._contexts = contexts
        self._parcel = parcel
        self._directory = directory
        self._layers = layers
        self._chain_of = chain_of
        self._get_image = get_image
        self._platform = platform
        self._trees: dict[Source, Tree] = {}
        self._locks: defaultdict[Source, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._open = contextlib.ExitStack()

    def close(self) -> None:
        self._open.close()

    def image_of_context(self, name: str) -> str:
        """The image that a named context stands for; "" for files, and a layout not yet loaded."""
        value = self._contexts[name]
        if name in self._layouts:
            return self._layouts[name].id
        return value.removeprefix(IMAGE_SCHEME) if value.startswith(IMAGE_SCHEME) else ""

    async def load_image_of_context(self, name: str) -> str:
        """The same, with a layout loaded."""
        value = self._contexts[name]
        if value.startswith(LAYOUT_SCHEME):
            async with self._loading:
                if name not in self._layouts:
                    self._layouts[name] = await self._load(value.removeprefix(LAYOUT_SCHEME))
        return self.image_of_context(name)

    async def _load(self, text: str) -> Image:
        """`PLACE[:tag][@digest]`, the place being one in the parcel."""
        place = _PLACE.match(text)
        assert place is not None
        selector = text[place.end() :]
        layout = below(self._parcel, inside(place[0]))
        return await load_layout(self._images, layout, selector, self._platform, self._directory)

    async def tree(self, source: Source) -> Tree:
        """The files of a source; owned by this object."""
        if source.is_main_context:
            return self._context.tree
        async with self._locks[source]:
            tree = self._trees.get(source)
            if tree is None:
                tree = self._trees[source] = await self._opened(source)
                self._open.callback(os.close, tree.root_fd)
            return tree

    async def directories(self, source: Source) -> list[Path]:
        """Its layers, topmost first; one directory for a context, none for nothing."""
        if source.is_main_context:
            return [self._context.directory]
        chain_id = await self._chain(source)
        if chain_id is not None:
            return self._layers.lower(chain_id)
        return [path_of((await self.tree(source)).root_fd)]

    async def _chain(self, source: Source) -> str | None:
        if source.stage is not None:
            return await self._chain_of(source.stage)
        reference = source.image or await self.load_image_of_context(source.context)
        if not reference:
            return None
        return (await self._get_image(reference, self._platform)).chain_id

    async def _opened(self, source: Source) -> Tree:
        chain_id = await self._chain(source)
        if chain_id is None:
            return await self._opened_context(source.context, self._contexts[source.context])
        lower = tuple(str(path) for path in self._layers.lower(chain_id))
        fd = await blocking(open_overlay, Overlay(lower or (str(self._empty()),)))
        return Tree(fd, IgnoreRules([]), own_ids=True, context=False)

    def _empty(self) -> Path:
        path = self._directory / "empty"
        path.mkdir(exist_ok=True)
        return path

    async def _opened_context(self, name: str, value: str) -> Tree:
        if value.startswith(INPUT_SCHEME):
            relative = inside(value.removeprefix(INPUT_SCHEME))
            return await blocking(open_tree, below(self._parcel, relative))
        place = self._directory / f"context-{len(self._trees)}"
        place.mkdir()
        if is_git_url(value):
            return await opened_git(value, place, self.git_access)
        if is_http_url(value):
            archive = self._directory / f"{place.name}.tar"
            await fetch.download(value, archive)
            await blocking(_unpack_file, archive, place)
            return open_tree(place)
        raise BadContext(name, value)


async def opened_git(
    url: str, place: Path, access: git.GitAccess, *, keep_git_dir: bool = False
) -> Tree:
    """A repository's files, checked out into `place`."""
    source = git.parse_git_url(url)
    await git.check_out(source, place, keep_git_dir=keep_git_dir, access=access)
    return open_tree(below(place, source.subdirectory))


def path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


def below(place: Path, relative: str) -> Path:
    """A directory that came from elsewhere, in `place`; links are followed inside it."""
    fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return place / resolve_in_root(fd, posixpath.normpath(relative)).strip("/")
    except OSError as error:
        raise InvalidArgument(f"no such directory: {relative}") from error
    finally:
        os.close(fd)


def _unpack_file(archive: Path, place: Path) -> None:
    with archive.open("rb") as file:
        unpack_context(iter(lambda: file.read(1 << 20), b""), place)
    archive.unlink()
