"""Streaming the steps of a pull, push, load or build to the client.

An error before the first step is an HTTP status; after it, a message in the stream, and the
status stays 200. So the first step is waited for before the answer begins.
"""

from collections.abc import AsyncIterator

from aiohttp import web

from pier.api import answers
from pier.api.schema.progress import ProgressStep, message_json
from pier.errors import PierError
from pier.images.transfer import Step

_SEPARATOR = b"\r\n"


async def send_progress(
    request: web.Request, steps: AsyncIterator[ProgressStep | bytes], *, quiet: bool = False
) -> web.StreamResponse:
    """Stream `steps`; `quiet` leaves out what is for people only. Stopped if the client leaves.

    Bytes among the steps are sent as they are: a message before them says how many.
    """
    async with answers.while_connected(request), answers.closing(steps):
        first = await anext(steps, None)
        response = await answers.open_stream(request, answers.JSON)
        if first is not None:
            try:
                if _is_news(first) or not quiet:
                    await _send(response, first)
                async for step in steps:
                    if _is_news(step) or not quiet:
                        await _send(response, step)
            except PierError as error:
                await _send(response, Step(error=str(error)))
        await response.write_eof()
    return response


def _is_news(step: ProgressStep | bytes) -> bool:
    return isinstance(step, bytes) or bool(step.stream or step.error or step.aux)


async def _send(response: web.StreamResponse, step: ProgressStep | bytes) -> None:
    if isinstance(step, bytes):
        await response.write(step)
        return
    await response.write(answers.encode(message_json(step)) + _SEPARATOR)
