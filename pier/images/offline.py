"""Pulls that still succeed on a machine that reaches no registry.

`busybox` and `debian` are made from what the machine has (`base`), but only when the registry
they would come from cannot be reached, and only under these names: a missing image is never
silently replaced by another.
"""

from collections.abc import AsyncIterator

from pier.images import base
from pier.images.pull import Puller
from pier.images.store import Images
from pier.images.transfer import Report, Step, reported
from pier.oci.image import ImageConfig
from pier.oci.reference import parse_reference
from pier.registry.credentials import Auth
from pier.registry.failures import RegistryUnreachable


class OfflinePuller:
    """A Puller that falls back on the base images."""

    def __init__(self, puller: Puller, images: Images) -> None:
        self._puller = puller
        self._images = images

    async def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        auth: Auth | None = None,
        all_tags: bool = False,
    ) -> AsyncIterator[Step]:
        """See Puller.pull."""
        try:
            steps = self._puller.pull(reference, platform=platform, auth=auth, all_tags=all_tags)
            async for step in steps:
                yield step
        except RegistryUnreachable:
            if platform or all_tags:
                raise
            made = False
            async for step in self._make(parse_reference(reference).tagged().familiar()):
                made = True
                yield step
            if not made:
                raise

    async def config(
        self, reference: str, *, platform: str = "", auth: Auth | None = None
    ) -> ImageConfig:
        """See Puller.config."""
        return await self._puller.config(reference, platform=platform, auth=auth)

    def _make(self, name: str) -> AsyncIterator[Step]:
        """The steps of making it; none at all for a name that cannot be made here."""

        async def work(report: Report) -> None:
            def tell(line: str) -> None:
                report(Step(status=line))

            if await base.make_base(self._images, name, tell):
                report(Step(status=f"Status: No registry can be reached; made {name} here"))

        return reported(work)
