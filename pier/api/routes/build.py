"""`POST /build`, the classic builder, and its cache.

What answers is loaded with the first request: building takes an idle daemon 3 MB.
"""

import asyncio
import importlib
from types import ModuleType

from aiohttp import web

from pier.api.call import Call
from pier.api.dispatch import Route


async def build(call: Call) -> web.StreamResponse:
    return await (await _builds()).build(call)  # type: ignore[no-any-return]  # a module's


async def prune(call: Call) -> web.StreamResponse:
    return await (await _builds()).prune(call)  # type: ignore[no-any-return]


async def cancel(call: Call) -> web.StreamResponse:
    return await (await _builds()).cancel(call)  # type: ignore[no-any-return]


async def _builds() -> ModuleType:
    return await asyncio.to_thread(importlib.import_module, "pier.api.builds")


ROUTES = (
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune),
    Route("POST", "/build/cancel", cancel),
)
