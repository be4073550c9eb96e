"""What a running registry is made of, as its handlers find it."""

from dataclasses import dataclass, field

from aiohttp import web

from pier.registry.server.cache import PullThrough
from pier.registry.server.contents import Contents
from pier.registry.server.htpasswd import Htpasswd
from pier.registry.server.metrics import Metrics
from pier.registry.server.spool import Spool


@dataclass(slots=True, kw_only=True)
class Parts:
    contents: Contents
    spool: Spool
    metrics: Metrics = field(default_factory=Metrics)
    htpasswd: Htpasswd | None = None
    anonymous_pull: bool = False
    """With htpasswd: who only reads need not say who they are."""
    readonly: bool = False
    cache: PullThrough | None = None


PARTS = web.AppKey("parts", Parts)
