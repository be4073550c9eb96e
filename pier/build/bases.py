"""The images that a build starts from, copies from, and takes cached steps from."""

import asyncio
import functools
from collections import defaultdict
from dataclasses import replace

from pier.build.progress import PullTold, Remark
from pier.build.request import Layer
from pier.build.scope import Scope
from pier.build.sources import ImageFinder
from pier.build.stage import StageResult
from pier.build.state import first_state
from pier.errors import PierError
from pier.images.model import Image
from pier.images.store import Images
from pier.images.transfer import Step
from pier.oci.image import ImageConfig, RunConfig, chain_ids
from pier.oci.platform import Platform

_BY_ID = "sha256:"


class Bases:
    """Of one build."""

    def __init__(self, scope: Scope, images: Images, finder: ImageFinder, escape: str) -> None:
        self._escape = escape
        self._scope = scope
        self._images = images
        self._finder = finder
        self._pulls: dict[str, asyncio.Lock] = {}
        self._seen: dict[str, RunConfig] = {}
        self._found: dict[tuple[str, Platform], Image] = {}
        self._asking: defaultdict[tuple[str, Platform], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._imported = asyncio.Lock()
        self._left = list(scope.request.cache_from)

    async def image(
        self,
        reference: str,
        platform: Platform,
        *,
        stage: int = -1,
        number: int = 0,
    ) -> Image:
        """An image, which stays until the build is over; a pull is told as the step's.

        One build uses one image of a name, and asks a registry for it once.
        """
        key = (reference, platform)
        async with self._asking[key]:
            if key not in self._found:
                self._found[key] = await self._get(reference, platform, stage, number)
        return self._found[key]

    async def _get(self, reference: str, platform: Platform, stage: int, number: int) -> Image:
        def report(step: Step) -> None:
            self._scope.progress(PullTold(stage=stage, number=number, step=step))

        request = self._scope.request
        pull = request.pull and not reference.startswith(_BY_ID)
        image = await self._finder.get_image(
            reference, platform, pull=pull, auths=request.auths, report=report
        )
        self._scope.keep(image.chain_id)
        self._seen[reference] = image.config.run
        return image

    def from_image(self, image: Image, outer: dict[str, str]) -> StageResult:
        """What a stage is right after its FROM."""
        result = self.from_config(image.config, outer)
        layers = tuple(
            Layer(diff_id, chain_id)
            for diff_id, chain_id in zip(image.layers, chain_ids(image.layers), strict=True)
        )
        return replace(
            result,
            chain_id=image.chain_id,
            key=image.id,
            layers=layers,
            base_layers=len(layers),
            image=image.id,
        )

    def from_config(self, config: ImageConfig, outer: dict[str, str]) -> StageResult:
        state = first_state(
            config.run,
            author=config.author,
            given=self._scope.request.arguments,
            outer=outer,
            escape=self._escape,
        )
        triggers = config.run.on_build
        return StageResult(
            state=replace(state, run=replace(state.run, on_build=triggers)),
            config=config,
            chain_id="",
            key="",
            history=config.history,
            created_ns=config.created_ns or (self._scope.epoch_ns or 0),
        )

    def find_run_config(self, reference: str) -> RunConfig | None:
        """Of an image that is here."""
        if reference in self._seen:
            return self._seen[reference]
        image = self._images.find(reference)
        return None if image is None else image.config.run

    async def ask_run_config(self, reference: str, platform: Platform) -> RunConfig | None:
        """Of an image here or at its registry; None if it cannot be had."""
        auths = self._scope.request.auths
        try:
            return (await self._finder.get_config(reference, platform, auths=auths)).run
        except PierError:
            return None

    async def import_caches(self, platform: Platform) -> None:
        """Take in the histories of `--cache-from`, once; an image that cannot be had is said."""
        async with self._imported:
            while self._left:
                reference = self._left.pop(0)
                await self._import(reference, platform)

    async def _import(self, reference: str, platform: Platform) -> None:
        try:
            config = await self._finder.get_config(
                reference, platform, auths=self._scope.request.auths
            )
        except PierError as error:
            self._tell_failure(reference, error)
            return
        pull = functools.partial(self._pull_cache, reference, platform)
        self._scope.import_history(config, pull)

    async def _pull_cache(self, reference: str, platform: Platform) -> None:
        """Have its layers here. Only the first who wants one of them pulls, or fails."""
        known = self._pulls.get(reference)
        lock = self._pulls.setdefault(reference, asyncio.Lock())
        async with lock:
            if known is not None:
                return
            try:
                await self.image(reference, platform)
            except PierError as error:
                self._tell_failure(reference, error)

    def _tell_failure(self, reference: str, error: PierError) -> None:
        text = f"importing cache from {reference} failed: {error}"
        self._scope.progress(Remark(text=text, warning=True))
