"""What a running registry is made of, as its handlers find it."""

from dataclasses import dataclass, field

from aiohttp import web

from pier.registry.server.access import Access
from pier.registry.server.cache import PullThrough
from pier.registry.server.contents import Contents
from pier.registry.server.metrics import Metrics
from pier.registry.server.spool import Spool


@dataclass(slots=True, kw_only=True)
class Parts:
    contents: Contents
    spool: Spool
    metrics: Metrics = field(default_factory=Metrics)
    access: Access | None = None
    """None: everybody may do everything."""
    readonly: bool = False
    cache: PullThrough | None = None


PARTS = web.AppKey("parts", Parts)
