"""Blocking work in threads, whose end is waited for whatever happens to the one who asked.

Such a thread uses a descriptor, a directory or a kernel object that the caller is about to close,
remove or use again; `asyncio.to_thread` lets go of it when the caller is cancelled.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def blocking(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run `work` in a thread and wait for its end, even when cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    return await settled(loop.run_in_executor(None, partial(work, *arguments, **named)))


async def settled(future: "asyncio.Future[T]") -> T:
    """The result of a thread's work; like `blocking` for one that was started before."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await ended(future)
        raise


async def ended(future: "asyncio.Future[T]") -> None:
    """Wait for a thread's end, and take note of its error: another one is on its way."""
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()
